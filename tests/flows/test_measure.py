"""The gauges say how much there is and how old it is, the same on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from prometheus_client import Counter, Histogram

from tests.world.world import World
from worker.flows.compare import Log
from worker.flows.measure import measure
from worker.model.decision import HoldScope
from worker.model.thread import Kind


def told(world: World) -> dict[str, float]:
    with world.database.read() as db:
        found = list(measure(db, Log(origin="test", anchors=()), now=world.clock.now()))
    return {" ".join([one.name, *one.labels.values()]): one.value for one in found}


def test_a_thread_is_overdue_from_its_date_until_it_is_proven_gone(world: World) -> None:
    world.register(kind=Kind.FILE)
    world.register(kind=Kind.FILE, age=timedelta(days=3))
    seen = told(world)
    # Registered 40 days after it was made, under a rule of 30 days.
    assert seen["tenure_overdue_threads"] == 1
    assert seen["tenure_oldest_overdue_seconds"] == pytest.approx(timedelta(days=10).total_seconds(), abs=60)
    assert seen["tenure_threads live"] == 2
    world.sweep()
    world.drain()
    seen = told(world)
    assert (seen["tenure_overdue_threads"], seen["tenure_oldest_overdue_seconds"]) == (0, 0)
    assert seen["tenure_threads deleted"] == 1


def test_a_held_thread_is_not_overdue(world: World) -> None:
    held = world.register(kind=Kind.FILE)
    assert told(world)["tenure_overdue_threads"] == 1
    world.hold(HoldScope(ids=(held.thread.id,)))
    seen = told(world)
    assert (seen["tenure_overdue_threads"], seen["tenure_holds_active"]) == (0, 1)


def test_a_meter_that_cannot_count_keeps_no_deletion_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Counter, "inc", full)
    monkeypatch.setattr(Histogram, "observe", full)
    one = world.register(kind=Kind.FILE)
    world.register(kind=Kind.FILE, age=timedelta(days=3))
    world.sweep()
    assert world.drain()
    assert world.grade(one) == "confirmed"
    assert not world.exists(one)
