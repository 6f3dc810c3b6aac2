"""Rows of the coverage sweep: whose turn it is, where a look goes on, and what the newest one found."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from worker.model.thread import Kind
from worker.store.engine import changed
from worker.store.tables import coverage, coverage_look


@dataclass(frozen=True, slots=True, kw_only=True)
class KindCoverage:
    """What the newest look at one kind's list found; ``problem`` says why it is missing or incomplete."""

    kind: Kind
    found: int
    registered: int
    looked_at: datetime
    problem: str | None = None

    @property
    def unregistered(self) -> int:
        """How many of the found objects nobody registered."""
        return self.found - self.registered


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One project's look as it was taken: where it goes on, under this fence.

    ``kind`` None begins anew; ``after`` is the cursor in that kind's list. ``told`` is the unregistered
    number that was alerted.
    """

    project: str
    fence: int
    kind: Kind | None = None
    after: str | None = None
    found: int = 0
    registered: int = 0
    told: int = 0


def due(db: Connection, projects: Collection[str], now: datetime) -> list[str]:
    """Return the projects whose look has come, those that wait longest first; the never seen before all."""
    query = select(coverage_look.c.project, coverage_look.c.next_at).order_by(coverage_look.c.next_at)
    known = {row.project: row.next_at for row in db.execute(query)}
    new = sorted(name for name in projects if name not in known)
    return new + [name for name, next_at in known.items() if name in projects and next_at <= now]


def take(db: Connection, project: str, *, now: datetime, until: datetime) -> Look | None:
    """Take a project's look until then; None where it is not due or another has it."""
    _ensure(db, project, now)
    row = db.execute(
        select(coverage_look)
        .where(coverage_look.c.project == project, coverage_look.c.next_at <= now)
        .with_for_update(skip_locked=True)
    ).first()
    if row is None:
        return None
    mine = Look(
        project=project,
        fence=row.fence + 1,
        kind=Kind(row.kind) if row.kind else None,
        after=row.after,
        found=row.found,
        registered=row.registered,
        told=row.told,
    )
    taken = update(coverage_look).where(coverage_look.c.project == project)
    db.execute(taken.values(next_at=until, fence=mine.fence))
    return mine


def _ensure(db: Connection, project: str, now: datetime) -> None:
    if db.execute(select(coverage_look.c.fence).where(coverage_look.c.project == project)).first():
        return
    first = insert(coverage_look).values(project=project, next_at=now, fence=0, found=0, registered=0, told=0)
    try:
        with db.begin_nested():
            db.execute(first)
    except IntegrityError:
        return  # another made it at the same moment


def keep(db: Connection, look: Look, *, next_at: datetime) -> bool:
    """Write where a look stands and when it goes on; False when another has taken it since."""
    mine = update(coverage_look).where(
        coverage_look.c.project == look.project, coverage_look.c.fence == look.fence
    )
    values = {
        "next_at": next_at,
        "kind": look.kind.value if look.kind else None,
        "after": look.after,
        "found": look.found,
        "registered": look.registered,
        "told": look.told,
    }
    return changed(db, mine.values(values)) == 1


def replace_kind(db: Connection, project: str, told: KindCoverage) -> None:
    """Put the newest result of one kind in place of the one before."""
    db.execute(delete(coverage).where(coverage.c.project == project, coverage.c.kind == told.kind.value))
    db.execute(
        insert(coverage).values(
            project=project,
            kind=told.kind.value,
            found=told.found,
            registered=told.registered,
            unregistered=told.unregistered,
            problem=told.problem,
            looked_at=told.looked_at,
        )
    )


def drop_others(db: Connection, project: str, kinds: Sequence[Kind]) -> None:
    """Forget the results of kinds that are not looked at any more."""
    kept = [kind.value for kind in kinds]
    db.execute(delete(coverage).where(coverage.c.project == project, coverage.c.kind.not_in(kept)))


def of_projects(db: Connection, projects: Collection[str]) -> Mapping[str, Sequence[KindCoverage]]:
    """Return the newest result of each kind, by project; a project without one is left out."""
    found: dict[str, list[KindCoverage]] = {}
    query = select(coverage).where(coverage.c.project.in_(sorted(projects)))
    for row in db.execute(query.order_by(coverage.c.project, coverage.c.kind)):
        found.setdefault(row.project, []).append(
            KindCoverage(
                kind=Kind(row.kind),
                found=row.found,
                registered=row.registered,
                looked_at=row.looked_at,
                problem=row.problem,
            )
        )
    return found
