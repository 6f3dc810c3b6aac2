"""kill -9 of the worker between DELETE and outcome: nothing is lost, claimed twice, or deleted twice."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from tests.end_to_end.conftest import Fleet
from tests.world.world import PROJECT
from worker.model.clock import SystemClock, rfc3339
from worker.sandbox.control import make_sample
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.options import SandboxOptions

_CLOCK = SystemClock()
_THREADS = 12


@pytest.fixture
def sandbox_options() -> SandboxOptions:
    """Slow enough that a DELETE is done at the provider while its reply is still on the way."""
    return SandboxOptions(latency=timedelta(seconds=1))


@pytest.mark.timeout(240)
def test_after_a_kill_every_thread_reaches_one_end_and_none_is_deleted_twice(fleet: Fleet) -> None:
    fleet.start("beat")
    victim = fleet.start("worker")
    fleet.start("api")
    fleet.eventually(lambda: fleet.call("GET", "/v1/policies").get("digest"), within=60)
    ids = {_register(fleet, days=40): None for _ in range(_THREADS)}
    _register(fleet, days=3)
    fleet.call("POST", "/v1/sweeps", {"policy": "all-30d"})
    fleet.sandbox.wait_for(lambda requests: sum(one.method == "DELETE" for one in requests) >= 3, timeout=60)
    fleet.kill(victim)
    fleet.start("worker")

    def threads() -> list[dict[str, object]]:
        return [fleet.call("GET", f"/v1/threads/{one}") for one in ids]

    try:
        fleet.eventually(lambda: all(one["state"] == "deleted" for one in threads()), within=120)
    except pytest.fail.Exception:
        pytest.fail(fleet.logs())
    grades = Counter(_grade(one) for one in threads())
    assert set(grades) <= {"confirmed", "inferred"}
    # The replies of at least three DELETEs died with the worker, before they were written.
    assert grades["inferred"] >= 1
    deletes = Counter(one.path for one in fleet.sandbox.requests() if one.method == "DELETE")
    assert set(deletes.values()) == {1}
    for one in ids:
        graded = fleet.call("GET", f"/v1/threads/{one}/entries?limit=100")["data"]
        assert sum(entry["type"] == "thread.graded" for entry in graded) == 1


def _register(fleet: Fleet, *, days: int) -> str:
    created = _CLOCK.now() - timedelta(days=days)
    external_id = make_sample(
        fleet.sandbox.store,
        ObjectKind.RESPONSE,
        created_at=int(created.timestamp()),
        project="proj_test",
    )
    body = {
        "external_id": external_id,
        "project": PROJECT,
        "owner": "team",
        "created_at": rfc3339(created.replace(microsecond=0)),
    }
    return str(fleet.call("POST", "/v1/threads", body)["id"])


def _grade(thread: dict[str, object]) -> str:
    evidence = thread["evidence"]
    assert isinstance(evidence, dict)
    return str(evidence["grade"])
