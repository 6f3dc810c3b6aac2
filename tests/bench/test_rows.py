"""`make bench`, part (d): claim, arm, answer and settle, rows per second, beside the same bare SQL."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.bench import measure
from tests.bench.measure import COLUMNS, Run
from tests.bench.projects import Account, documents, load, put_in_force, register_due, release
from tests.bench.report import Section, describe_postgres
from tests.bench.rows import Task
from tests.servers.postgres import Postgres
from worker.policy.document import Bundle
from worker.store.engine import open_database
from worker.store.tables import audit_leaf, work_item

ROWS = int(os.environ.get("BENCH_ROWS", "2000"))
RUNS = 3
ACCOUNT = Account(name="rows", key="TENURE_KEY_ROWS", per_second=1000)
_WHY = {
    "SQLite": (
        "by a profile a third of Tenure's time goes to the checks, bytes and hashes of five entries a row, "
        "a fifth to statements, of which the driver's part is a fifth and SQLAlchemy's the rest, and what "
        "remains to the fields of the entries, rows turned into values, deciding and judging"
    ),
    "PostgreSQL": (
        "by a profile a third of the processor's time goes to statements, of which the driver's part is "
        "half and SQLAlchemy's the rest, a quarter to the checks, bytes and hashes of five entries a row, "
        "and what remains to the fields of the entries, rows turned into values, deciding and judging"
    ),
}

pytestmark = pytest.mark.timeout(900)

Copy = Callable[[], str]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load(documents([ACCOUNT], "http://127.0.0.1:9/v1"))


@pytest.fixture(scope="module")
def section() -> Section:
    return Section(name="rows")


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def copies(
    request: pytest.FixtureRequest, bundle: Bundle, section: Section, tmp_path: Path
) -> Iterator[tuple[str, Copy]]:
    """Copies of one database in which every row is due and planned."""
    with ExitStack() as stack:
        if request.param == "SQLite":
            yield request.param, _copies_of_a_file(tmp_path, bundle)
        else:
            server: Postgres = request.getfixturevalue("postgres_server")
            yield request.param, _copies_of_a_database(server, bundle, section, stack)


def _copies_of_a_file(folder: Path, bundle: Bundle) -> Copy:
    made = folder / "made.db"
    _fill(f"sqlite:///{made}", bundle)
    numbers = iter(range(1000))

    def copy() -> str:
        file = folder / f"{next(numbers)}.db"
        shutil.copyfile(made, file)
        return f"sqlite:///{file}"

    return copy


def _copies_of_a_database(server: Postgres, bundle: Bundle, section: Section, stack: ExitStack) -> Copy:
    made = server.create()
    stack.callback(server.drop, made)
    _fill(server.url(made), bundle)
    section.servers.append(describe_postgres(server.url(made)))

    def copy() -> str:
        name = server.create(template=made)
        stack.callback(server.drop, name)
        return server.url(name)

    return copy


def _fill(url: str, bundle: Bundle) -> None:
    database = put_in_force(url, bundle)
    register_due(database, [(ACCOUNT.name, f"file-{number:024x}") for number in range(ROWS)])
    assert release(database) == ROWS
    database.dispose()


def test_claim_arm_and_settle_beside_the_same_bare_sql(
    copies: tuple[str, Copy], bundle: Bundle, section: Section, tmp_path: Path
) -> None:
    engine, copy = copies
    credential, tape = bundle.projects[ACCOUNT.name].credential, str(tmp_path / "tape")
    recorded = _run(Task(url=copy(), rows=ROWS, credential=credential, tape=tape))
    ours, bare = list[dict[str, Any]](), list[dict[str, Any]]()
    for _ in range(RUNS):
        first, second = copy(), copy()
        ours.append(_run(Task(url=first, rows=ROWS, credential=credential)))
        bare.append(_run(Task(url=second, rows=ROWS, tape=tape)))
        # Both did the same: every row is done, with as many entries.
        assert _written(first) == _written(second)
    seconds = [median(one["cost"]["seconds"] for one in runs) for runs in (ours, bare)]
    section.aim(
        f"{engine}: rows a second, Tenure / the same bare SQL",
        seconds[1] / seconds[0],
        least=0.8,
        why=_WHY[engine],
    )
    section.aim(f"{engine}: statements and commits per row", recorded["trips"] / ROWS, unit="")
    if not section.lines:
        section.say(
            f"{ROWS:,} rows in batches of 200 and groups of 25, from planned to done: claim, arm, the"
            " DELETE's answer, settle. The bare SQL is what Tenure sent, sent by the driver alone to a copy"
            f" of the same database. Median of {RUNS} runs each, in turn; nothing is asked of any provider."
        )
    rows = [_row(f"{engine}: Tenure", ours), _row(f"{engine}: bare SQL", bare)]
    section.table(COLUMNS, rows)
    section.write()


def _run(task: Task) -> dict[str, Any]:
    told: dict[str, Any] = measure.run_json("tests.bench.rows", asdict(task))
    return told


def _written(url: str) -> tuple[dict[str, int], int]:
    """Return the items by state and the number of entries."""
    database = open_database(url)
    with database.read() as db:
        counted = db.execute(select(work_item.c.state, func.count()).group_by(work_item.c.state))
        states = {state: int(count) for state, count in counted}
        leaves = int(db.execute(select(func.count()).select_from(audit_leaf)).scalar_one())
    database.dispose()
    assert states == {"done": ROWS}
    return states, leaves


def _row(what: str, runs: list[dict[str, Any]]) -> list[str]:
    return Run(
        what=what,
        wanted=ROWS,
        deleted=ROWS,
        seconds=median(one["cost"]["seconds"] for one in runs),
        cpu_seconds=median(one["cost"]["cpu_seconds"] for one in runs),
        requests=0,
        wasted=0,
        claimed=ROWS,
        false=0,
        megabytes=max(one["cost"]["megabytes"] for one in runs),
    ).row
