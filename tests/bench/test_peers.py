"""Peers, rebuilt from their descriptions: under a limit, and where the endpoint is gone.

`BENCH_PEERS` is how many threads each deletes under the limit.
"""

from __future__ import annotations

import os

import pytest

from tests.bench.contenders import CRON_BATCH
from tests.bench.measure import COLUMNS, Provider, Run
from tests.bench.report import Section
from tests.bench.stage import Setting, Stage

COUNT = int(os.environ.get("BENCH_PEERS", "400"))
GONE = 40
PEERS = {
    "naive": "naive loop",
    "gather": "asyncio.gather, SDK defaults",
    "cron": "paced cron, one hour's 100",
    "celery": "one Celery task per thread",
    "tenure": "Tenure",
}
# The provider's limit counts every request: Tenure needs three for each thread, a peer one.
UNDER_A_LIMIT = Setting(
    count=COUNT,
    provider=Provider(rate="50/s"),
    rate="{limit: 50/s, burst: 1, share: 0.95}",
    longest=180,
)
# Tenure would go on waiting for a control that holds, so it is stopped after a while.
RETIRED = Setting(count=GONE, faults=("endpoint-retired",), longest=15)
WRONG_KEY = Setting(count=GONE, faults=("wrong-key-404",), longest=15)

pytestmark = pytest.mark.timeout(3600)


def test_peers_under_a_limit_and_before_an_endpoint_that_is_gone(stage: Stage, servers: list[str]) -> None:
    limited = {name: stage.run(name, what, UNDER_A_LIMIT) for name, what in PEERS.items()}
    retired = {name: stage.run(name, what, RETIRED) for name, what in PEERS.items()}
    foreign = {name: stage.run(name, what, WRONG_KEY) for name, what in PEERS.items()}
    ours = limited["tenure"]
    assert (ours.left, ours.false) == (0, 0), ours
    assert ours.claimed == ours.wanted
    for one in (retired["tenure"], foreign["tenure"]):
        assert (one.claimed, one.false, one.deleted) == (0, 0, 0), one
    _report(limited, retired, foreign, servers)


def _report(
    limited: dict[str, Run], retired: dict[str, Run], foreign: dict[str, Run], servers: list[str]
) -> None:
    section = Section(name="peers", servers=servers)
    ours = limited["tenure"]
    section.aim(
        "Tenure: requests per second / the limit of 50 (its share is 0.95)",
        ours.requests / ours.seconds / 50,
        least=0.95,
        why="the time runs from the start of the process to its end, with the last batch's end in it",
    )
    section.aim(
        "Tenure: wasted requests per 1,000 deletions", 1000 * ours.wasted / ours.deleted, most=10, unit=""
    )
    false = sum(one.false for one in (retired["tenure"], foreign["tenure"]))
    section.aim("Tenure: called deleted though still there", false, most=0, unit="")
    section.say(
        f"{COUNT:,} threads under a limit of 50 requests a second, latency 50 ms. Tenure reads before and "
        "after each DELETE, so that one of its deletions costs three requests; peers send the DELETE alone "
        f"and verify nothing. The cron deletes {CRON_BATCH} an hour by its own rule whatever the limit is: "
        "0.028/s in the long run, 417 days for a million (computed, not measured)."
    )
    section.table(COLUMNS, [one.row for one in limited.values()])
    section.say(f"{GONE} threads that exist, while the endpoint is retired and answers 404 to everything:")
    section.table(COLUMNS, [one.row for one in retired.values()])
    section.say(f"{GONE} threads that exist, asked for with the key of another project, which answers 404:")
    section.table(COLUMNS, [one.row for one in foreign.values()])
    section.write()
