"""Sign: which of the keys at hand sign a tree, and how a new key takes over from the old.

A new key is announced by an entry. From that tree size on both keys sign, for 24 checkpoints; then the old
one is retired, and verifiers refuse it for every larger tree. A key that the log does not know signs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from worker.anchors.base import Anchor
from worker.audit import bodies
from worker.audit.checkpoint import Checkpoint, sign_checkpoint
from worker.audit.keys import BOTH_SIGN, LogKey
from worker.audit.note import Signer
from worker.flows.compare import FRESH, Log
from worker.model.clock import Clock
from worker.model.errors import TenureError
from worker.store import log, log_keys
from worker.store.engine import Database


class SigningKeyMissing(TenureError):
    """A key that must sign this log is not at hand, so nothing is signed: another would look like a fork."""

    code = "signing_key_missing"


class RotationRefused(TenureError):
    """The key cannot be replaced by this one, or not yet."""

    code = "rotation_refused"


def _none() -> Sequence[Signer]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealer:
    """Who signs, under which origin, and where copies are kept. ``signer`` is called late: it reads a file.

    ``others`` are further keys at hand: the old one while both sign, or the next before it is announced.
    ``origin`` is the configured one, and names the keys; an epoch's checkpoints have an origin of their own.
    ``fresh`` is for how long the workers may rely on one comparison with the anchors.
    """

    origin: str
    signer: Callable[[], Signer]
    actor: str
    others: Callable[[], Sequence[Signer]] = _none
    anchors: Sequence[Anchor] = ()
    fresh: timedelta = FRESH

    @property
    def log(self) -> Log:
        """What is compared before anything is signed."""
        return Log(origin=self.origin, anchors=self.anchors, fresh=self.fresh)

    def at_hand(self) -> dict[str, Signer]:
        """Return every signer by its verifier key."""
        return {one.vkey: one for one in (self.signer(), *self.others())}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """The key that signs from a tree size on, and for how many checkpoints the old one signs beside it."""

    vkey: str
    since: int
    previous: str
    both_sign: int


def known_keys(db: Connection, sealer: Sealer) -> list[LogKey]:
    """Return the log's keys; for a log that no key is noted for yet, the one at hand."""
    return log_keys.keys(db, sealer.origin) or [LogKey(vkey=sealer.signer().vkey)]


def signers_at(sealer: Sealer, keys: Sequence[LogKey], size: int) -> list[Signer]:
    """Return who signs the tree of ``size`` leaves, the newest key first; raises SigningKeyMissing."""
    at_hand = sealer.at_hand()
    needed = [one.vkey for one in reversed(keys) if one.covers(size)]
    for vkey in needed:
        if vkey not in at_hand:
            problem = f"The log {sealer.origin} is signed by {vkey}, and its seed is not at hand."
            repair = (
                "Put its seed back as a line of the signing key's file; a new key is announced by "
                "`tenure audit rotate-key`."
            )
            raise SigningKeyMissing(problem, repair=repair)
    return [at_hand[vkey] for vkey in needed]


def sign(sealer: Sealer, keys: Sequence[LogKey], checkpoint: Checkpoint) -> str:
    """Return the checkpoint with the line of each key that signs its size; raises SigningKeyMissing."""
    return sign_checkpoint(checkpoint, *signers_at(sealer, keys, checkpoint.size))


def note_first_key(db: Connection, sealer: Sealer, keys: Sequence[LogKey], *, clock: Clock) -> None:
    """Remember the first key of a log, so that no other takes its place unannounced. The head is held."""
    if not log_keys.keys(db, sealer.origin):
        log_keys.add_key(db, sealer.origin, keys[0].vkey, since=0, at=clock.now())


def rotate(
    database: Database, sealer: Sealer, *, vkey: str, reason: str, actor: str, clock: Clock
) -> Rotated:
    """Announce a new key: an entry, and its first tree size, in one transaction.

    The next checkpoint is signed by both. Raises RotationRefused while an earlier rotation is under way, for
    a key that the log had before, and for one that is not at hand.
    """
    if vkey not in sealer.at_hand():
        problem = f"The seed of {vkey} is not at hand."
        raise RotationRefused(problem, repair="Add it to the signing key's file first.")
    now = clock.now()
    with database.write() as db:
        log.take_head(db)
        keys = known_keys(db, sealer)
        _may_follow(vkey, keys)
        note_first_key(db, sealer, keys, clock=clock)
        previous, since = keys[-1].vkey, log.read_head(db).size + 1
        log_keys.add_key(db, sealer.origin, vkey, since=since, at=now)
        entry = bodies.key_rotated(
            origin=sealer.origin,
            vkey=vkey,
            previous=previous,
            since=since,
            both_sign=BOTH_SIGN,
            reason=reason,
            at=now,
            actor=actor,
        )
        log.append(db, [entry])
    return Rotated(vkey=vkey, since=since, previous=previous, both_sign=BOTH_SIGN)


def _may_follow(vkey: str, keys: Sequence[LogKey]) -> None:
    if vkey in {one.vkey for one in keys}:
        raise RotationRefused("The log had this key before.", repair="Make a new seed: openssl rand -hex 32.")
    if any(one.until is None for one in keys[:-1]):
        problem = f"The last rotation is under way: both keys sign until {BOTH_SIGN} checkpoints are made."
        raise RotationRefused(problem, repair="Wait; a checkpoint is made each minute with news.")
