"""`make bench`: what registering costs over HTTP, and how the API answers 64 producers at once.

`tenure api` runs as in production: a process of its own, on PostgreSQL and Redis, with a key, the limits and
the log in force. `BENCH_API_ROWS` is how many lines a bulk registration has, `BENCH_API_POSTS` how many
threads are registered one by one, `BENCH_API_LOAD` how many requests the 64 producers send in all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

import pytest
from sqlalchemy import func, select

from tests.bench import producers
from tests.bench.copying import counted, put_in, taken_out
from tests.bench.measure import Meter, percentile, run_json, started
from tests.bench.place import Place, place
from tests.bench.producers import Load, Told, body_of
from tests.bench.report import Section
from tests.bench.stage import Stage
from tests.servers.valkey import delete_keys, new_prefix
from worker.flows.key import create_key
from worker.model.clock import rfc3339
from worker.store.engine import open_database
from worker.store.tables import thread

ROWS = int(os.environ.get("BENCH_API_ROWS", "20000"))
POSTS = int(os.environ.get("BENCH_API_POSTS", "2000"))
LOAD = int(os.environ.get("BENCH_API_LOAD", "8000"))
RUNS = 3
# Enough to keep a server of one process busy; more of them only wait.
PRODUCERS = 8
CROWD = 64
_WARM = 200
_START_SECONDS = 60.0
_ANSWER_SECONDS = 900.0
_BULK_LEAST, _POST_LEAST = 0.3, 0.5

pytestmark = pytest.mark.timeout(3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """A running `tenure api`, and keys for it."""

    port: int
    pid: int
    keys: list[str]
    where: Place


@pytest.fixture(scope="module")
def section() -> Section:
    """All tests of this file write the same block; a later one holds what the earlier ones said."""
    return Section(name="api")


@contextmanager
def _api(stage: Stage, *, keys: int = 1) -> Iterator[Api]:
    """Run `tenure api` on a database of its own, for as long as the block runs."""
    prefix = new_prefix()
    folder = stage.folder / prefix.strip(":")
    try:
        with place(stage.server, stage.redis_url, prefix, folder) as where:
            where.put_in_force("http://127.0.0.1:9/v1")
            made = [_key(where) for _ in range(keys)]
            environment = {**where.environment, "TENURE_LISTEN": "127.0.0.1:0"}
            out = folder / "api.log"
            with (
                out.open("wb") as log,
                started([sys.executable, "-m", "worker", "api"], environment, out=log) as process,
            ):
                yield Api(port=_port(process, out), pid=process.pid, keys=made, where=where)
    finally:
        delete_keys(stage.redis_url, prefix=prefix)


def _key(where: Place) -> str:
    return create_key(
        where.database,
        label="bench",
        scopes=["threads:write", "threads:read"],
        projects=["bench"],
        actor="bench tenure/0",
        clock=where.clock,
    ).text


def _port(process: subprocess.Popen[bytes], out: Path) -> int:
    """Return where the API listens, once it says so."""
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        for line in out.read_text(errors="replace").splitlines():
            if line.startswith("Tenure listens on "):
                return int(line.rpartition(":")[2])
        time.sleep(0.05)
    raise AssertionError(out.read_text(errors="replace")[-4000:])


def test_bulk_registration_beside_copy_of_the_same_rows(
    stage: Stage, servers: list[str], section: Section
) -> None:
    section.servers = servers
    ours, copied = list[float](), list[float]()
    for _ in range(RUNS):
        with _api(stage) as api:
            created_at = rfc3339(api.where.clock.now())
            lines = b"".join(body_of(number, created_at) + b"\n" for number in range(ROWS))
            # What a process does once is not part of it, and a dry run keeps nothing.
            _bulk(api, b"".join(lines.splitlines(keepends=True)[:1000]), path="?dry_run=true")
            before = counted(api.where.url)
            seconds, summary = _bulk(api, lines)
            assert summary["created"] == summary["lines"] == ROWS
            ours.append(ROWS / seconds)
            rows, written = taken_out(api.where.url), counted(api.where.url)
        assert written == {**{name: before[name] + ROWS for name in before}, "thread_tag": 2 * ROWS}
        copied.append(written["thread"] / _copied(stage, rows, written))
    print(f"bulk {ours}, COPY {copied}", flush=True)
    section.aim(
        "bulk registration over HTTP / COPY of the same rows, rows a second",
        median(ours) / median(copied),
        least=_BULK_LEAST,
    )
    section.aim("bulk registration", median(ours), unit=" rows/s")
    section.aim("COPY of the same rows", median(copied), unit=" rows/s")
    section.say(
        f"Bulk: {ROWS:,} lines of some 250 bytes with two tags each in one request of one key, from its first"
        " byte until the summary is read. COPY gets the same rows of `thread`, `audit_leaf` and `audit_body`"
        " ready as text, in as many transactions, into a database of its own with the same indexes and"
        f" triggers; it reads, checks, decides and hashes nothing. Medians of {RUNS} runs each, in turn."
    )
    section.write()


def _bulk(api: Api, lines: bytes, *, path: str = "") -> tuple[float, dict[str, int]]:
    """Send the lines in one request; returns the seconds, and the summary that came last."""
    headers = {"Authorization": f"Bearer {api.keys[0]}", "Content-Type": "application/x-ndjson"}
    connection = HTTPConnection("127.0.0.1", api.port, timeout=_ANSWER_SECONDS)
    begun = time.perf_counter()
    connection.request("POST", f"/v1/threads/bulk{path}", body=lines, headers=headers)
    answer = connection.getresponse()
    told = answer.read()
    seconds = time.perf_counter() - begun
    connection.close()
    assert answer.status == 200, told[:500]
    return seconds, json.loads(told.splitlines()[-1])


def _copied(stage: Stage, rows: dict[str, bytes], written: dict[str, int]) -> float:
    """Put the rows into an empty database by COPY; returns the seconds."""
    prefix = new_prefix()
    with place(stage.server, stage.redis_url, prefix, stage.folder / prefix.strip(":")) as where:
        seconds = put_in(where.url, rows)
        assert counted(where.url) == written
    return seconds


def test_single_registrations_beside_a_bare_route_with_one_insert(
    stage: Stage, servers: list[str], section: Section
) -> None:
    section.servers = servers
    ours, bare = list[Told](), list[Told]()
    alone, bare_alone = list[Told](), list[Told]()
    for _ in range(RUNS):
        with _api(stage) as api:
            ours.append(_sent(Load(port=api.port, keys=api.keys, clients=PRODUCERS, count=POSTS, warm=_WARM)))
            one = Load(port=api.port, keys=api.keys, clients=1, count=POSTS // 4, first=POSTS + _WARM)
            alone.append(_sent(one))
            assert _threads(api.where) == _WARM + POSTS + POSTS // 4
        with _bare(stage) as (port, where):
            bare.append(_sent(Load(port=port, keys=[], clients=PRODUCERS, count=POSTS, warm=_WARM)))
            one = Load(port=port, keys=[], clients=1, count=POSTS // 4, first=POSTS + _WARM)
            bare_alone.append(_sent(one))
            assert _threads(where) == _WARM + POSTS + POSTS // 4
    assert not any(told.errors for told in (*ours, *bare, *alone, *bare_alone)), ours[0].errors
    rates = [median(POSTS / told.seconds for told in runs) for runs in (ours, bare)]
    single = [median(told.seconds / (POSTS // 4) for told in runs) for runs in (bare_alone, alone)]
    section.aim(
        "POST /v1/threads / a bare FastAPI route with one INSERT, requests a second",
        rates[0] / rates[1],
        least=_POST_LEAST,
    )
    section.aim(f"POST /v1/threads, {PRODUCERS} producers", rates[0], unit="/s")
    section.aim(f"the bare route, {PRODUCERS} producers", rates[1], unit="/s")
    section.aim("the same ratio with one producer", single[0] / single[1])
    section.say(
        f"Single: {POSTS:,} threads, each a POST of one key, by {PRODUCERS} producers that send when the"
        " answer before has come, after some that are not counted. The bare route runs on the same server,"
        " engine and table, and inserts the same row; it asks for no key and no limit, decides nothing and"
        f" records nothing. Medians of {RUNS} runs each, in turn."
    )
    section.write()


@contextmanager
def _bare(stage: Stage) -> Iterator[tuple[int, Place]]:
    prefix = new_prefix()
    with place(stage.server, stage.redis_url, prefix, stage.folder / prefix.strip(":")) as where:
        command = [sys.executable, "-m", "tests.bench.bare_route", where.url]
        with started(command, {}) as process:
            assert process.stdout is not None
            line = process.stdout.readline().decode().strip()
            assert line.startswith("http"), line
            yield int(line.rpartition(":")[2]), where


def _sent(load: Load) -> Told:
    return Told(**run_json(producers.__name__, asdict(load)))


def _threads(where: Place) -> int:
    database = open_database(where.url)
    with database.read() as db:
        found = db.execute(select(func.count()).select_from(thread)).scalar_one()
    database.dispose()
    return found


def test_a_crowd_of_producers(stage: Stage, servers: list[str], section: Section) -> None:
    section.servers = servers
    with _api(stage, keys=CROWD) as api:
        meter = Meter(api.pid)
        meter.start()
        load = Load(port=api.port, keys=api.keys, clients=CROWD, count=LOAD, warm=_WARM, mixed=True)
        told = _sent(load)
        cost = meter.stop()
        registered = _threads(api.where)
    errors = sum(told.errors.values())
    every = [one for times in told.milliseconds.values() for one in times]
    assert len(every) == LOAD
    # Whatever was answered 201 is there; more only where an answer was lost.
    assert told.created <= registered <= told.created + errors
    section.aim(f"{CROWD} producers: errors of {LOAD:,} requests", errors, most=0, unit="")
    section.aim(f"{CROWD} producers: requests a second", LOAD / told.seconds, unit="/s")
    section.say(
        f"A crowd: {CROWD} producers with a key each send {LOAD:,} requests, of ten six registrations, one"
        " repeated, two reads and one list of 20, each when its answer before has come, to one process of"
        f" `tenure api`, which used {cost.cpu_seconds:.0f} s of processor time and {cost.megabytes:.0f} MB."
        f" Errors: {told.errors or 'none'}. With so many at once most of a time is waiting for one's turn."
    )
    rows = [_times(what, times) for what, times in sorted(told.milliseconds.items())]
    section.table(
        ["what", "answers", "p50", "p99", "longest"],
        [*rows, _times("all", every)],
    )
    section.write()


def _times(what: str, times: list[float]) -> list[str]:
    told = [percentile(times, 0.5), percentile(times, 0.99), max(times)]
    return [what, f"{len(times):,}", *(f"{one:.0f} ms" for one in told)]
