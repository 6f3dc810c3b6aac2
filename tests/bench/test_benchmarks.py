"""`make bench`: what planning, sweeping and recomputing cost, beside what the database itself needs.

A ratio that misses its goal is printed as missed and fails nothing: a figure is no defect of the code.
`BENCH_THREADS` says how large the registry is; docs/benchmarks.md comes from a run with a million.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.bench.registry import Registry, fill
from tests.bench.report import MOST_MEGABYTES, Figure, Goal, Report, describe_postgres
from tests.bench.tasks import Measured, Task
from tests.servers.postgres import Postgres

SIZE = int(os.environ.get("BENCH_THREADS", "100000"))
RUNS = 3
POLICIES = 200
# Each thread is written anew under each bundle, so a tenth tells as much in a tenth of the time.
RECOMPUTED = max(1000, SIZE // 10)

pytestmark = pytest.mark.timeout(7200)


@pytest.fixture(scope="session")
def report() -> Iterator[Report]:
    made = Report(size=SIZE)
    yield made
    print(f"\n\n{made.text}\n")


@pytest.fixture(autouse=True)
def _kept(report: Report) -> Iterator[None]:
    """Write what there is after each benchmark: a run that is stopped leaves its figures."""
    yield
    report.write()


class Bench:
    """One database engine, with a registry of its own for each shape."""

    def __init__(self, engine: str, report: Report, folder: Path, server: Postgres | None) -> None:
        self.engine, self.report, self.folder, self.server = engine, report, folder, server
        self.made: list[str] = []
        self.urls: dict[tuple[int, int], str] = {}

    def registry(self, threads: int, policies: int) -> str:
        """Return the URL of a database with such a registry, loaded once."""
        if (threads, policies) not in self.urls:
            self.urls[threads, policies] = self._load(threads, policies)
        return self.urls[threads, policies]

    def _load(self, threads: int, policies: int) -> str:
        if self.server is None:
            url = f"sqlite:///{self.folder / f'{threads}-{policies}.db'}"
        else:
            self.made.append(self.server.create())
            url = self.server.url(self.made[-1])
        print(f"\n{self.engine}: loading {threads:,} threads under {policies} policies", flush=True)
        fill(url, Registry(threads=threads, policies=policies))
        return url

    def close(self) -> None:
        for name in self.made:
            if self.server is not None:
                self.server.drop(name)

    def run(self, *wanted: tuple[str, Task], runs: int = RUNS) -> list[Figure]:
        """Run each task three times in turn, so that a slow minute of the machine meets all of them."""
        seen: dict[str, list[Measured]] = {what: [] for what, _ in wanted}
        for _ in range(runs):
            for what, task in wanted:
                seen[what].append(_in_a_process(task))
                print(f"{self.engine}: {what}: {seen[what][-1]}", flush=True)
        made = [Figure.of(self.engine, what, seen[what]) for what, _ in wanted]
        self.report.figures += made
        return made

    def goal(self, what: str, value: float, most: float | None, unit: str = "x") -> None:
        self.report.goals.append(Goal(engine=self.engine, what=what, value=value, most=most, unit=unit))


def _in_a_process(task: Task) -> Measured:
    command = [sys.executable, "-m", "tests.bench.tasks", json.dumps(asdict(task))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL"])
def bench(
    request: pytest.FixtureRequest, report: Report, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    server: Postgres | None = None
    if request.param == "PostgreSQL":
        server = request.getfixturevalue("postgres_server")
        assert server is not None
        report.servers.append(_describe(server))
    made = Bench(request.param, report, tmp_path_factory.mktemp("bench"), server)
    yield made
    made.close()


def _describe(server: Postgres) -> str:
    name = server.create()
    try:
        return describe_postgres(server.url(name))
    finally:
        server.drop(name)


def test_planning_costs_little_more_than_the_select_of_its_predicate(bench: Bench) -> None:
    url = bench.registry(SIZE, POLICIES)

    def task(name: str) -> Task:
        return Task(name=name, url=url, threads=SIZE, policies=POLICIES, due=SIZE)

    fetched, planned = bench.run(
        (f"bare SELECT of all due, {POLICIES} policies, fetched", task("select_fetched")),
        (f"plan of all due, {POLICIES} sweeps with digests and guards", task("plan")),
    )
    assert planned.rows == fetched.rows == SIZE
    what = f"planning {SIZE:,} under {POLICIES} policies / bare SELECT"
    bench.goal(what, planned.seconds / fetched.seconds, 1.5)
    bench.goal("memory of planning", planned.megabytes, MOST_MEGABYTES, " MB")


def test_a_sweep_costs_what_is_due_and_not_what_is_stored(bench: Bench) -> None:
    small, large = SIZE // 10, SIZE
    due = small // 100
    few, many = bench.registry(small, 1), bench.registry(large, 1)
    of_small = Task(name="sweep", url=few, threads=small, policies=1, due=due)
    of_large = Task(name="sweep", url=many, threads=large, policies=1, due=due)
    share_of_large = Task(name="sweep", url=many, threads=large, policies=1, due=10 * due)
    first, second, third = bench.run(
        (f"sweep, {due:,} due of {small:,}", of_small),
        (f"sweep, {due:,} due of {large:,}", of_large),
        (f"sweep, {10 * due:,} due of {large:,}", share_of_large),
    )
    bench.goal(f"sweep of 1 % due, per thread: {large:,} / {small:,} stored", third.each / first.each, 1.2)
    bench.goal(f"sweep of {due:,} due: {large:,} / {small:,} stored", second.seconds / first.seconds, 1.2)
    counts = [
        (f"a guard's count of {of.threads:,}, {how}", replace(of, name=f"population_{how.replace(' ', '_')}"))
        for of in (of_small, of_large)
        for how in ("of all", "by project", "by owner")
    ]
    bench.run(*counts, runs=1)


def test_the_memory_of_a_sweep_is_bounded_however_much_is_due(bench: Bench) -> None:
    whole = Task(name="sweep", url=bench.registry(SIZE, 1), threads=SIZE, policies=1, due=SIZE)
    [made] = bench.run((f"sweep, all {SIZE:,} due and released (one run)", whole), runs=1)
    assert made.rows == SIZE
    bench.goal(f"memory of a sweep of {SIZE:,} due", made.megabytes, MOST_MEGABYTES, " MB")


def test_a_recompute_beside_the_update_of_its_rows(bench: Bench) -> None:
    url = bench.registry(RECOMPUTED, POLICIES)

    def task(name: str) -> Task:
        return Task(name=name, url=url, threads=RECOMPUTED, policies=POLICIES)

    bare, computed = bench.run(
        (f"bare UPDATE of {RECOMPUTED:,}", task("update_bare")),
        (f"recompute of {RECOMPUTED:,} under {POLICIES} policies", task("recompute")),
    )
    bench.goal(f"recompute of {RECOMPUTED:,} / bare UPDATE", computed.seconds / bare.seconds, None)
    bench.goal("memory of a recompute", computed.megabytes, MOST_MEGABYTES, " MB")
