"""From due to proven, with beat and a worker as they run; and conversations at the documented rates.

`BENCH_LAG_SECONDS` is how long threads become due, four a second; `BENCH_CONVERSATIONS` how many there are.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.bench.measure import COLUMNS, Meter, Provider, Run, Sandbox, percentile, sandbox, started, wasted
from tests.bench.place import Place, place
from tests.bench.report import Section
from tests.bench.stage import Setting, Stage
from tests.servers.valkey import delete_keys, new_prefix
from worker.model.thread import Kind
from worker.store.tables import thread, work_item

SECONDS = int(os.environ.get("BENCH_LAG_SECONDS", "90"))
CONVERSATIONS = int(os.environ.get("BENCH_CONVERSATIONS", "60"))
TICK_SECONDS = 15
PER_SECOND = 4
ITEMS = 2
KEPT = timedelta(days=30)
# Long enough for the processes to be up before the first thread is due.
_LEAD = timedelta(seconds=20)
_AFTERWARDS_SECONDS = 180
_LOOK_SECONDS = 1.0
_DOCUMENTED = "{limit: 300/min, reads: 1000/min, burst: 1, share: 1.0}"
_PROTOTYPE_PER_HOUR = 5980
# From the first DELETE until this part of all had come, every slot has somebody who wants it.
_STEADY = 0.9

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def section() -> Section:
    """Both tests of this file write the same block; the later one holds what the earlier one said."""
    return Section(name="lag")


def test_from_due_to_proven_at_four_a_second_under_a_limit_of_five(
    stage: Stage, servers: list[str], section: Section
) -> None:
    section.servers = servers
    count = PER_SECOND * SECONDS
    prefix = new_prefix()
    try:
        with (
            sandbox(Provider()) as box,
            place(stage.server, stage.redis_url, prefix, stage.folder / "lag") as where,
        ):
            where.put_in_force(box.base_url, _DOCUMENTED)
            first = (where.clock.now() + _LEAD).replace(microsecond=0)
            ids = _fall_due(box, where, first)
            with _roles(where, stage.folder) as roles:
                meter = Meter(*(one.pid for one in roles))
                meter.start()
                _until(where, count, first + timedelta(seconds=SECONDS + _AFTERWARDS_SECONDS))
                cost = meter.stop()
            lags = _lags(where)
            still_there, requests = box.still_there(ids), box.requests()
            run = Run(
                what="beat and one worker of two processes",
                wanted=count,
                deleted=count - len(still_there),
                seconds=cost.seconds,
                cpu_seconds=cost.cpu_seconds,
                requests=len(requests),
                wasted=wasted(requests),
                claimed=len(where.called_deleted()),
                false=len(still_there.intersection(where.called_deleted())),
                megabytes=cost.megabytes,
            )
            grades = where.grades()
    finally:
        delete_keys(stage.redis_url, prefix=prefix)
    assert (run.left, run.false) == (0, 0), (run, grades)
    section.aim("due to proven, median", percentile(lags, 0.5), unit=" s")
    section.aim("due to proven, 99 of 100", percentile(lags, 0.99), unit=" s")
    section.aim("due to proven, longest", max(lags), unit=" s")
    told = ", ".join(f"{number} {name}" for name, number in sorted(grades.items()))
    section.say(
        f"{PER_SECOND} threads a second become due for {SECONDS} s; 5 DELETE and 16.7 GET a second are "
        f"allowed, latency 50 ms; beat ticks each {TICK_SECONDS} s and the policy is swept each minute, the "
        "shortest schedule, so that half a minute on average is waiting for the sweep. `tenure beat` and "
        f"`tenure worker` run as in production. Grades: {told}."
    )
    section.table(COLUMNS, [run.row])
    section.write()


def _fall_due(box: Sandbox, where: Place, first: datetime) -> list[str]:
    """Register four threads for each second from ``first`` on, due in that second."""
    ids: list[str] = []
    for number in range(SECONDS):
        created = first + timedelta(seconds=number) - KEPT
        made = box.seed(Kind.THREAD.value, PER_SECOND, created_at=int(created.timestamp()))
        where.register(made, Kind.THREAD, created)
        ids += made
    return ids


@contextmanager
def _roles(where: Place, folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    environment = {**where.environment, "TENURE_TICK_SECONDS": str(TICK_SECONDS)}
    with ExitStack() as stack:
        running = []
        for role in ("beat", "worker"):
            log = stack.enter_context((folder / f"{role}.log").open("wb"))
            command = [sys.executable, "-m", "worker", role]
            running.append(stack.enter_context(started(command, environment, out=log)))
        yield running


def _until(where: Place, count: int, give_up: datetime) -> None:
    while where.clock.now() < give_up:
        with where.database.read() as db:
            done = db.execute(select(func.count()).where(work_item.c.settled_at.is_not(None))).scalar_one()
        if done >= count:
            return
        time.sleep(_LOOK_SECONDS)


def _lags(where: Place) -> list[float]:
    with where.database.read() as db:
        rows = db.execute(
            select(work_item.c.settled_at, thread.c.created_at)
            .join(thread, thread.c.id == work_item.c.thread_id)
            .where(work_item.c.settled_at.is_not(None))
        ).all()
    return [(settled - (created + KEPT)).total_seconds() for settled, created in rows]


def test_conversations_with_items_at_the_documented_rates(
    stage: Stage, servers: list[str], section: Section
) -> None:
    section.servers = servers
    setting = Setting(count=CONVERSATIONS, rate=_DOCUMENTED, kind=Kind.CONVERSATION, children=ITEMS)
    run = stage.run("tenure", f"conversations with {ITEMS} items", setting)
    assert (run.left, run.false) == (0, 0), run
    assert run.claimed == run.wanted
    section.aim(
        "conversations an hour, by the DELETEs of the steady part",
        3600 * _steady(run.deletes) / (1 + ITEMS),
        least=_PROTOTYPE_PER_HOUR,
        unit="",
        why="the limit itself allows 6,000",
    )
    section.aim("the same over the whole run, start and end included", 3600 * run.rate, unit="")
    section.say(
        f"{CONVERSATIONS} conversations of {ITEMS} items at 300 DELETE and 1000 GET a minute: three DELETE "
        f"each, so that 6,000 an hour is the limit. Extrapolated from {run.seconds:.0f} s; the steady part "
        f"is from the first DELETE until {_STEADY:.0%} of them had come, without the first read, arming "
        "and listing, and the last conversation, which stays back as the others' control."
    )
    section.table(COLUMNS, [run.row])
    section.write()


def _steady(deletes: Sequence[float]) -> float:
    """Return how many DELETEs a second came in the steady part."""
    last = int(_STEADY * (len(deletes) - 1))
    return last / deletes[last]
