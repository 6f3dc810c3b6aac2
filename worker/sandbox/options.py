"""What a sandbox is started with."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import timedelta

from worker.model.errors import Invalid
from worker.sandbox.dialects import DIALECTS, Dialect, UnknownDialect, parse_dialect
from worker.sandbox.faults import FAULTS, Fault, FaultRule, parse_fault, parse_faults

__all__ = [
    "DIALECTS",
    "FAULTS",
    "Dialect",
    "Fault",
    "FaultRule",
    "MalformedRate",
    "Rate",
    "SandboxOptions",
    "UnknownDialect",
    "parse_dialect",
    "parse_fault",
    "parse_faults",
    "parse_rate",
]

_UNITS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
_SPELLING = re.compile(r"(?P<limit>[1-9][0-9]{0,8})/(?P<unit>[a-z]+)")


class MalformedRate(Invalid):
    """A rate was not written as requests per unit of time."""

    code = "malformed_rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """``limit`` requests in ``per``, at most ``burst`` of them at once."""

    limit: int
    per: timedelta
    burst: int

    @property
    def per_second(self) -> float:
        """Requests per second in the long run."""
        return self.limit / self.per.total_seconds()


def parse_rate(text: str) -> Rate:
    """Read ``300/min`` (s, min, h); the burst is one second's worth, at least 1.

    OpenAI too meters a limit per minute in shorter steps. Raises MalformedRate.
    """
    match = _SPELLING.fullmatch(text.strip())
    if match is None or match["unit"] not in _UNITS:
        problem = f"{text!r} is not a rate."
        raise MalformedRate(
            problem, repair="Write requests per s, min or h, such as 300/min.", pointer="/rate"
        )
    limit, seconds = int(match["limit"]), _UNITS[match["unit"]]
    return Rate(limit=limit, per=timedelta(seconds=seconds), burst=max(1, math.ceil(limit / seconds)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """``latency`` is spent half before and half after the work; ``rate`` counts every request.

    ``delete_rate`` counts DELETE besides; with ``rate_by_key`` both count each key by itself.
    ``throttled_keys`` are answered 429 whatever they ask. Without ``api_keys`` any bearer will do. With a
    ``seed`` the ids repeat from run to run. ``retry_after`` is what ``throttled`` answers, ``slow_by`` how
    long ``slow`` waits and ``slow-body`` takes, ``hang_for`` how long ``timeout`` waits for the client
    to go. What ``reappears`` struck is back after ``reappears_after``, only on demand if that is None.
    ``keep_requests`` is how many requests stay in the log, ``data_retention`` what an admin key is told.
    """

    latency: timedelta = timedelta()
    rate: Rate | None = None
    delete_rate: Rate | None = None
    rate_by_key: bool = False
    throttled_keys: frozenset[str] = field(default=frozenset(), repr=False)
    faults: tuple[FaultRule, ...] = ()
    api_keys: frozenset[str] | None = field(default=None, repr=False)
    seed: int | None = None
    retry_after: timedelta = timedelta(seconds=1)
    slow_by: timedelta = timedelta(seconds=5)
    hang_for: timedelta = timedelta(minutes=2)
    reappears_after: timedelta | None = timedelta(seconds=30)
    dialect: Dialect = Dialect.OPENAI
    keep_requests: int = 100_000
    data_retention: str = "modified_abuse_monitoring"
