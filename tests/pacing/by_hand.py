"""A clock that is moved by hand, also back, and the pacer on a real server that goes by it."""

from __future__ import annotations

import re

from worker.pacing import redis as subject
from worker.pacing.redis import RedisPacer

MICROS = 1_000_000


class HandClock:
    """One time for both: given to the one, and written into every script for the other."""

    def __init__(self) -> None:
        self.micros = 1_700_000_000 * MICROS

    def seconds(self) -> float:
        return self.micros / MICROS

    def move(self, seconds: float) -> None:
        self.micros += round(seconds * MICROS)


class DrivenRedisPacer(RedisPacer):
    """The real scripts with a number for the server's TIME; keys that mean nothing any more stay."""

    def __init__(self, url: str, prefix: str, clock: HandClock) -> None:
        super().__init__(url, prefix)
        self._clock = clock

    async def _run(self, script: str, keys: list[str], arguments: list[float]) -> object:
        assert script.count(subject._CLOCK) == 1
        driven = script.replace(subject._CLOCK, "local now = tonumber(ARGV[#ARGV])")
        lasting = re.sub(r", 'PX', .* \+ 1\)", ")", driven)
        lasting = re.sub(r"redis\.call\('PEXPIRE'.*", "", lasting)
        assert "PX" not in lasting
        assert "EXPIRE" not in lasting
        return await super()._run(lasting, keys, [*arguments, self._clock.micros])
