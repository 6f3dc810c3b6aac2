"""SIGTERM: what a process had begun is finished or given back, and somebody else goes on at once."""

from __future__ import annotations

import signal
from collections import Counter
from datetime import timedelta
from subprocess import Popen

import pytest
from sqlalchemy import select

from tests.end_to_end.conftest import Fleet
from worker.model.clock import SystemClock
from worker.model.work import ItemState
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.options import SandboxOptions
from worker.store import log
from worker.store.engine import open_database
from worker.store.tables import attempt, work_item

_THREADS = 60
# So long that nobody who waits for it ends within a test's patience.
_LEASE = 600
# What `tenure worker` is given in docker-compose.yml, less what a loaded machine takes.
_GRACE = 35
_CLOCK = SystemClock()


@pytest.fixture
def sandbox_options() -> SandboxOptions:
    return SandboxOptions(latency=timedelta(seconds=0.3))


@pytest.mark.timeout(240)
def test_a_worker_that_is_told_to_stop_under_load_gives_back_what_it_did_not_finish(fleet: Fleet) -> None:
    fleet.environment["TENURE_LEASE_SECONDS"] = str(_LEASE)
    fleet.slow_down("10/s")
    fleet.start("beat")
    stopped = fleet.start("worker")
    fleet.start("api")
    ids = _begin_to_delete(fleet)
    _stop(fleet, stopped)
    _all_given_back(fleet)
    fleet.start("worker")
    _each_deleted_once(fleet, ids)


@pytest.mark.timeout(240)
def test_the_one_process_service_that_is_told_to_stop_under_load_goes_on_when_it_is_started(
    fleet: Fleet,
) -> None:
    for name in ("TENURE_DATABASE_URL", "TENURE_BROKER_URL", "TENURE_REDIS_PREFIX"):
        del fleet.environment[name]
    fleet.environment["TENURE_LEASE_SECONDS"] = str(_LEASE)
    fleet.slow_down("10/s")
    stopped = fleet.start("up")
    fleet.database.dispose()
    fleet.database = open_database(f"sqlite:///{fleet.folder / 'data' / 'tenure.db'}")
    ids = _begin_to_delete(fleet)
    _stop(fleet, stopped)
    _all_given_back(fleet)
    fleet.start("up")
    _each_deleted_once(fleet, ids)


@pytest.mark.timeout(240)
def test_a_beat_that_is_told_to_stop_under_load_ends_in_time_and_its_log_holds(fleet: Fleet) -> None:
    fleet.slow_down("10/s")
    stopped = fleet.start("beat")
    fleet.start("worker")
    fleet.start("api")
    ids = _begin_to_delete(fleet)
    _stop(fleet, stopped)
    fleet.start("beat")
    _each_deleted_once(fleet, ids)
    with fleet.database.read() as db:
        head = log.read_head(db)
        _, frontier = log.recompute(db, head.size)
    assert (frontier.size, frontier.root()) == (head.size, head.frontier.root())


def _begin_to_delete(fleet: Fleet) -> list[str]:
    """Return the threads of a sweep of which a few are deleted and most are claimed."""
    fleet.eventually(lambda: fleet.call("GET", "/v1/policies").get("digest"), within=60)
    ids = [fleet.register(ObjectKind.RESPONSE) for _ in range(_THREADS)]
    fleet.register(ObjectKind.RESPONSE, days=3)
    fleet.call("POST", "/v1/sweeps", {"policy": "all-30d"})
    fleet.sandbox.wait_for(lambda seen: sum(one.method == "DELETE" for one in seen) >= 5, timeout=60)
    # On a busy machine one worker process may have claimed its batch and the other not yet.
    try:
        fleet.eventually(lambda: _items(fleet)[ItemState.CLAIMED] >= _THREADS // 4, within=30)
    except pytest.fail.Exception:
        pytest.fail(f"{_items(fleet)}\n{fleet.logs()}")
    return ids


def _all_given_back(fleet: Fleet) -> None:
    after = _items(fleet)
    assert after[ItemState.CLAIMED] == 0, after
    assert after[ItemState.WAITING] + after[ItemState.PLANNED] >= _THREADS // 4, after
    assert _unanswered(fleet) == 0


def _each_deleted_once(fleet: Fleet, ids: list[str]) -> None:
    try:
        fleet.eventually(lambda: all(fleet.state(one) == "deleted" for one in ids), within=100)
    except pytest.fail.Exception:
        pytest.fail(fleet.logs())
    assert {fleet.grade(one) for one in ids} == {"confirmed"}
    sent = Counter(one.path for one in fleet.sandbox.requests() if one.method == "DELETE")
    assert (len(sent), set(sent.values())) == (_THREADS, {1})


def _items(fleet: Fleet) -> Counter[ItemState]:
    with fleet.database.read() as db:
        return Counter(ItemState(state) for state in db.execute(select(work_item.c.state)).scalars())


def _unanswered(fleet: Fleet) -> int:
    with fleet.database.read() as db:
        return len(db.execute(select(attempt.c.item_id).where(attempt.c.answer.is_(None))).all())


def _stop(fleet: Fleet, process: Popen[bytes]) -> None:
    begun = _CLOCK.monotonic()
    process.send_signal(signal.SIGTERM)
    code = process.wait(_GRACE + 10)
    assert code == 0, fleet.logs()
    assert _CLOCK.monotonic() - begun < _GRACE
