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
