"""The pacer of several processes: one Lua script on a Redis (or Valkey) server, with the server's clock.

Keys: ``{prefix}:tat:{bucket}``, the theoretical arrival time, ``{prefix}:cd:{bucket}``, the end of the
shared pause, both in microseconds of the server's TIME, and ``{prefix}:part:{bucket}``, a hash of the part of
the ceiling that is used, since when, when it was cut last, and from when to when the pause lasts. All go when
they mean nothing any more. What lies further ahead than it can, since the clock was set back, is dated anew.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Coroutine
from typing import TypeAlias, cast
from weakref import WeakKeyDictionary

from redis import Redis as BlockingRedis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError

from worker.model import clock
from worker.model.errors import TenureError
from worker.pacing.base import (
    CUT_AT_MOST_EVERY_SECONDS,
    CUT_FIRST_TO,
    CUT_TO,
    GAIN,
    HORIZON_SECONDS,
    LONGEST_COOLDOWN_SECONDS,
    LONGEST_WAIT_SECONDS,
    RECOVERS_EVERY_SECONDS,
    WHOLE,
    Bucket,
    CoolingDown,
    Later,
    PacerUnavailable,
    Reservation,
)
from worker.pacing.server_clock import ServerClock

_MICROS = 1_000_000
_SOCKET_SECONDS = 2.0
_CALL_SECONDS = 4.0
_CONNECTIONS = 8
# By then every part has grown back to the whole.
_PART_LIVES_MILLIS = math.ceil(RECOVERS_EVERY_SECONDS / GAIN) * 1000

_Waiting: TypeAlias = "dict[Bucket, list[asyncio.Future[Reservation | Later]]]"

_CLOCK = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
"""

# Numbers stay below 2**53, so Lua holds them exactly; %.0f because tostring() would round them.
_PAUSE = (
    _CLOCK
    + f"local longest, lives = {int(LONGEST_COOLDOWN_SECONDS * _MICROS)}, {_PART_LIVES_MILLIS}\n"
    + """
local function keep_pause(key, of_part, pause)
  local millis, to = math.ceil((pause - now) / 1000), string.format('%.0f', pause)
  redis.call('SET', key, to, 'PX', millis + 1)
  redis.call('HSET', of_part, 'paused_from', string.format('%.0f', now), 'paused_to', to)
  redis.call('PEXPIRE', of_part, millis + lives)
end

local function pause_of(key, of_part)
  local pause = tonumber(redis.call('GET', key) or 0)
  if pause <= now then return pause end
  local known = redis.call('HMGET', of_part, 'paused_from', 'paused_to', 'cut_at')
  local from = tonumber(known[1] or 0)
  -- A pause of the former release names no beginning: that is at most 10 s after the last cut.
  if tonumber(known[2] or 0) ~= pause then from = tonumber(known[3] or 0) end
  local left = math.max(0, math.min(pause - math.max(now, from), longest))
  if left < pause - now then
    -- It begins ahead: the clock was set back. Begun now, it is no longer than it was to be.
    pause = now + left
    keep_pause(key, of_part, pause)
  end
  return pause
end
"""
)

PAUSE = (
    _PAUSE
    + """
return math.max(0, pause_of(KEYS[1], KEYS[2]) - now)
"""
)

_PART = (
    _PAUSE
    + """
local function part_of(key, every, gain, pause)
  local known = redis.call('HMGET', key, 'part', 'since')
  local part, dated = tonumber(known[1] or 1), tonumber(known[2] or 0)
  -- It stands from the end of a pause at the latest; later, and the clock was set back.
  local since = math.min(dated, math.max(now, pause))
  local steps = math.max(0, math.floor((now - since) / every))
  if part < 1 and (steps > 0 or since < dated) then
    part, since = math.min(1, part + steps * gain), since + steps * every
    redis.call('HSET', key, 'part', part, 'since', string.format('%.0f', since))
  end
  return part
end
"""
)

RESERVE = (
    _PART
    + """
local horizon, waited_out, burst = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[2])
local pause = pause_of(KEYS[2], KEYS[3])
local part = part_of(KEYS[3], tonumber(ARGV[5]), tonumber(ARGV[6]), pause)
local interval = math.ceil(tonumber(ARGV[1]) / part)
local tau = (burst - 1) * interval
local arrival = tonumber(redis.call('GET', KEYS[1]) or 0)
-- No grant leaves a later one: the clock was set back, as after a failover, or the bucket was slower.
local latest = now + horizon + tau + interval
if pause > now then
  if pause - now > waited_out then return {now, {{2, pause - now}}} end
  -- After a pause no burst: the provider has just said that it was too much.
  arrival = math.max(math.min(arrival, latest), pause + tau)
elseif arrival > latest then
  -- Kept, or the bucket would stand still until the old time is reached.
  arrival = latest
  redis.call('SET', KEYS[1], string.format('%.0f', arrival), 'PX', math.ceil((arrival - now) / 1000) + 1)
end
local told, later = {}, nil
for _ = 1, tonumber(ARGV[7]) do
  local slot = math.max(now, arrival - tau)
  if slot - now > horizon then
    later = {1, slot - now - horizon}
    break
  end
  arrival = math.max(arrival, slot) + interval
  table.insert(told, {0, slot - now})
end
if #told > 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', arrival), 'PX', math.ceil((arrival - now) / 1000) + 1)
end
for _ = #told + 1, tonumber(ARGV[7]) do table.insert(told, later) end
return {now, told}
"""
)

COOL_DOWN = (
    _PART
    + """
local standing = pause_of(KEYS[1], KEYS[2])
local part = part_of(KEYS[2], tonumber(ARGV[2]), tonumber(ARGV[3]), standing)
local pause = now + tonumber(ARGV[1])
if pause > standing then
  keep_pause(KEYS[1], KEYS[2], pause)
else
  pause = standing
end
local cut_at = tonumber(redis.call('HGET', KEYS[2], 'cut_at') or 0)
if now - cut_at >= tonumber(ARGV[4]) or cut_at > now then
  local cut = tonumber(ARGV[5])
  if part >= tonumber(ARGV[10]) then cut = tonumber(ARGV[9]) end
  part = math.max(tonumber(ARGV[6]), part * cut)
  redis.call('HSET', KEYS[2], 'cut_at', string.format('%.0f', now))
end
-- What is counted as clean begins when the pause is over.
redis.call('HSET', KEYS[2], 'part', part, 'since', string.format('%.0f', pause))
redis.call('PEXPIRE', KEYS[2], math.ceil((pause - now) / 1000) + lives)
-- After the pause no burst, also where nobody asks in it.
local tau = (tonumber(ARGV[8]) - 1) * math.ceil(tonumber(ARGV[7]) / part)
local arrival = math.max(tonumber(redis.call('GET', KEYS[3]) or 0), pause + tau)
redis.call('SET', KEYS[3], string.format('%.0f', arrival), 'PX', math.ceil((arrival - now) / 1000) + 1)
return 0
"""
)


def require_redis(url: str) -> None:
    """Raise PacerUnavailable unless the server answers now, and RedisEvicts where it may forget limits.

    For the start of a process.
    """
    try:
        with BlockingRedis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
            memory = client.info("memory")
    except (RedisError, OSError, ValueError) as e:
        # The URL may carry a password, so only what went wrong is told.
        problem = f"Redis does not answer ({type(e).__name__})."
        raise PacerUnavailable(problem, repair="Start it, or mend TENURE_REDIS_URL or the broker's.") from e

    policy = memory.get("maxmemory_policy", "noeviction")
    if int(memory.get("maxmemory", 0)) > 0 and policy != "noeviction":
        # An evicted pause or slot would let every process send at once; an evicted message costs a tick.
        problem = f"Redis may throw keys away when it is full (maxmemory-policy {policy})."
        raise RedisEvicts(problem, repair="Set maxmemory-policy to noeviction, or use a Redis of its own.")


class RedisEvicts(TenureError):
    """The server may forget how fast a provider is asked."""

    code = "redis_evicts"


class RedisPacer:
    """Grants nothing when the server does not answer, and goes on by itself when it does again.

    A client belongs to the loop that uses it and is made on first use there (so also after a fork).
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, _Client] = WeakKeyDictionary()

    async def reserve(self, bucket: Bucket) -> Reservation | Later:
        """Take the next slot; who asks in the same moment shares one question.

        Raises CoolingDown or PacerUnavailable.
        """
        told: asyncio.Future[Reservation | Later] = asyncio.get_running_loop().create_future()
        client = self._client()
        waiting = client.waiting.setdefault(bucket, [])
        waiting.append(told)
        if len(waiting) == 1:
            client.keep(self._reserve_for(bucket, client.waiting))
        return await told

    async def _reserve_for(self, bucket: Bucket, waiting: _Waiting) -> None:
        """Ask for everybody who waits when this begins. The slot of one who was cancelled goes unused."""
        waiters = waiting.pop(bucket)
        try:
            slots = await self._slots(bucket, len(waiters))
        except asyncio.CancelledError:
            for one in waiters:
                one.cancel()
            raise
        except Exception as problem:  # noqa: BLE001 - each waiter raises it in its own place
            for one in waiters:
                if not one.done():
                    one.set_exception(problem)
            return
        for one, slot in zip(waiters, slots, strict=True):
            if not one.done():
                one.set_result(slot)

    async def _slots(self, bucket: Bucket, count: int) -> list[Reservation | Later]:
        arguments = [
            math.ceil(_MICROS / bucket.per_second),
            bucket.burst,
            int(HORIZON_SECONDS * _MICROS),
            int(LONGEST_WAIT_SECONDS * _MICROS),
            *_recovery(bucket),
            count,
        ]
        keys = [self._key(name, bucket) for name in ("tat", "cd", "part")]
        asked = clock.monotonic()
        match await self._run(RESERVE, keys, arguments):
            case [int(now), [*told]]:
                since = self._client().clock.seen(now / _MICROS, asked=asked, received=clock.monotonic())
                slots = [_slot(one, since) for one in told]
            case _:
                slots = []
        if len(slots) != count:
            raise _unavailable("it answered something else than slots")
        return slots

    async def cool_down(self, bucket: Bucket, seconds: float) -> None:
        """Let nobody have a slot for that long, then go on more slowly; a longer pause in force stays.

        Raises PacerUnavailable.
        """
        micros = math.ceil(max(0.0, min(seconds, LONGEST_COOLDOWN_SECONDS)) * _MICROS)
        if micros:
            cut = [int(CUT_AT_MOST_EVERY_SECONDS * _MICROS), CUT_TO, bucket.slowest]
            limit = [math.ceil(_MICROS / bucket.per_second), bucket.burst]
            first = [CUT_FIRST_TO, WHOLE]
            keys = [self._key(name, bucket) for name in ("cd", "part", "tat")]
            await self._run(COOL_DOWN, keys, [micros, *_recovery(bucket), *cut, *limit, *first])

    async def pause(self, bucket: Bucket) -> float:
        """Return how many seconds are left of the pause in force, 0 without one. Raises PacerUnavailable."""
        match await self._run(PAUSE, [self._key(name, bucket) for name in ("cd", "part")], []):
            case int(micros):
                return micros / _MICROS
            case _:
                raise _unavailable("it answered something else than a pause")

    async def aclose(self) -> None:
        """Close the calling loop's connections."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    def _key(self, what: str, bucket: Bucket) -> str:
        return f"{self._prefix}:{what}:{bucket.key}"

    async def _run(self, script: str, keys: list[str], arguments: list[float]) -> object:
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                call = self._client().script(script)
                return await cast("Awaitable[object]", call(keys=keys, args=arguments))
        except (RedisError, OSError) as problem:
            raise _unavailable(type(problem).__name__) from problem

    def _client(self) -> _Client:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            pool = BlockingConnectionPool.from_url(
                self._url,
                # Whoever finds all of them busy waits; a refusal would read as a Redis that is gone.
                max_connections=_CONNECTIONS,
                timeout=_CALL_SECONDS,
                socket_timeout=_SOCKET_SECONDS,
                socket_connect_timeout=_SOCKET_SECONDS,
                # Once more on a new connection, as after a restart: at worst a slot goes unused.
                retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionLost,)),
            )
            client = self._clients[loop] = _Client(Redis.from_pool(pool))
        return client


class _Client:
    """What belongs to one loop: connections, scripts and their digests, the server's clock, who waits."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.waiting: _Waiting = {}
        self.clock = ServerClock()
        self._scripts: dict[str, AsyncScript] = {}
        self._questions: set[asyncio.Task[None]] = set()

    def script(self, text: str) -> AsyncScript:
        """Return a script whose digest is computed once."""
        if text not in self._scripts:
            self._scripts[text] = self.redis.register_script(text)
        return self._scripts[text]

    def keep(self, question: Coroutine[object, object, None]) -> None:
        """Ask it, whoever is cancelled meanwhile."""
        task = asyncio.get_running_loop().create_task(question)
        self._questions.add(task)
        task.add_done_callback(self._questions.discard)

    async def close(self) -> None:
        """End the questions, each of which holds a connection, and close them all."""
        for one in self._questions:
            one.cancel()
        await asyncio.gather(*self._questions, return_exceptions=True)
        await self.redis.aclose()


def _recovery(bucket: Bucket) -> tuple[int, float]:
    return int(bucket.recovers_every * _MICROS), GAIN


def _slot(reply: object, since: float) -> Reservation | Later:
    match reply:
        case [0, int(micros)]:
            return Reservation(wait=micros / _MICROS, since=since)
        case [1, int(micros)]:
            return Later(wait=micros / _MICROS)
        case [2, int(micros)]:
            raise CoolingDown(micros / _MICROS)
        case _:
            raise _unavailable("it answered something else than a slot")


def _unavailable(what: str) -> PacerUnavailable:
    return PacerUnavailable(
        f"Redis gave no slot ({what}), so nothing is sent.",
        repair="Check TENURE_REDIS_URL and the server; work goes on by itself when it answers.",
    )
