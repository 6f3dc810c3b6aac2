"""Epoch: let a log that its anchors refuse go on, under another origin and with the gap in its first leaf.

DANGER. This is the one way past the comparison, and it lets DELETEs go again: a person says it who has looked
at what the restored database lost. Nothing is taken back: the old checkpoints keep their origin and stay
true, the leaves that are here keep their places, and no second checkpoint is signed under the old origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from worker.anchors.base import Mark, checkpoint_in
from worker.audit import bodies
from worker.flows.anchor import anchor
from worker.flows.compare import LogBroken, LogRefused, forget, judge, own_marks
from worker.flows.seal import Sealer, seal
from worker.flows.sign import known_keys, signers_at
from worker.model.clock import Clock
from worker.model.errors import TenureError
from worker.store import epochs, log
from worker.store.engine import Database
from worker.store.epochs import Epoch
from worker.store.log import Seal

# How many stored checkpoints are looked for in the anchor, to tell how far both agree.
_MOST = 200


class EpochNotNeeded(TenureError):
    """The log agrees with its anchors: an epoch would only look like a gap."""

    code = "epoch_not_needed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An epoch that was opened, what it follows, and its first checkpoint."""

    epoch: Epoch
    origin: str
    gap: bodies.Gap
    sealed: Seal | None


def open_epoch(database: Database, sealer: Sealer, *, reason: str, actor: str, clock: Clock) -> Opened:
    """Open the next epoch of a refused log, seal it and anchor that checkpoint.

    Raises EpochNotNeeded where every anchor agrees, LogUncompared where none can be read,
    LogBroken where the leaves do not give the head, SigningKeyMissing.
    """
    with database.read() as db:
        # A missing key is told before anything changes.
        signers_at(sealer, known_keys(db, sealer), log.read_head(db).size + 1)
    marks, _ = own_marks(sealer.log)
    with database.write() as db:
        # Nobody appends between what is judged here and the epoch's first leaf.
        log.take_head(db)
        refused = judge(db, sealer.origin, marks, from_leaves=True)
        if isinstance(refused, LogBroken):
            # An epoch over such leaves would sign what nobody can recompute.
            raise refused
        if refused is None:
            problem = "The log agrees with every anchor: no epoch is opened."
            raise EpochNotNeeded(problem, repair="Nothing is needed; `tenure doctor` compares them.")
        epoch, origin, gap = _append(db, sealer, marks, refused, reason=reason, actor=actor, at=clock.now())
    sealed = seal(database, sealer, clock=clock, force=True)
    anchor(database, sealer.log, clock=clock)
    return Opened(epoch=epoch, origin=origin, gap=gap, sealed=sealed)


def _append(
    db: Connection,
    sealer: Sealer,
    marks: list[Mark],
    refused: LogRefused,
    *,
    reason: str,
    actor: str,
    at: datetime,
) -> tuple[Epoch, str, bodies.Gap]:
    now, head = epochs.current(db), log.read_head(db)
    numbered = [(epochs.number_of(sealer.origin, mark.checkpoint.origin) or 1, mark) for mark in marks]
    number, newest = max(numbered, key=lambda one: (one[0], one[1].checkpoint.size))
    opened = max(number, now.number) + 1
    origin = epochs.origin_of(sealer.origin, opened)
    found = newest.checkpoint
    held = epochs.origin_of(sealer.origin, now.number)
    gap = bodies.Gap(
        why=refused.code,
        anchored=bodies.Tree(origin=found.origin, size=found.size, root=found.root),
        held=bodies.Tree(origin=held, size=head.size, root=head.frontier.root()),
        agreed=_agreed(db, sealer),
    )
    entry = bodies.log_epoch(number=opened, origin=origin, gap=gap, reason=reason, at=at, actor=actor)
    first = log.append(db, [entry])[0]
    epoch = Epoch(number=opened, first=first)
    epochs.open_next(db, epoch, at)
    forget(db, at)
    return epoch, origin, gap


def _agreed(db: Connection, sealer: Sealer) -> int:
    """Return the size of the newest stored checkpoint that an anchor holds too; 0 where none is found."""
    for sealed in reversed(log.newest_seals(db, above=0, limit=_MOST)):
        here = checkpoint_in(sealed.note)
        for one in sealer.anchors:
            held = one.holds(here.origin, here.size)
            if held is not None and held.checkpoint == here:
                return here.size
    return 0
