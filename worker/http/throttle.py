"""How often one key may ask, and one address show keys that do not stand.

Counted in Redis where there is one, else in this process. Redis that does not answer stops nobody: the count
goes on in this process, so each process then admits the whole limit. Placing a hold and the pause of deletes
are never counted: what protects data must not wait behind what asks for lists.
"""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass
from enum import StrEnum

from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry
from starlette.concurrency import run_in_threadpool

from worker.model.clock import Clock, SystemClock
from worker.telemetry import ERROR_TYPE, log

_REDIS_SECONDS = 0.25
# After Redis was silent nobody waits for it for so long.
_WITHOUT_REDIS_SECONDS = 10.0
_ADDRESS_BITS = 64
_IPV4 = 4


class Bucket(StrEnum):
    """What is counted apart."""

    REQUESTS = "requests"
    REGISTRATIONS = "registrations"
    REFUSED_KEYS = "refused-keys"


_NEVER = frozenset({("POST", "/v1/holds"), ("PUT", "/v1/switches/deletes")})
_REGISTRATIONS = frozenset({("POST", "/v1/threads"), ("POST", "/v1/threads/bulk")})


def bucket_of(method: str, path: str) -> Bucket | None:
    """Return where a request is counted; None for what protects data, which is never throttled."""
    if (method, path) in _NEVER:
        return None
    # A touch that is lost would let a thread go too early, like a registration that is lost.
    touched = method == "POST" and path.startswith("/v1/threads/") and path.endswith("/touch")
    return Bucket.REGISTRATIONS if touched or (method, path) in _REGISTRATIONS else Bucket.REQUESTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits as text, such as `600/minute`; an empty one limits nothing."""

    requests: str = "6000/minute"
    registrations: str = "60000/minute"
    refused_keys: str = "60/minute"

    def of(self, bucket: Bucket) -> RateLimitItem | None:
        """Return the limit of a bucket, or None."""
        texts = {
            Bucket.REQUESTS: self.requests,
            Bucket.REGISTRATIONS: self.registrations,
            Bucket.REFUSED_KEYS: self.refused_keys,
        }
        return parse(texts[bucket]) if texts[bucket] else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is left of a limit after this request; ``admitted`` False means that it was too many."""

    bucket: Bucket
    admitted: bool
    quota: int
    window: int
    remaining: int
    reset: int

    def headers(self) -> dict[str, str]:
        """Return the RateLimit fields (draft-ietf-httpapi-ratelimit-headers), and when to come back."""
        told = {
            "ratelimit-policy": f'"{self.bucket}";q={self.quota};w={self.window}',
            "ratelimit": f'"{self.bucket}";r={self.remaining};t={self.reset}',
        }
        return told if self.admitted else {**told, "retry-after": str(max(1, self.reset))}


class Throttle:
    """Counts requests against limits."""

    def __init__(
        self, limits: Limits | None = None, *, clock: Clock, redis: str = "", prefix: str = "tenure"
    ) -> None:
        given = limits or Limits()
        self._items = {bucket: given.of(bucket) for bucket in Bucket}
        self._clock = clock
        self._here: SlidingWindowCounterRateLimiter | None = None
        self._shared = _in_redis(redis, prefix) if redis else None
        self._alone_until = -math.inf

    async def count(self, bucket: Bucket, who: str) -> Standing | None:
        """Count one request of a key or an address; None where nothing is limited."""
        item = self._items[bucket]
        if item is None:
            return None
        if self._shared is not None and self._clock.monotonic() >= self._alone_until:
            try:
                return await run_in_threadpool(_hit, self._shared, item, bucket, who)
            except StorageError as e:
                self._alone_until = self._clock.monotonic() + _WITHOUT_REDIS_SECONDS
                log().warning("throttle.without_redis", **{ERROR_TYPE: type(e.storage_error).__name__})
        return _hit(self._in_process(), item, bucket, who)

    def _in_process(self) -> SlidingWindowCounterRateLimiter:
        if self._here is None:
            self._here = SlidingWindowCounterRateLimiter(MemoryStorage())
        return self._here


def address_of(host: str | None) -> str:
    """Return what counts as one address: of IPv6 the network, since one host may use all of it."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return "unknown"
    if address.version == _IPV4:
        return str(address)
    return str(ipaddress.ip_network((address, _ADDRESS_BITS), strict=False))


def _in_redis(url: str, prefix: str) -> SlidingWindowCounterRateLimiter:
    storage = RedisStorage(
        url,
        key_prefix=f"{prefix}:limits",
        wrap_exceptions=True,
        socket_timeout=_REDIS_SECONDS,
        socket_connect_timeout=_REDIS_SECONDS,
        retry=Retry(NoBackoff(), 0),  # type: ignore[arg-type]  # passed on to redis as it is
    )
    return SlidingWindowCounterRateLimiter(storage)


def _hit(counted: SlidingWindowCounterRateLimiter, item: RateLimitItem, bucket: Bucket, who: str) -> Standing:
    admitted = counted.hit(item, bucket.value, who)
    stats = counted.get_window_stats(item, bucket.value, who)
    # The window is the library's, on the wall clock of whoever counts.
    reset = max(0, math.ceil(stats.reset_time - SystemClock().now().timestamp()))
    return Standing(
        bucket=bucket,
        admitted=admitted,
        quota=item.amount,
        window=item.get_expiry(),
        remaining=int(stats.remaining),
        reset=min(reset, item.get_expiry()),
    )
