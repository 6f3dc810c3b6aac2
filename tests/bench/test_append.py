"""`make bench`: how fast the log takes entries, beside plain INSERT of the same rows, into its own block."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median

import pytest
from sqlalchemy import func, select

from tests.bench.append import Writer
from tests.bench.measure import REPOSITORY
from tests.bench.report import Section, describe_postgres
from tests.servers.postgres import Postgres
from worker.store import log, migrate
from worker.store.engine import open_database
from worker.store.tables import audit_body

APPENDED = int(os.environ.get("BENCH_APPENDED", "20000"))
RUNS, WRITERS, BATCH = 3, 4, 200
# Of the bare rate; on SQLite one writer writes at a time, whichever way.
_LEAST = {"PostgreSQL": 0.5, "SQLite": None}

_WHY = (
    "making and checking an entry takes CPU that the bare rows do not, and batches stand in line for the head"
)

pytestmark = pytest.mark.timeout(1800)

Make = Callable[[], str]


@pytest.fixture(scope="module")
def section() -> Section:
    return Section(name="append")


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def empty(request: pytest.FixtureRequest, section: Section, tmp_path: Path) -> Iterator[tuple[str, Make]]:
    """An empty log for each run."""
    with ExitStack() as stack:
        numbers = iter(range(1000))
        server: Postgres | None = (
            request.getfixturevalue("postgres_server") if request.param == "PostgreSQL" else None
        )

        def made() -> str:
            if server is None:
                url = f"sqlite:///{tmp_path / f'{next(numbers)}.db'}"
            else:
                name = server.create()
                stack.callback(server.drop, name)
                url = server.url(name)
            database = open_database(url)
            migrate.upgrade(database)
            with database.write() as db:
                log.create_head(db)
            database.dispose()
            return url

        if server is not None:
            section.servers.append(describe_postgres(made()))
        yield request.param, made


def test_four_writers_append_beside_plain_insert(empty: tuple[str, Make], section: Section) -> None:
    engine, made = empty
    ours, plain = list[float](), list[float]()
    for _ in range(RUNS):
        url = made()
        ours.append(_rate(url, plain=False))
        _check_log(url)
        plain.append(_rate(made(), plain=True))
    rates = median(ours), median(plain)
    what = f"{engine}: entries a second, the log / plain INSERT"
    section.aim(what, rates[0] / rates[1], least=_LEAST[engine], why=_WHY)
    section.aim(f"{engine}: the log", rates[0], unit=" entries/s")
    section.aim(f"{engine}: plain INSERT", rates[1], unit=" rows/s")
    if not section.lines:
        section.say(
            f"{APPENDED:,} entries by {WRITERS} processes at once in batches of {BATCH}, each a transaction."
            " Plain INSERT writes envelope and body of the same entries, made before, into the same two"
            f" tables; it hashes nothing and takes no lock. Median of {RUNS} runs each, in turn; after each"
            " run of the log its root was recomputed and agreed."
        )
    section.write()


def _rate(url: str, *, plain: bool) -> float:
    """Return entries a second, from the common start to the end of the last writer."""
    share = APPENDED // WRITERS
    told = [
        Writer(url=url, plain=plain, first=number * share, count=share, batch=BATCH)
        for number in range(WRITERS)
    ]
    with ExitStack() as stack:
        running = [stack.enter_context(_started(one)) for one in told]
        for one in running:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        for one in running:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        seconds = [float(one.communicate()[0]) for one in running]
        assert [one.returncode for one in running] == [0] * WRITERS
    return WRITERS * share / max(seconds)


def _started(told: Writer) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.bench.append", json.dumps(asdict(told))]
    return subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _check_log(url: str) -> None:
    database = open_database(url)
    with database.read() as db:
        head = log.read_head(db)
        _, recomputed = log.recompute(db, head.size)
        kept = db.execute(select(func.count()).select_from(audit_body)).scalar_one()
    database.dispose()
    assert (head.size, kept) == (APPENDED, APPENDED)
    assert recomputed == head.frontier
