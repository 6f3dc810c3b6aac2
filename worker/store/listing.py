"""Lists of threads: one page in the order of the ids, and an estimate of how many there are.

Every filter has an index in the order of the pages (migration 0015), so that no page reads the registry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Connection,
    Executable,
    Select,
    and_,
    func,
    literal,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from worker.model.thread import Kind, ThreadState
from worker.store.tables import thread, thread_tag
from worker.store.threads import StoredThread, to_stored

# Up to here a total is counted; it costs some milliseconds.
COUNTED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a list is narrowed to; ``projects`` is what the caller may see (None: everything).

    ``evaluate_by`` keeps live threads whose outcome may have changed by then.
    """

    projects: Sequence[str] | None = None
    project: str | None = None
    owner: str | None = None
    kind: Kind | None = None
    state: ThreadState | None = None
    external_id: str | None = None
    tag: tuple[str, str] | None = None
    due_before: datetime | None = None
    evaluate_by: datetime | None = None
    skipped: bool = False


class How(StrEnum):
    """How a total is meant."""

    EXACT = "exact"
    ESTIMATE = "estimate"
    AT_LEAST = "at_least"


def page(
    db: Connection,
    wanted: Filter,
    *,
    limit: int,
    ascending: bool = False,
    after: str | None = None,
    before: str | None = None,
) -> list[StoredThread]:
    """Return one page by id, which sorts by registration; a cursor stays valid when its row is gone.

    With ``before`` the page ends just before that id, in the list's own order.
    """
    query = paged(wanted, limit=limit, ascending=ascending, after=after, before=before)
    found = [to_stored(row) for row in db.execute(query)]
    return found[::-1] if before is not None and after is None else found


def paged(
    wanted: Filter,
    *,
    limit: int,
    ascending: bool = False,
    after: str | None = None,
    before: str | None = None,
) -> Select[Any]:
    """Return the statement of one page; with ``before`` alone its rows come backwards."""
    query = select(thread).where(*_clauses(wanted))
    if after is not None:
        query = query.where(thread.c.id > after if ascending else thread.c.id < after)
    if before is not None:
        query = query.where(thread.c.id < before if ascending else thread.c.id > before)
    backwards = before is not None and after is None
    up = ascending != backwards
    return query.order_by(thread.c.id.asc() if up else thread.c.id.desc()).limit(limit)


def total(db: Connection, wanted: Filter) -> tuple[int, How]:
    """Count what a list holds: exactly while there is little, beyond that as cheaply as can be."""
    some = select(literal(1)).select_from(thread).where(*_clauses(wanted)).limit(COUNTED + 1).subquery()
    counted = db.execute(select(func.count()).select_from(some)).scalar_one()
    if counted <= COUNTED:
        return counted, How.EXACT
    if db.dialect.name == "sqlite":
        return COUNTED, How.AT_LEAST
    return max(counted, _planned_rows(db, wanted)), How.ESTIMATE


def _planned_rows(db: Connection, wanted: Filter) -> int:
    """Ask PostgreSQL's planner, whose statistics autovacuum keeps."""
    query = select(thread.c.id).where(*_clauses(wanted))
    plan = db.execute(_Explained(query)).scalar_one()
    return int(plan[0]["Plan"]["Plan Rows"])


class _Explained(Executable, ClauseElement):
    """EXPLAIN of a statement, with the statement's own parameters."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(_Explained, "postgresql")
def _explained(element: _Explained, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's own
    return "EXPLAIN (FORMAT JSON) " + compiler.process(element.statement, **options)


def _clauses(wanted: Filter) -> list[ColumnElement[bool]]:
    clauses: list[ColumnElement[bool]] = []
    if wanted.projects is not None:
        clauses.append(thread.c.project.in_(wanted.projects))
    for column, value in (
        (thread.c.project, wanted.project),
        (thread.c.owner, wanted.owner),
        (thread.c.kind, wanted.kind),
        (thread.c.state, wanted.state),
        (thread.c.external_id, wanted.external_id),
    ):
        if value is not None:
            clauses.append(column == str(value))
    if wanted.tag is not None:
        clauses.append(_has_tag(*wanted.tag))
    if wanted.due_before is not None:
        clauses.append(and_(_live_by(wanted.due_before, strict=True), thread.c.due_policy.is_not(None)))
    if wanted.evaluate_by is not None:
        clauses.append(_live_by(wanted.evaluate_by, strict=False))
    if wanted.skipped:
        # Named one by one, so that an index serves: "other than live" would be nearly all or nearly none.
        clauses.append(thread.c.state.in_([one for one in ThreadState if one is not ThreadState.LIVE]))
    return clauses


def _has_tag(key: str, value: str) -> ColumnElement[bool]:
    named = (thread_tag.c.key == key, thread_tag.c.value == value)
    return thread.c.id.in_(select(thread_tag.c.thread_id).where(*named))


def _live_by(instant: datetime, *, strict: bool) -> ColumnElement[bool]:
    come = thread.c.evaluate_at < instant if strict else thread.c.evaluate_at <= instant
    return and_(thread.c.state == ThreadState.LIVE, come)
