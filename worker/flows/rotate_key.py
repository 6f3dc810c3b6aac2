"""Rotate an API key: a successor with the same rights, while the old one goes on until a set time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.audit import bodies
from worker.flows.key import NewKey, Principal, add_new_key, require_within
from worker.model.clock import Clock
from worker.model.errors import Invalid, TenureError
from worker.store import keys, log
from worker.store.engine import Database
from worker.store.keys import StoredKey

USUAL_OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=90)


class KeyEnded(TenureError):
    """The key was revoked or has expired: there is nothing left to go on."""

    code = "key_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotation:
    """The successor, and when the old key ends."""

    successor: NewKey
    ends_at: datetime


def rotate_key(
    database: Database, key_id: str, *, who: Principal, clock: Clock, ends_at: datetime | None = None
) -> KeyRotation:
    """Make the successor and let the old key end; raises KeyEnded, Invalid and WiderThanOwn.

    A key that had an end gets a successor that lives as long as it was meant to, counted from now.
    """
    now = clock.now()
    with database.write() as db:
        # Two rotations at once come one after the other, so that neither overlooks the other's end.
        log.take_head(db)
        old = keys.get_key(db, key_id)
        if old is None or old.revoked_at is not None or (old.expires_at and old.expires_at <= now):
            raise KeyEnded("The key has ended already.", repair="Make a new one: `tenure keys create`.")
        require_within(who, old.scopes)
        end = _end(old, ends_at or now + USUAL_OVERLAP, now)
        successor = add_new_key(
            db,
            label=old.label,
            scopes=old.scopes,
            projects=old.projects,
            actor=who.actor,
            now=now,
            expires_at=None if old.expires_at is None else now + (old.expires_at - old.created_at),
        )
        keys.end_key(db, old.id, end)
        rotated = bodies.api_key_rotated(
            key=old.id, successor=successor.id, ends_at=end, at=now, actor=who.actor
        )
        log.append(db, [rotated])
    return KeyRotation(successor=successor, ends_at=end)


def _end(old: StoredKey, wanted: datetime, now: datetime) -> datetime:
    if not now <= wanted <= now + LONGEST_OVERLAP:
        problem = f"The old key may go on from now for {LONGEST_OVERLAP.days} days at most."
        raise Invalid(problem, repair="Give an instant within that time.", pointer="/ends_at")
    # Rotating never lengthens a life.
    return wanted if old.expires_at is None else min(wanted, old.expires_at)
