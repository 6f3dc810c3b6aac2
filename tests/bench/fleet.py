"""Several workers on one database and one Redis against one sandbox, from start to the last deletion."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from tests.bench import measure
from tests.bench.drainer import TOLD, Drainer
from tests.bench.measure import Cost, Meter, Sandbox
from tests.bench.projects import AGE, Account, documents, load, put_in_force, register_due, release
from worker.model.clock import SystemClock, parse_rfc3339
from worker.model.work import OPEN_ITEM_STATES
from worker.sandbox.options import Rate, SandboxOptions
from worker.sandbox.server import serve
from worker.store.engine import Database
from worker.store.tables import thread, work_item

_LOOK_SECONDS = 0.25
_KIND = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run happens: a fresh database, and keys of its own in Redis."""

    database_url: str
    redis_url: str
    redis_prefix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run did. ``arrivals`` are seconds since the first request, with the request, in order."""

    wanted: Mapping[str, Sequence[str]]
    states: Mapping[str, Mapping[str, int]]
    called_deleted: Mapping[str, Sequence[str]]
    requests: Sequence[Mapping[str, Any]]
    arrivals: Sequence[float]
    seconds: float
    cost: Cost
    seats: Sequence[Mapping[str, float]]
    left: int
    false: int


def run(
    sandbox: Sandbox,
    place: Place,
    accounts: Sequence[Account],
    *,
    each: int,
    workers: int,
    slots: int,
    until: Sequence[str] | None = None,
    most_seconds: float = 180.0,
) -> Outcome:
    """Delete ``each`` objects of every account, until those of ``until`` (None: of all) are settled."""
    bundle = load(documents(accounts, sandbox.base_url))
    database = put_in_force(place.database_url, bundle)
    wanted = _make(sandbox, database, accounts, each)
    names = [one.name for one in accounts] if until is None else list(until)
    before = sandbox.last_request()
    with _workers(place, accounts, workers, slots) as processes:
        meter = Meter(*(one.pid for one in processes))
        meter.start()
        _tell(processes)
        begun = time.monotonic()
        while _open(database, names) and time.monotonic() - begun < most_seconds:
            time.sleep(_LOOK_SECONDS)
        seconds = time.monotonic() - begun
        cost = meter.stop()
        _tell(processes)
        seats = [json.loads(one.stdout.readline()) for one in processes if one.stdout is not None]
    requests = sandbox.requests(before)
    called = _called_deleted(database)
    states = _states(database)
    database.dispose()
    ids = [one for held in wanted.values() for one in held]
    return Outcome(
        wanted=wanted,
        states=states,
        called_deleted=called,
        requests=requests,
        arrivals=arrivals(requests),
        seconds=seconds,
        cost=cost,
        seats=seats,
        left=sandbox.left(ids),
        false=sandbox.left([one for held in called.values() for one in held]),
    )


def _make(
    sandbox: Sandbox, database: Database, accounts: Sequence[Account], each: int
) -> dict[str, list[str]]:
    """Make and register the objects, due but for one of each account, which is a control to the last."""
    now = SystemClock().now()
    made = sandbox.seed(_KIND, each * len(accounts), created_at=int((now - AGE).timestamp()))
    young = sandbox.seed(_KIND, len(accounts), created_at=int(now.timestamp()))
    wanted = {one.name: made[number * each : (number + 1) * each] for number, one in enumerate(accounts)}
    register_due(database, [(name, one) for name, ids in wanted.items() for one in ids])
    register_due(
        database, [(one.name, id_) for one, id_ in zip(accounts, young, strict=True)], created_at=now
    )
    assert release(database) == each * len(accounts)
    return wanted


@contextmanager
def _workers(
    place: Place, accounts: Sequence[Account], count: int, slots: int
) -> Iterator[list[subprocess.Popen[bytes]]]:
    environment = {
        "TENURE_DATABASE_URL": place.database_url,
        "TENURE_REDIS_URL": place.redis_url,
        "TENURE_REDIS_PREFIX": place.redis_prefix,
        **{one.key: f"key-of-{one.name}" for one in accounts},
    }
    command = [sys.executable, "-m", "tests.bench.drainer", json.dumps(asdict(Drainer(slots=slots)))]
    with ExitStack() as stack:
        made = [stack.enter_context(measure.started(command, environment)) for _ in range(count)]
        for one in made:
            assert one.stdout is not None
            assert one.stdout.readline() == b"ready\n"
        yield made


def _tell(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for one in processes:
        one.send_signal(TOLD)


def _open(database: Database, names: Sequence[str]) -> int:
    query = (
        select(func.count())
        .select_from(work_item)
        .where(work_item.c.project.in_(names), work_item.c.state.in_(OPEN_ITEM_STATES))
    )
    with database.read() as db:
        return int(db.execute(query).scalar_one())


def _states(database: Database) -> dict[str, dict[str, int]]:
    query = select(thread.c.project, thread.c.state, func.count()).group_by(thread.c.project, thread.c.state)
    found: dict[str, dict[str, int]] = {}
    with database.read() as db:
        for project, state, count in db.execute(query):
            found.setdefault(project, {})[state] = int(count)
    return found


def _called_deleted(database: Database) -> dict[str, list[str]]:
    query = select(thread.c.project, thread.c.external_id).where(thread.c.state == "deleted")
    found: dict[str, list[str]] = {}
    with database.read() as db:
        for project, external_id in db.execute(query):
            found.setdefault(project, []).append(external_id)
    return found


def arrivals(requests: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return when each came, in seconds since the first."""
    instants: list[datetime] = [parse_rfc3339(one["at"]) for one in requests]
    return [(one - instants[0]).total_seconds() for one in instants]


def used(came: Sequence[float], per_second: float, *, first: float = 2.0, most: float = 0.8) -> float:
    """Return how much of the limit was used (1 for all) while everybody worked.

    That is from ``first`` seconds after the first request until that part of all requests had come.
    """
    last = came[int(most * (len(came) - 1))]
    assert last > first, "the run was too short to tell"
    return sum(first <= one < last for one in came) / (per_second * (last - first))


def most_within(came: Sequence[float], seconds: float) -> int:
    """Return the most that came in any stretch of that length."""
    found, begin = 0, 0
    for end, at in enumerate(came):
        while at - came[begin] >= seconds:
            begin += 1
        found = max(found, end - begin + 1)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the sandbox allows each key: ``per_second``, ``burst`` at once; those ``refused`` nothing."""

    per_second: int
    burst: int
    latency_ms: float = 50
    refused: tuple[str, ...] = ()


@contextmanager
def limited(limits: Limits) -> Iterator[Sandbox]:
    """Start a sandbox with a limit for each key, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.fleet", json.dumps(asdict(limits))]
    with measure.started(command, {}) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode().strip()
        assert line.startswith("http"), line
        yield Sandbox(base_url=line, pid=process.pid)


if __name__ == "__main__":
    given = Limits(**json.loads(sys.argv[1]))
    serve(
        SandboxOptions(
            latency=timedelta(milliseconds=given.latency_ms),
            rate=Rate(limit=given.per_second, per=timedelta(seconds=1), burst=given.burst),
            rate_by_key=True,
            throttled_keys=frozenset(given.refused),
            keep_requests=1_000_000,
        ),
        "127.0.0.1",
        0,
        lambda url: print(url, flush=True),
    )
