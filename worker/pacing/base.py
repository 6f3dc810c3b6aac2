"""What a pacer promises: slots on one clock, shared by everybody who uses the same bucket."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from worker.model.errors import TenureError, Unavailable
from worker.policy.document import Rate

HORIZON_SECONDS = 2.0
"""No slot is reserved further ahead, so that one that is never used costs little."""

LONGEST_WAIT_SECONDS = 10.0
"""A longer cooldown is told to the caller, who gives his work back instead of waiting."""

LONGEST_COOLDOWN_SECONDS = 86_400.0
"""A provider that asks for more is asked again after a day."""

CUT_TO = 0.7
"""Whoever is told to slow down goes on at this part of the rate so far (AIMD: multiplicative decrease)."""

CUT_FIRST_TO = 0.95
"""The same where the whole ceiling was in use again: one refusal among many may be mere unevenness."""

WHOLE = 0.999
"""From this part on the ceiling counts as in use; sums of small steps need not give 1 exactly."""

CUT_AT_MOST_EVERY_SECONDS = 10.0
"""Many requests that are refused together say one thing, once."""

GAIN = 0.02
"""The rate grows by this part of its ceiling (additive increase), in steps: see `Bucket.recovers_every`."""

RECOVERS_AFTER_REQUESTS = 100
"""A step takes as long as so many requests at the ceiling, so that trying costs few refusals at any rate."""

RECOVERS_EVERY_SECONDS = 30.0
"""A step never takes longer, and in a quick bucket not less than a second."""

LATE_SECONDS = 0.1
"""How late a slot may be used at most: what is later may bunch up on the way, so the lane drops it."""

LEAST_LATE_SECONDS = 0.05
"""No bound is narrower: a busy machine is that late now and then, and whoever is always late never sends."""

UNEVEN_SECONDS = 0.02
"""What the way itself adds after the last look at a slot: the SDK's work, and the wire."""

SLOWEST_PER_SECOND = 0.5
"""No cut goes below this, nor below the ceiling of a bucket that is slower anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A limit that callers share by ``key``: ``per_second`` in the long run, ``burst`` at once.

    ``per_second`` is the ceiling: where the provider refuses, the bucket goes slower for a while. A slot
    is not used any more ``late_seconds`` after it began.
    """

    key: str
    per_second: float
    burst: int = 1
    late_seconds: float = LATE_SECONDS

    @property
    def slowest(self) -> float:
        """The part of the ceiling (0 to 1) below which no cut goes."""
        return min(1.0, SLOWEST_PER_SECOND / self.per_second)

    @property
    def recovers_every(self) -> float:
        """After how many seconds without a refusal the rate grows by a step."""
        return max(1.0, min(RECOVERS_EVERY_SECONDS, RECOVERS_AFTER_REQUESTS / self.per_second))

    def __post_init__(self) -> None:
        if not (0 < self.per_second < math.inf and self.burst >= 1):
            raise ValueError(f"a bucket needs a rate above 0 and a burst of at least 1: {self!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """The limits of one credential; both are the same bucket where the project names one rate."""

    writes: Bucket
    reads: Bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """One slot that is the caller's alone; it begins ``wait`` seconds after ``since``.

    That is an instant of this process's monotonic clock; None where the pacer answers at once: from now on.
    """

    wait: float
    since: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """Nothing was reserved: the next free slot is beyond the horizon. Ask again in ``wait`` seconds."""

    wait: float


class PacerUnavailable(Unavailable):
    """The place where slots are kept does not answer, so there are none."""

    code = "pacer_unavailable"


class CoolingDown(TenureError):
    """The provider asked for a pause that nobody waits out; ``seconds`` are left of it, a day's at most.

    Whoever is sent home by it comes again then, so no wrong clock or answer keeps work back for longer.
    """

    code = "cooling_down"

    def __init__(self, seconds: float) -> None:
        self.seconds = min(seconds, LONGEST_COOLDOWN_SECONDS)
        super().__init__(
            f"The provider asked for a pause, of which {self.seconds:.0f} s are left.",
            repair="Give the work back and come again then.",
        )


class Pacer(Protocol):
    """Grants slots; every grant of a bucket, by any process, obeys its limit."""

    async def reserve(self, bucket: Bucket) -> Reservation | Later:
        """Take the next slot. Raises CoolingDown, or PacerUnavailable, which means: no permit."""
        ...

    async def cool_down(self, bucket: Bucket, seconds: float) -> None:
        """Let nobody have a slot for that long, then go on more slowly; a longer pause in force stays.

        The rate recovers by itself. Raises PacerUnavailable.
        """
        ...

    async def pause(self, bucket: Bucket) -> float:
        """Return how many seconds are left of the pause in force, 0 without one. Raises PacerUnavailable."""
        ...

    async def aclose(self) -> None:
        """Close what the calling loop has opened."""
        ...


def shared_rate(rates: Collection[Rate]) -> Rate:
    """Return the one rate of projects that share a credential: the slowest of theirs, shares applied.

    GET has a rate of its own only where each of them names one: else the provider may count it with the rest.
    """
    reads = [one.reads * one.share for one in rates if one.reads is not None]
    return Rate(
        limit=min(one.limit * one.share for one in rates),
        reads=min(reads) if len(reads) == len(rates) else None,
        burst=min(one.burst for one in rates),
        share=1.0,
    )


def buckets(rate: Rate, credential: str) -> Buckets:
    """Return the buckets of one credential: ``share`` of what the project may send is Tenure's.

    DELETE and GET have buckets of their own only where the project names a rate for reads.
    """
    if rate.reads is None:
        both = _bucket(credential, rate.limit * rate.share, rate.burst)
        return Buckets(writes=both, reads=both)
    return Buckets(
        writes=_bucket(f"{credential}:writes", rate.limit * rate.share, rate.burst),
        reads=_bucket(f"{credential}:reads", rate.reads * rate.share, rate.burst),
    )


def _bucket(key: str, per_second: float, burst: int) -> Bucket:
    """Keep what late requests bring together within the burst: the provider counts when they arrive.

    To a token bucket the latest request sets the time of all that follow on time, so the difference between
    two may never exceed what the burst bears. A small burst narrows the bound; a larger one is made less.
    """
    bears = (burst - 1) / per_second
    late = min(LATE_SECONDS, max(LEAST_LATE_SECONDS, bears - UNEVEN_SECONDS))
    together = math.ceil(round(per_second * (late + UNEVEN_SECONDS), 6))
    return Bucket(key=key, per_second=per_second, burst=max(1, burst - together), late_seconds=late)
