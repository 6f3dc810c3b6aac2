"""A pacer within one process: the same algorithm as `redis`, on a monotonic clock.

GCRA with reservation (the generic cell rate algorithm of ITU-T I.371): of each bucket only the
theoretical arrival time is kept, here as microseconds. A slot is due ``tau`` before it, where ``tau``
is what a burst may come early.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from worker.model import clock
from worker.pacing.base import (
    CUT_AT_MOST_EVERY_SECONDS,
    CUT_FIRST_TO,
    CUT_TO,
    GAIN,
    HORIZON_SECONDS,
    LONGEST_COOLDOWN_SECONDS,
    LONGEST_WAIT_SECONDS,
    WHOLE,
    Bucket,
    CoolingDown,
    Later,
    Reservation,
)

_MICROS = 1_000_000
_HORIZON = int(HORIZON_SECONDS * _MICROS)
_LONGEST_WAIT = int(LONGEST_WAIT_SECONDS * _MICROS)
_CUT_EVERY = int(CUT_AT_MOST_EVERY_SECONDS * _MICROS)


@dataclass(slots=True)
class _State:
    arrival: int = 0
    paused_from: int = 0
    cooled_until: int = 0
    # The part of the ceiling that is used (0 to 1), since when it stands, and when it was cut last.
    part: float = 1.0
    since: int = 0
    cut_at: int | None = None


class MemoryPacer:
    """Shared by all threads and loops of a process; ``monotonic`` returns seconds."""

    def __init__(self, monotonic: Callable[[], float] = clock.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._states: dict[str, _State] = {}

    async def reserve(self, bucket: Bucket) -> Reservation | Later:
        """Take the next slot. Raises CoolingDown."""
        with self._lock:
            state = self._states.setdefault(bucket.key, _State())
            return _take(state, bucket, now=self._now())

    async def cool_down(self, bucket: Bucket, seconds: float) -> None:
        """Let nobody have a slot for that long, then go on more slowly; a longer pause in force stays."""
        micros = math.ceil(max(0.0, min(seconds, LONGEST_COOLDOWN_SECONDS)) * _MICROS)
        if not micros:
            return
        with self._lock:
            state = self._states.setdefault(bucket.key, _State())
            now = self._now()
            standing = _pause_of(state, now=now)
            _recover(state, bucket, now=now)
            if now + micros > standing:
                state.paused_from, state.cooled_until = now, now + micros
            _cut(state, bucket, now=now)
            # No burst after it, also where nobody asks in it: the provider said that it was too much.
            state.arrival = max(state.arrival, state.cooled_until + _tau(state, bucket))

    async def pause(self, bucket: Bucket) -> float:
        """Return how many seconds are left of the pause in force, 0 without one."""
        with self._lock:
            state, now = self._states.get(bucket.key), self._now()
            return max(0, _pause_of(state, now=now) - now) / _MICROS if state else 0.0

    async def aclose(self) -> None:
        """Nothing is open."""

    def _now(self) -> int:
        return int(self._monotonic() * _MICROS)


def _pause_of(state: _State, *, now: int) -> int:
    """Return the end of the pause. One that begins ahead begins now: the clock was set back."""
    if state.paused_from > now:
        state.paused_from, state.cooled_until = now, now + state.cooled_until - state.paused_from
    return state.cooled_until


def _cut(state: _State, bucket: Bucket, *, now: int) -> None:
    if state.cut_at is None or now - state.cut_at >= _CUT_EVERY or state.cut_at > now:
        cut = CUT_FIRST_TO if state.part >= WHOLE else CUT_TO
        state.part, state.cut_at = max(bucket.slowest, state.part * cut), now
    # What is counted as clean begins when the pause is over.
    state.since = state.cooled_until


def _recover(state: _State, bucket: Bucket, *, now: int) -> None:
    if state.part >= 1:
        return
    # It stands from the end of a pause at the latest; later, and the clock was set back.
    state.since = min(state.since, max(now, state.cooled_until))
    every = int(bucket.recovers_every * _MICROS)
    steps = max(0, (now - state.since) // every)
    state.part = min(1.0, state.part + steps * GAIN)
    state.since += steps * every


def _interval(state: _State, bucket: Bucket) -> int:
    return math.ceil(math.ceil(_MICROS / bucket.per_second) / state.part)


def _tau(state: _State, bucket: Bucket) -> int:
    return (bucket.burst - 1) * _interval(state, bucket)


def _take(state: _State, bucket: Bucket, *, now: int) -> Reservation | Later:
    pause = _pause_of(state, now=now)
    _recover(state, bucket, now=now)
    interval, tau = _interval(state, bucket), _tau(state, bucket)
    # No grant leaves a later one: the bucket was slower before.
    arrival = min(state.arrival, now + _HORIZON + tau + interval)
    if pause > now:
        if pause - now > _LONGEST_WAIT:
            raise CoolingDown((pause - now) / _MICROS)
        arrival = max(arrival, pause + tau)
    else:
        state.arrival = arrival
    slot = max(now, arrival - tau)
    if slot - now > _HORIZON:
        return Later(wait=(slot - now - _HORIZON) / _MICROS)
    state.arrival = max(arrival, slot) + interval
    return Reservation(wait=(slot - now) / _MICROS)
