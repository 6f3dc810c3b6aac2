"""`make bench`, part (b): how much of one limit four processes use together, and how evenly.

Only what must hold is asserted: everything is deleted, nothing else is called so, and no more was sent in all
than the limit allows. How much of it was used is told.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import pytest

from tests.bench import fleet, measure
from tests.bench.fleet import Limits, Outcome, Place, limited
from tests.bench.ideal import Ideal
from tests.bench.measure import COLUMNS, Run, Sandbox
from tests.bench.projects import Account
from tests.bench.report import Section, describe_postgres, describe_redis
from tests.servers.postgres import Postgres

RATE, BURST, WORKERS = 50, 5, 4
# Each process claims 200 at once, so 1,000 at least; and a second of pause is to be little of the run.
THREADS = int(os.environ.get("BENCH_LIMIT_THREADS", "1500"))
_THROTTLED = 429

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A provider that enforces the very limit and burst which the project names."""
    with limited(Limits(per_second=RATE, burst=BURST)) as made:
        yield made


def test_four_processes_share_one_limit(
    sandbox: Sandbox, postgres_server: Postgres, postgres_url: str, redis_url: str, redis_prefix: str
) -> None:
    place = Place(database_url=postgres_url, redis_url=redis_url, redis_prefix=redis_prefix)
    account = Account(name="shared", key="TENURE_KEY_SHARED", per_second=RATE, burst=BURST)
    done = fleet.run(sandbox, place, [account], each=THREADS, workers=WORKERS, slots=2, most_seconds=300)
    assert (done.left, done.false) == (0, 0)
    assert done.states["shared"] == {"deleted": THREADS, "live": 1}
    # Counted at the provider, where requests come late and never early; some grace for its own clock.
    assert len(done.requests) <= BURST + RATE * (done.arrivals[-1] + 1)
    before = sandbox.last_request()
    ideal = Ideal(base_url=sandbox.base_url, path="/files", per_second=RATE, requests=20 * RATE)
    measure.run_json("tests.bench.ideal", asdict(ideal))
    alone = fleet.arrivals(sandbox.requests(before))

    section = Section(name="limits", servers=[describe_postgres(postgres_url), describe_redis(redis_url)])
    _tell(section, done, alone)
    section.write()


def _tell(section: Section, done: Outcome, alone: Sequence[float]) -> None:
    statuses = Counter(one["status"] for one in done.requests)
    refused = 100 * statuses[_THROTTLED] / len(done.requests)
    most, most_alone = fleet.most_within(done.arrivals, 0.1), fleet.most_within(alone, 0.1)
    allowed = BURST + RATE * 0.1
    section.aim("permits used, of those possible", 100 * fleet.used(done.arrivals, RATE), least=98, unit=" %")
    section.aim("answered 429", refused, most=1, unit=" %")
    section.aim("most requests in any 100 ms, at the provider", most, most=allowed, unit="")
    section.aim("the same of one bare loop that sleeps 1/rate", most_alone, unit="")
    section.aim("permits used by the bare loop", 100 * fleet.used(alone, RATE), unit=" %")
    held = sum(one["held"] for one in done.seats)
    arming = sum(one["arming"] for one in done.seats)
    section.aim(
        "a DELETE's time in its seat that went into arming", 100 * arming / max(held, 1e-9), unit=" %"
    )
    section.say(
        f"{WORKERS} processes delete {THREADS:,} files under one credential at {RATE}/s, burst {BURST}; the"
        f" sandbox enforces both, answers after 50 ms and says when each request came. Use is counted from"
        f" 2 s after the first request until 80 % of all had come, while every process has work."
    )
    run = Run(
        what=f"Tenure, {WORKERS} processes",
        wanted=THREADS,
        deleted=THREADS - done.left,
        seconds=done.seconds,
        cpu_seconds=done.cost.cpu_seconds,
        requests=len(done.requests),
        wasted=measure.wasted(done.requests),
        claimed=sum(len(one) for one in done.called_deleted.values()),
        false=done.false,
        megabytes=done.cost.megabytes,
    )
    section.table(COLUMNS, [run.row])
