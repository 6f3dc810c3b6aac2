"""`make bench`, part (c): twenty projects at 5/s each, one of which is answered nothing but 429.

A verified deletion takes three requests (read, DELETE, read) and a share of a control, so a limit of 5/s is
one of requests: 95/s are possible for the other nineteen together.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.bench import fleet, measure
from tests.bench.fleet import Limits, Outcome, Place, limited
from tests.bench.measure import COLUMNS, Run
from tests.bench.projects import Account
from tests.bench.report import Section, describe_postgres, describe_redis
from tests.servers.postgres import Postgres
from tests.servers.valkey import delete_keys, new_prefix

PROJECTS, RATE, BURST, WORKERS = 20, 5, 5, 2
THREADS = int(os.environ.get("BENCH_FAIR_THREADS", "45"))
# A run that is not over by then is told as it stands: what was not done is no reason to say nothing.
_MOST_SECONDS = 120.0
# Two for each credential, as many as one process gives it.
SLOTS = 2 * PROJECTS
ACCOUNTS = [
    Account(name=f"project-{number:02d}", key=f"TENURE_KEY_{number:02d}", per_second=RATE, burst=BURST)
    for number in range(PROJECTS)
]
GOOD, REFUSED = ACCOUNTS[:-1], ACCOUNTS[-1]

pytestmark = pytest.mark.timeout(900)


def test_a_project_that_is_always_throttled_costs_the_others_nothing(
    postgres_server: Postgres, redis_url: str
) -> None:
    without = _run(postgres_server, redis_url, GOOD)
    beside = _run(postgres_server, redis_url, ACCOUNTS)
    for done in (without, beside):
        assert done.false == 0
        for one in GOOD:
            assert set(done.states[one.name]) <= {"deleted", "live"}
            assert sum(done.states[one.name].values()) == THREADS + 1
    # Nothing of the refused project is lost, and nothing of it is called deleted.
    assert beside.left >= THREADS
    assert beside.states[REFUSED.name] == {"live": THREADS + 1}

    name = postgres_server.create()
    section = Section(
        name="fairness", servers=[describe_postgres(postgres_server.url(name)), describe_redis(redis_url)]
    )
    postgres_server.drop(name)
    _tell(section, without, beside)
    section.write()


def _run(server: Postgres, redis_url: str, accounts: Sequence[Account]) -> Outcome:
    name, prefix = server.create(), new_prefix()
    place = Place(database_url=server.url(name), redis_url=redis_url, redis_prefix=prefix)
    refused = (f"key-of-{REFUSED.name}",)
    try:
        with limited(Limits(per_second=RATE, burst=BURST, refused=refused)) as sandbox:
            return fleet.run(
                sandbox,
                place,
                accounts,
                each=THREADS,
                workers=WORKERS,
                slots=SLOTS,
                until=[one.name for one in GOOD],
                most_seconds=_MOST_SECONDS,
            )
    finally:
        server.drop(name)
        delete_keys(redis_url, prefix=prefix)


def _tell(section: Section, without: Outcome, beside: Outcome) -> None:
    possible = RATE * len(GOOD)
    rates = [possible * fleet.used(_of_good(one), possible) for one in (without, beside)]
    loss = 100 * (1 - rates[1] / rates[0])
    slower = 100 * (beside.seconds / without.seconds - 1)
    section.aim(f"requests of the other {len(GOOD)}", rates[1], least=90, unit="/s")
    section.aim("the same without the throttled one", rates[0], unit="/s")
    section.aim("what they lose by it", loss, most=5, unit=" %")
    section.aim("how much later their last deletion is settled", slower, unit=" %")
    for what, one in (("without it", without), ("beside it", beside)):
        section.aim(
            f"of their threads, proven deleted within {_MOST_SECONDS:.0f} s, {what}",
            100 * _deleted(one) / (THREADS * len(GOOD)),
            least=100,
            unit=" %",
        )
    section.say(
        f"{PROJECTS} projects with a credential each, {RATE}/s and burst {BURST}, {THREADS} files due in"
        f" each; {WORKERS} processes with {SLOTS} slots each. The sandbox limits each key and answers"
        f" the last one 429 whatever it asks. Rates are of requests, of which a verified deletion takes three"
        f" and a control's share; {possible}/s are possible. Counted as under Limits."
    )
    rows = [_row("without the throttled project", without), _row("beside it, its own left out", beside)]
    section.table(COLUMNS, rows)


def _row(what: str, done: Outcome) -> list[str]:
    requests = _requests_of_good(done)
    wanted = THREADS * len(GOOD)
    return Run(
        what=what,
        wanted=wanted,
        deleted=_deleted(done),
        seconds=done.seconds,
        cpu_seconds=done.cost.cpu_seconds,
        requests=len(requests),
        wasted=measure.wasted(requests),
        claimed=sum(len(done.called_deleted.get(one.name, ())) for one in GOOD),
        false=done.false,
        megabytes=done.cost.megabytes,
    ).row


def _deleted(done: Outcome) -> int:
    return sum(done.states[one.name].get("deleted", 0) for one in GOOD)


def _requests_of_good(done: Outcome) -> list[Mapping[str, Any]]:
    theirs = hashlib.sha256(f"Bearer key-of-{REFUSED.name}".encode()).hexdigest()
    return [one for one in done.requests if one["authorization_sha256"] != theirs]


def _of_good(done: Outcome) -> list[float]:
    return fleet.arrivals(_requests_of_good(done))
