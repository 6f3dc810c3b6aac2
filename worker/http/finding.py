"""Find threads as one caller sees them: by either id, and page by page with their decisions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from worker.flows.decide import decide_now
from worker.flows.key import Principal
from worker.http.lists import trim
from worker.http.refusals import Ambiguous
from worker.http.thread_shapes import ThreadShape, ThreadsQuery, TotalShape, thread_shape
from worker.model.decision import Outcome
from worker.model.errors import NotFound
from worker.store import bundles, listing, threads
from worker.store.listing import Filter
from worker.store.threads import StoredThread

_OURS = re.compile(r"thr_[0-9a-f]{32}")
_THEIRS = re.compile(r"[A-Za-z0-9_-]{1,160}")
# How many threads are decided at a time while an outcome is looked for.
_SCAN = 500


def find_thread(db: Connection, name: str, who: Principal) -> StoredThread:
    """Return the thread of this id, ours or the provider's; raises NotFound and Ambiguous.

    A thread of another project is not found, like one that is not there.
    """
    if _OURS.fullmatch(name):
        one = threads.get(db, name)
        found = [one] if one and who.may_see(one.thread.project) else []
    elif _THEIRS.fullmatch(name):
        found = threads.by_external_id(db, name, projects=who.projects)
    else:
        found = []
    if not found:
        raise NotFound("No thread has this id.", repair="`tenure threads list` shows them.")
    if len(found) > 1:
        named = ", ".join(f"{one.thread.id} of {one.thread.project}" for one in found)
        problem = f"{len(found)} threads have this external id: {named}."
        raise Ambiguous(problem, repair="Use Tenure's own id: `tenure threads show ID`, `tenure explain ID`.")
    return found[0]


def show_thread(db: Connection, stored: StoredThread, *, now: datetime) -> ThreadShape:
    """Show one thread, decided now."""
    return show_threads(db, [stored], now=now)[0]


def show_threads(db: Connection, found: Sequence[StoredThread], *, now: datetime) -> list[ThreadShape]:
    """Show threads in this order, decided in one snapshot."""
    if not found:
        return []
    decided = decide_now(db, [one.thread for one in found], now=now)
    return [thread_shape(one, decided[one.thread.id]) for one in found]


def list_threads(
    db: Connection, query: ThreadsQuery, who: Principal, *, now: datetime
) -> tuple[list[ThreadShape], bool]:
    """Return one page and whether there is more; an outcome is looked for until the page is full."""
    wanted = _wanted(db, query, who, now)
    backwards = query.before is not None and query.after is None
    if query.outcome is None:
        found = _rows(db, wanted, query, limit=query.limit + 1, after=query.after, before=query.before)
        kept, more = trim(found, query.limit, backwards=backwards)
        return show_threads(db, kept, now=now), more
    shown = _with_outcome(db, wanted, query, now=now, backwards=backwards)
    return trim(shown, query.limit, backwards=backwards)


def count_threads(db: Connection, query: ThreadsQuery, who: Principal, *, now: datetime) -> TotalShape:
    """Say how many a list holds, about."""
    count, how = listing.total(db, _wanted(db, query, who, now))
    decided = query.outcome is not None and query.outcome is not Outcome.SKIP
    return TotalShape(count=count, how="at_most" if decided else how)


def _wanted(db: Connection, query: ThreadsQuery, who: Principal, now: datetime) -> Filter:
    found = bundles.in_force(db) if query.outcome is Outcome.DUE else None
    return query.filter(who.projects, due_by=now if found is not None and found.recomputed else None)


def _with_outcome(
    db: Connection, wanted: Filter, query: ThreadsQuery, *, now: datetime, backwards: bool
) -> list[ThreadShape]:
    """Decide page by page; returns at most one more than the limit."""
    kept: list[ThreadShape] = []
    after, before = query.after, query.before
    while True:
        rows = _rows(db, wanted, query, limit=_SCAN, after=after, before=before)
        fitting = [one for one in show_threads(db, rows, now=now) if one.decision.outcome is query.outcome]
        kept = [*fitting, *kept] if backwards else [*kept, *fitting]
        if len(rows) < _SCAN or len(kept) > query.limit:
            most = query.limit + 1
            return kept[-most:] if backwards else kept[:most]
        if backwards:
            before = rows[0].thread.id
        else:
            after = rows[-1].thread.id


def _rows(
    db: Connection, wanted: Filter, query: ThreadsQuery, *, limit: int, after: str | None, before: str | None
) -> list[StoredThread]:
    return listing.page(db, wanted, limit=limit, ascending=query.ascending, after=after, before=before)
