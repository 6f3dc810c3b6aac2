"""Seal: sign a checkpoint over what is committed; never while holding the log's head.

Every 60 s with news, hourly without, and at each export. What sealing records about itself is no news.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.anchors.base import Anchor
from worker.audit import bodies
from worker.audit.checkpoint import Checkpoint, sign_checkpoint
from worker.audit.note import Signer
from worker.flows.compare import FRESH, Log, compare
from worker.model.clock import Clock
from worker.store import epochs, log
from worker.store.engine import Database
from worker.store.log import Head, Seal

WITH_NEWS = timedelta(seconds=60)
WITHOUT_NEWS = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealer:
    """Who signs, under which origin, and where copies are kept. ``signer`` is called late: it reads a file.

    ``fresh`` is for how long the workers may rely on one comparison with the anchors.
    """

    origin: str
    signer: Callable[[], Signer]
    actor: str
    anchors: Sequence[Anchor] = ()
    fresh: timedelta = FRESH

    @property
    def log(self) -> Log:
        """What is compared before anything is signed."""
        return Log(origin=self.origin, anchors=self.anchors, fresh=self.fresh)


def seal(database: Database, sealer: Sealer, *, clock: Clock, force: bool = False) -> Seal | None:
    """Seal if it is time (or forced); returns the newest checkpoint, None while the log is empty.

    The log is compared with its anchors first, also when it is not time; raises LogRefused.
    """
    compare(database, sealer.log, clock=clock)
    now = clock.now()
    with database.snapshot() as db:
        latest, head = log.latest_seal(db), log.read_head(db)
        origin = epochs.origin_of(sealer.origin, epochs.current(db).number)
    if head.size == 0 or not (force or _is_time(latest, head, now)):
        return latest
    if force and latest is not None and latest.size == head.size:
        return latest
    checkpoint = Checkpoint(origin=origin, size=head.size, root=head.frontier.root())
    note = sign_checkpoint(checkpoint, sealer.signer())
    made = Seal(size=head.size, news=head.news, sealed_at=now, note=note)
    with database.write() as db:
        if log.store_seal(db, made):
            entry = bodies.log_sealed(
                origin=origin, size=head.size, root=checkpoint.root, at=now, actor=sealer.actor
            )
            log.append(db, [entry])
    return made


def _is_time(latest: Seal | None, head: Head, now: datetime) -> bool:
    if latest is None:
        return True
    due = WITH_NEWS if head.news > latest.news else WITHOUT_NEWS
    # Either way: a checkpoint that a clock dated ahead must not keep the next ones back until then.
    return abs(now - latest.sealed_at) >= due
