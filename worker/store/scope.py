"""Which registered threads a hold's scope covers now; later ones are caught when they are decided."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from worker.model.decision import HoldScope
from worker.model.thread import Thread
from worker.policy.match import glob_matches, scope_matches
from worker.store.tables import thread
from worker.store.threads import to_thread

_PAGE = 2000


def matching_threads(db: Session, scope: HoldScope) -> Iterator[Thread]:
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


def unknown_ids(db: Session, scope: HoldScope) -> list[str]:
    """Return the named ids that nobody registered; the hold keeps them and catches them later."""
    if not scope.ids:
        return []
    query = select(thread.c.id, thread.c.external_id).where(
        or_(thread.c.id.in_(scope.ids), thread.c.external_id.in_(scope.ids))
    )
    known = {name for row in db.execute(query) for name in row}
    return [one for one in scope.ids if one not in known]


def projects_touched(db: Session, scope: HoldScope) -> set[str]:
    """Return the projects of which the scope may cover some thread now: never too few."""
    found = db.execute(select(thread.c.project).where(*_narrowed(scope)).distinct()).scalars()
    return {
        one
        for one in found
        if not scope.projects or any(glob_matches(pattern, one) for pattern in scope.projects)
    }
