"""Which registered threads a hold's scope covers now; later ones are caught when they are decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, case, func, or_, select

from worker.model.decision import Hold, HoldScope
from worker.model.ids import HoldId
from worker.model.thread import Thread, ThreadState
from worker.policy.compile import Columns, scope_clause
from worker.policy.match import glob_matches, scope_matches
from worker.store.due import fits_one_statement, is_held
from worker.store.tables import thread
from worker.store.thread_rows import to_thread

_PAGE = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCount:
    """How many live threads a scope covers, and how many of these some hold covers."""

    threads: int
    held: int


def count_live(db: Connection, scope: HoldScope, holds: Sequence[Hold]) -> LiveCount:
    """Count the live threads that the scope covers now, and those of them that one of these holds covers."""
    if not fits_one_statement([*holds, Hold(id=HoldId(""), matter="", scope=scope)]):
        # Too many for one statement: a hold must be placed all the same, so they are looked at one by one.
        live = [one for one in matching_threads(db, scope) if one.state is ThreadState.LIVE]
        held = sum(any(scope_matches(hold.scope, one) for hold in holds) for one in live)
        return LiveCount(threads=len(live), held=held)
    held_now = func.coalesce(func.sum(case((is_held(holds), 1), else_=0)), 0)
    covered = (*_narrowed(scope), scope_clause(scope, Columns.of(thread)))
    query = select(func.count(), held_now).select_from(thread)
    row = db.execute(query.where(thread.c.state == ThreadState.LIVE, *covered)).one()
    return LiveCount(threads=int(row[0]), held=int(row[1]))


def matching_threads(db: Connection, scope: HoldScope) -> Iterator[Thread]:
    """Yield the threads that the scope covers: narrowed by exact names in SQL, then matched as always."""
    last = ""
    while True:
        query = select(thread).where(*_narrowed(scope), thread.c.id > last).order_by(thread.c.id).limit(_PAGE)
        rows = db.execute(query).all()
        for row in rows:
            found = to_thread(row)
            if scope_matches(scope, found):
                yield found
        if len(rows) < _PAGE:
            return
        last = rows[-1].id


def _narrowed(scope: HoldScope) -> list[ColumnElement[bool]]:
    clauses: list[ColumnElement[bool]] = []
    if scope.ids:
        clauses.append(or_(thread.c.id.in_(scope.ids), thread.c.external_id.in_(scope.ids)))
    for column, patterns in ((thread.c.project, scope.projects), (thread.c.owner, scope.owners)):
        if patterns and not any("*" in one or "?" in one for one in patterns):
            clauses.append(column.in_(patterns))
    return clauses


def unknown_ids(db: Connection, scope: HoldScope) -> list[str]:
    """Return the named ids that nobody registered; the hold keeps them and catches them later."""
    if not scope.ids:
        return []
    query = select(thread.c.id, thread.c.external_id).where(
        or_(thread.c.id.in_(scope.ids), thread.c.external_id.in_(scope.ids))
    )
    known = {name for row in db.execute(query) for name in row}
    return [one for one in scope.ids if one not in known]


def projects_touched(db: Connection, scope: HoldScope) -> set[str]:
    """Return the projects of which the scope may cover some thread now: never too few."""
    found = db.execute(select(thread.c.project).where(*_narrowed(scope)).distinct()).scalars()
    return {
        one
        for one in found
        if not scope.projects or any(glob_matches(pattern, one) for pattern in scope.projects)
    }
