"""Seal: sign a checkpoint over what is committed; never while holding the log's head.

Every 60 s with news, hourly without, and at each export. What sealing records about itself is no news.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.audit import bodies
from worker.audit.checkpoint import Checkpoint
from worker.audit.keys import LogKey
from worker.flows.compare import compare
from worker.flows.sign import Sealer, known_keys, note_first_key, sign
from worker.model.clock import Clock
from worker.store import epochs, log
from worker.store.engine import Database
from worker.store.log import Head, Seal

__all__ = ["WITHOUT_NEWS", "WITH_NEWS", "Sealer", "seal"]

WITH_NEWS = timedelta(seconds=60)
WITHOUT_NEWS = timedelta(hours=1)


def seal(database: Database, sealer: Sealer, *, clock: Clock, force: bool = False) -> Seal | None:
    """Seal if it is time (or forced); returns the newest checkpoint, None while the log is empty.

    The log is compared with its anchors first, also when it is not time; raises LogRefused. Of several
    processes that seal at once one does. Raises SigningKeyMissing where a key that must sign is not at hand.
    """
    while True:
        compare(database, sealer.log, clock=clock)
        now = clock.now()
        # One instant: a key that is announced later signs none of these leaves, and an epoch has its own.
        with database.snapshot() as db:
            latest, head, keys = log.latest_seal(db), log.read_head(db), known_keys(db, sealer)
            origin = _origin(db, sealer)
        if head.size == 0 or not (force or _is_time(latest, head, now)):
            return latest
        if latest is not None and latest.size == head.size:
            return latest
        checkpoint = Checkpoint(origin=origin, size=head.size, root=head.frontier.root())
        note = sign(sealer, keys, checkpoint)
        made = Seal(size=head.size, news=head.news, sealed_at=now, note=note)
        kept = _keep(database, sealer, made, checkpoint, seen=latest, keys=keys, force=force, clock=clock)
        if kept is not None:
            return kept


def _origin(db: Connection, sealer: Sealer) -> str:
    """Return the origin that is signed: the log's own, or that of the epoch in which it goes on."""
    return epochs.origin_of(sealer.origin, epochs.current(db).number)


def _keep(
    database: Database,
    sealer: Sealer,
    made: Seal,
    checkpoint: Checkpoint,
    *,
    seen: Seal | None,
    keys: list[LogKey],
    force: bool,
    clock: Clock,
) -> Seal | None:
    """Store what was signed and record it; another's that came first counts.

    None: by now other keys sign, or another epoch has begun.
    """
    with database.write() as db:
        # The head orders the checkpoints: their sizes grow, and each is signed by the keys of its size.
        log.take_head(db)
        newest = log.latest_seal(db)
        if newest is not None and (newest.size >= made.size or (newest != seen and not force)):
            return newest
        if known_keys(db, sealer) != keys or _origin(db, sealer) != checkpoint.origin:
            return None
        log.store_seal(db, made)
        note_first_key(db, sealer, keys, clock=clock)
        entry = bodies.log_sealed(
            origin=checkpoint.origin,
            size=made.size,
            root=checkpoint.root,
            at=made.sealed_at,
            actor=sealer.actor,
        )
        log.append(db, [entry])
    return made


def _is_time(latest: Seal | None, head: Head, now: datetime) -> bool:
    if latest is None:
        return True
    due = WITH_NEWS if head.news > latest.news else WITHOUT_NEWS
    # Either way: a checkpoint that a clock dated ahead must not keep the next ones back until then.
    return abs(now - latest.sealed_at) >= due
