"""Sweeps, work items and attempts: what their states mean and who moves them.

Work item: ``planned`` -> ``claimed`` -> ``done`` | ``waiting`` | ``parked`` | ``spared`` | ``cancelled``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from worker.model.ids import ItemId, ThreadId


class ItemState(StrEnum):
    """Where one planned deletion stands."""

    PLANNED = "planned"  # a released sweep wants it; claim takes it
    CLAIMED = "claimed"  # a worker holds lease and fence; a dead lease is claimed again
    WAITING = "waiting"  # goes on at next_at, with the same right to exist as planned
    DONE = "done"  # graded; the thread has its terminal state
    PARKED = "parked"  # graded, and a person must look
    SPARED = "spared"  # decided again under the claim, and no longer due
    CANCELLED = "cancelled"  # withdrawn before anything was sent


OPEN_ITEM_STATES = (ItemState.PLANNED, ItemState.CLAIMED, ItemState.WAITING)


class SweepState(StrEnum):
    """Where one sweep stands; ``planning`` and ``releasing`` have a cursor, so that a crash resumes them."""

    PLANNING = "planning"
    BLOCKED = "blocked"  # a guard said no: nothing of it is released
    AWAITING_APPROVAL = "awaiting_approval"
    RELEASING = "releasing"
    RELEASED = "released"
    DRY_RUN = "dry_run"
    CANCELLED = "cancelled"
    DONE = "done"  # every item reached an end or waits for its own time


class Stage(StrEnum):
    """What an intent covers: the children first, then, as a stage of its own, the container."""

    CHILDREN = "children"
    CONTAINER = "container"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work items until ``until``; everything that a worker sends is bounded by it.

    The limits follow the lease: request = min(20 s, lease/4), deadline = 0.4 x lease, and nothing is
    sent with less than lease/4 left.
    """

    length: timedelta

    @property
    def request_timeout(self) -> timedelta:
        """How long one request may take."""
        return min(timedelta(seconds=20), self.length / 4)

    @property
    def batch_deadline(self) -> timedelta:
        """After this, nothing new is begun under the claim."""
        return self.length * 0.4

    @property
    def last_send(self) -> timedelta:
        """After this, no request leaves any more."""
        return self.length * 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItem:
    """One claimed deletion. ``fence`` grows at each claim and shuts out late writers."""

    id: ItemId
    thread_id: ThreadId
    sweep_id: str
    policy: str
    project: str
    credential: str
    fence: int
    attempts: int = 0
    reads: int = 0
    rereads: int = 0
    rounds: int = 0
    # How many claims before this one ended without a word, one after another.
    abandoned: int = 0
    lease_until: datetime | None = None
