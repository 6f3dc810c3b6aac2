"""What is under `notify` waits for a notice and its grace, and without a delivery channel for ever."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import insert
from structlog.testing import capture_logs

from tests.world.world import POLICIES, POLICY, World
from worker.flows.decide import decide_now
from worker.flows.erase import order_erasure
from worker.flows.notify import UNDELIVERABLE
from worker.flows.sweeping import summary
from worker.model.decision import Decision, Outcome
from worker.model.thread import Kind
from worker.store.tables import notice
from worker.store.threads import StoredThread

DAY = timedelta(days=1)
AFTER = "delete: {after: 30d}"
NOTIFIED = POLICIES.replace(AFTER, f"{AFTER}\n  before_delete: [{{notify: {{grace: 7d}}}}]")


def decided(world: World, one: StoredThread) -> Decision:
    with world.database.read() as db:
        stored = world.thread(one).thread
        return decide_now(db, [stored], now=world.clock.now())[stored.id]


def deliver(world: World, one: StoredThread, promised: datetime | None = None) -> None:
    """Note a notice as a delivery channel will, and decide the threads anew."""
    with world.database.write() as db:
        values = {"thread_id": one.thread.id, "at": world.clock.now(), "promised": promised}
        db.execute(insert(notice).values(**values))
    anew(world, NOTIFIED)


def anew(world: World, text: str) -> None:
    """Put policies in force, with every date recomputed even where they are the same as before."""
    world.rules(POLICIES)
    world.rules(text)


def alerts(world: World) -> list[str]:
    with capture_logs() as logs:
        world.tick()
    return [one["policy"] for one in logs if one["event"] == "alert.raised" and one["alert"] == UNDELIVERABLE]


def test_without_a_channel_nothing_under_notify_is_deleted_by_schedule_or_by_hand(world: World) -> None:
    world.rules(NOTIFIED)
    due = [world.register(kind=Kind.FILE, age=age * DAY) for age in (31, 400)]
    for _ in range(3):
        world.clock.move(10 * DAY)
        world.tick()
        assert world.sweep().planned == 0
        world.drain()
    assert {decided(world, one).outcome for one in due} == {Outcome.NOTIFY}
    assert {world.exists(one) for one in due} == {True}
    assert not world.deletes()


def test_the_alert_comes_once_for_each_policy_and_says_why(world: World) -> None:
    world.register(kind=Kind.FILE)
    assert alerts(world) == []
    world.rules(NOTIFIED)
    assert alerts(world) == [POLICY]
    assert alerts(world) == []
    other = NOTIFIED.split("---")[0].replace(POLICY, "b-30d")
    world.rules(f"{NOTIFIED}---{other}")
    assert alerts(world) == ["b-30d"]
    assert alerts(world) == []
    world.rules(POLICIES)
    assert alerts(world) == []
    world.rules(NOTIFIED)
    assert alerts(world) == [POLICY]


def test_a_policy_that_is_not_enforced_owes_no_notice(world: World) -> None:
    world.rules(NOTIFIED.replace("mode: enforce", "mode: audit", 1))
    assert alerts(world) == []


def test_a_sweep_says_why_it_deletes_nothing(world: World) -> None:
    world.rules(NOTIFIED)
    world.register(kind=Kind.FILE)
    made = world.sweep()
    with world.database.read() as db:
        [why] = summary(db, made, now=world.clock.now())["reasons"]
    assert "NOTIFY" in why
    assert "no delivery channel" in why
    world.rules(POLICIES)
    with world.database.read() as db:
        assert summary(db, made, now=world.clock.now())["reasons"] == []


def test_a_delivered_notice_starts_the_grace_and_the_promised_date_holds(world: World) -> None:
    world.rules(NOTIFIED)
    one = world.register(kind=Kind.FILE, age=40 * DAY)
    world.register(kind=Kind.FILE, age=DAY)
    promised = decided(world, one).eligible_at
    assert promised is not None
    deliver(world, one, promised)
    waiting = decided(world, one)
    assert waiting.outcome is Outcome.PENDING
    assert waiting.eligible_at is not None
    assert abs(waiting.eligible_at - promised) < timedelta(minutes=1)
    assert world.sweep().planned == 0
    world.clock.move(7 * DAY + timedelta(minutes=1))
    assert world.sweep().planned == 1
    world.drain()
    assert world.grade(one) == "confirmed"


def test_an_earlier_date_owes_a_new_notice(world: World) -> None:
    world.rules(NOTIFIED)
    one = world.register(kind=Kind.FILE, age=24 * DAY)
    deliver(world, one, world.clock.now() + 7 * DAY)
    assert decided(world, one).outcome is Outcome.PENDING
    anew(world, NOTIFIED.replace("after: 30d", "after: 20d").replace("grace: 7d", "grace: 1d"))
    world.clock.move(2 * DAY)
    assert decided(world, one).outcome is Outcome.NOTIFY
    assert world.sweep().planned == 0
    world.clock.move(30 * DAY)
    assert decided(world, one).outcome is Outcome.NOTIFY


def test_a_notice_that_is_owed_since_the_plan_spares_what_was_planned(world: World) -> None:
    one = world.register(kind=Kind.FILE)
    assert world.sweep().planned == 1
    world.rules(NOTIFIED)
    world.drain()
    assert world.exists(one)
    assert world.item(one).state == "spared"
    assert "NOTIFY" in world.item(one).reason


@pytest.mark.parametrize("ordered", [True, False])
def test_only_an_erasure_deletes_without_a_notice(world: World, ordered: bool) -> None:
    world.rules(NOTIFIED)
    one = world.register(kind=Kind.FILE)
    world.register(kind=Kind.FILE, age=DAY, owner="else")
    if ordered:
        order_erasure(
            world.database,
            owner="team",
            ids=(),
            reason="asked",
            at=world.clock.now(),
            actor="test tenure/0",
            clock=world.clock,
        )
    world.tick()
    world.drain()
    assert world.exists(one) is not ordered
