"""The sandbox's own rate limit: a token bucket, refilled evenly."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from worker.sandbox.options import Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """``wait`` is in seconds and 0 when the request may pass; ``remaining`` whole requests are left."""

    wait: float
    limit: int
    remaining: int


class TokenBucket:
    """Thread-safe. ``monotonic`` gives seconds that never step back."""

    def __init__(self, rate: Rate, monotonic: Callable[[], float]) -> None:
        self._rate = rate
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._tokens = float(rate.burst)
        self._seen = monotonic()

    def take(self) -> Allowance:
        """Take one request out, or say how long until there is one; a refusal costs nothing."""
        with self._lock:
            now = self._monotonic()
            gained = (now - self._seen) * self._rate.per_second
            self._tokens = min(self._rate.burst, self._tokens + gained)
            self._seen = now
            if self._tokens < 1:
                wait = (1 - self._tokens) / self._rate.per_second
                return Allowance(wait=wait, limit=self._rate.limit, remaining=0)
            self._tokens -= 1
            return Allowance(wait=0, limit=self._rate.limit, remaining=int(self._tokens))


class TokenBuckets:
    """One bucket for everybody, or one for each key; without a rate there is none."""

    def __init__(self, rate: Rate | None, monotonic: Callable[[], float], *, by_key: bool) -> None:
        self._rate = rate
        self._monotonic = monotonic
        self._by_key = by_key
        self._lock = threading.Lock()
        self._buckets: dict[str, TokenBucket] = {}

    def take(self, key: str) -> Allowance | None:
        """Take one request out of the key's bucket; None where nothing is limited."""
        if self._rate is None:
            return None
        with self._lock:
            name = key if self._by_key else ""
            if name not in self._buckets:
                self._buckets[name] = TokenBucket(self._rate, self._monotonic)
        return self._buckets[name].take()
