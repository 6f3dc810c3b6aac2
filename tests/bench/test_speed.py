"""Verified deletions per second, beside loops that send the same requests.

`BENCH_SPEED` is how many threads each run deletes without a limit, `BENCH_SPEED_RUNS` how often each runs, in
turn; `BENCH_SLOW` how many under a provider that is slow, once.
"""

from __future__ import annotations

import os
from collections import defaultdict
from statistics import median

import pytest

from tests.bench.measure import COLUMNS, Provider, Run
from tests.bench.report import Section
from tests.bench.stage import Setting, Stage

# Twenty batches, ten for each of two processes: of few, or of an odd number, one would do the last alone.
COUNT = int(os.environ.get("BENCH_SPEED", "4000"))
RUNS = int(os.environ.get("BENCH_SPEED_RUNS", "3"))
# The sequential loop needs more than 150 ms for each.
FEW = max(20, COUNT // 20)
# Four batches, two for each of two processes.
SLOW_COUNT = int(os.environ.get("BENCH_SLOW", "800"))
SLOW_SECONDS, AT_ONCE = 0.4, 16
_NAMES = {
    "bare": "AsyncOpenAI loop, 64 at once",
    "bare_raw": "the same, answers left as they came",
    "pool": "Tenure, two processes, a drain each",
    "tenure": "Tenure, one process, two drains",
}
_WHY = (
    "two cores are all that Tenure, PostgreSQL, Redis and the provider have together, and the loop, which "
    "waits for answers most of its time, needs one. By samples, 52 % of Tenure's own time goes to the SDK "
    "and its HTTP client, 18 % to the threads that write (some 40 statements and 125 entries for 25 "
    "deletions), and 30 % to permits, seats, limits of time, judging answers and asyncio itself"
)

pytestmark = pytest.mark.timeout(3600)


def test_verified_deletions_beside_loops_that_send_the_same_requests(
    stage: Stage, servers: list[str]
) -> None:
    runs: dict[str, list[Run]] = defaultdict(list)
    for _ in range(RUNS):
        for name, what in _NAMES.items():
            runs[name].append(stage.run(name, what, Setting(count=COUNT, plain=True)))
    runs["sequential"].append(
        stage.run("sequential", "sequential OpenAI loop", Setting(count=FEW, plain=True))
    )
    for one in (run for some in runs.values() for run in some):
        assert (one.left, one.false) == (0, 0), one
        assert one.claimed == one.wanted, one
        assert one.requests >= 3 * one.wanted
    _report(runs, servers)


def _report(runs: dict[str, list[Run]], servers: list[str]) -> None:
    section = Section(name="speed", servers=servers)
    rates = {name: median(one.rate for one in some) for name, some in runs.items()}
    section.aim(
        "Tenure / AsyncOpenAI loop on the same transport",
        rates["pool"] / rates["bare"],
        least=0.9,
        why=_WHY,
    )
    section.aim("one process of Tenure / that loop", rates["tenure"] / rates["bare"])
    section.aim("Tenure / the same loop without the SDK's models", rates["pool"] / rates["bare_raw"])
    section.aim("Tenure / sequential OpenAI loop", rates["pool"] / rates["sequential"], least=20, why=_WHY)
    section.say(
        f"{COUNT:,} threads for each contender, {FEW:,} for the sequential one; the ratios are of medians of "
        f"{RUNS} runs in turn. Two processes are what `tenure worker` starts on two cores; memory is that of "
        "one."
    )
    section.table(COLUMNS, [one.row for some in runs.values() for one in some])
    section.write()


def test_as_many_requests_are_under_way_at_a_slow_provider_as_may_be(
    stage: Stage, servers: list[str]
) -> None:
    setting = Setting(
        count=SLOW_COUNT,
        provider=Provider(latency_ms=1000 * SLOW_SECONDS),
        plain=True,
        rate="{limit: 50/s, burst: 5, share: 1.0}",
        at_once=AT_ONCE,
        concurrency=AT_ONCE // 2,
    )
    loop = stage.run("bare", f"AsyncOpenAI loop, {AT_ONCE} at once", setting)
    tenure = stage.run("pool", f"Tenure, two processes, {AT_ONCE // 2} at once each", setting)
    for one in (loop, tenure):
        assert (one.left, one.false, one.claimed) == (0, 0, one.wanted), one
    section = Section(name="seats", servers=servers)
    section.aim("Tenure / AsyncOpenAI loop, as many at once", tenure.rate / loop.rate)
    possible = AT_ONCE / SLOW_SECONDS
    section.aim("the loop's requests, of those possible", 100 * _requested(loop) / possible, unit=" %")
    section.aim("Tenure's requests, of those possible", 100 * _requested(tenure) / possible, unit=" %")
    section.say(
        f"{SLOW_COUNT:,} threads, {1000 * SLOW_SECONDS:.0f} ms for each answer, {AT_ONCE} requests at once: "
        f"{possible:.0f} a second are possible, where Tenure's project allows 50. One run each; Tenure's "
        "time holds the beginning and end of each batch, when few of its threads are under way."
    )
    section.table(COLUMNS, [loop.row, tenure.row])
    section.write()


def _requested(one: Run) -> float:
    return one.requests / one.seconds
