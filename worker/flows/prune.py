"""Prune: destroy the bodies that are old, and that nothing and nobody needs any more.

DANGER. What is pruned does not come back. A body goes only where a signed checkpoint of before the date
covers it, where its thread is at its end and has no younger entry, so that a thread's bodies go together, and
where neither an active hold nor an erasure that is not settled covers it. All of that is judged under the
protection rows, in the transaction that empties the page and appends ``log.pruned``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.audit import bodies
from worker.audit.entry import Entry
from worker.flows.anchor import anchor
from worker.flows.needed import Need, Needed
from worker.flows.seal import Sealer, seal
from worker.model.clock import Clock
from worker.store import gone, protections, work
from worker.store.engine import Database

PAGE = 2000
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What went (or would), what stayed although it is old, and how many leaves are old enough."""

    before: datetime
    old: int
    pruned: int
    kept: Mapping[Need, int]

    @property
    def is_blocked(self) -> bool:
        """Whether holds are why nothing went."""
        return not self.pruned and bool(self.kept.get(Need.HELD))


def prune(
    database: Database,
    sealer: Sealer,
    *,
    older_than: timedelta,
    reason: str,
    actor: str,
    clock: Clock,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Pruned:
    """Prune every body that is older, a page at a time; a crash leaves whole pages, and the next run goes on.

    ``dry_run`` counts only. Raises LogRefused for a log that its anchors do not know, SigningKeyMissing.
    """
    with database.read() as db:
        # A clock that runs ahead makes nothing old: the database's, where it has one, must agree.
        before = work.no_later(db, clock.now()) - older_than
    if not dry_run:
        # What its anchors refuse is not touched, and a missing key is told before anything changes.
        seal(database, sealer, clock=clock, force=True)
    with database.read() as db:
        old = gone.sealed_before(db, before)
    run = _Run(old=old, reason=reason, actor=actor, clock=clock, dry_run=dry_run)
    pruned, kept, last = 0, Counter[Need](), -1
    while found := _next(database, last, old):
        with database.read() if dry_run else database.write() as db:
            stay, went = run.page(db, found)
        pruned += went
        kept.update(stay.values())
        last = found[-1].index
        if progress is not None:
            progress(last + 1, old)
    if pruned and not dry_run:
        gone.drop_traces(database)
        seal(database, sealer, clock=clock, force=True)
        anchor(database, sealer.log, clock=clock)
    return Pruned(before=before, old=old, pruned=pruned, kept=dict(kept))


def _next(database: Database, last: int, old: int) -> list[gone.Kept]:
    """Return the next page of bodies that are there: looked for without a lock, for there may be few."""
    with database.read() as db:
        return gone.page(db, after=last, below=old, limit=PAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    old: int
    reason: str
    actor: str
    clock: Clock
    dry_run: bool
    needed: Needed = field(default_factory=Needed)

    def page(self, db: Connection, found: list[gone.Kept]) -> tuple[dict[int, Need], int]:
        """Judge one page and empty what may go; returns what must stay, and how many went or would."""
        if not self.dry_run:
            protections.share(db, {one.project for one in found if one.project is not None})
        stay = self.needed.judge(db, found, old=self.old)
        going = [one.index for one in found if one.index not in stay]
        if self.dry_run or not going:
            return stay, len(going)
        return stay, gone.empty(db, going, self._say)

    def _say(self, leaves: gone.Ranges) -> Entry:
        return bodies.log_pruned(leaves=leaves, reason=self.reason, at=self.clock.now(), actor=self.actor)
