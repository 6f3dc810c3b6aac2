"""A sweep releases all of its plan or nothing, and arming decides everything once more."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.world.stepping import BeforeRead
from tests.world.world import ACTOR, POLICIES, POLICY, World, project_document
from worker.flows.activate import Activated, activate
from worker.flows.sweep import NotApprovable, NotRecomputed, Order, approve, resume, sweep
from worker.flows.tick import due_orders
from worker.model.decision import HoldScope
from worker.model.errors import NotFound
from worker.model.thread import Kind, ThreadState
from worker.model.work import ItemState, SweepState
from worker.store import sweeps
from worker.store.sweeps import Sweep
from worker.store.threads import StoredThread

DAY = timedelta(days=1)
GUARDS = "guards: {max_deletes: 1000, max_percent: 100, min_population: 0, window: 24h}"


def guarded(world: World, guards: str) -> None:
    world.rules(POLICIES.replace(GUARDS, f"guards: {{{guards}}}"))


def due(world: World, count: int) -> list[StoredThread]:
    return [world.register(kind=Kind.FILE) for _ in range(count)]


def states(world: World) -> list[SweepState]:
    with world.database.read() as db:
        return [one.state for one in sweeps.page(db, limit=20)]


def awaiting(world: World, actor: str = "key:alice") -> tuple[Sweep, list[StoredThread]]:
    guarded(
        world, "max_deletes: 9, max_percent: 100, min_population: 0, window: 24h, require_approval_over: 1"
    )
    threads = due(world, 2)
    made = sweep(world.database, Order(policy=POLICY, slot=None), actor=actor, clock=world.clock)
    assert made is not None
    return made, threads


def give(world: World, one: Sweep, *, digest: str, actor: str = "key:bob") -> Sweep:
    return approve(world.database, one.id, digest=digest, reason="seen", actor=actor, clock=world.clock)


def test_a_plan_that_needs_approval_waits_for_it_and_then_runs(world: World) -> None:
    world.register(kind=Kind.FILE, age=3 * DAY)
    made, threads = awaiting(world)
    assert made.state is SweepState.AWAITING_APPROVAL
    world.drain()
    assert {world.exists(one) for one in threads} == {True}
    assert made.plan_digest is not None
    assert give(world, made, digest=made.plan_digest).state is SweepState.RELEASED
    world.drain()
    assert {world.grade(one) for one in threads} == {"confirmed"}


def test_a_plan_is_approved_by_its_own_digest_and_by_somebody_else(world: World) -> None:
    made, threads = awaiting(world)
    digest = made.plan_digest or ""
    with pytest.raises(NotApprovable):
        give(world, made, digest="sha256:" + "0" * 64)
    with pytest.raises(NotApprovable):
        give(world, made, digest=digest, actor="key:alice")
    give(world, made, digest=digest)
    with pytest.raises(NotApprovable):
        give(world, made, digest=digest, actor="key:carol")
    assert len(threads) == 2


def test_an_approved_plan_takes_nothing_that_came_after_it_nor_what_is_held_since(world: World) -> None:
    world.register(kind=Kind.FILE, age=3 * DAY)
    made, [first, second] = awaiting(world)
    later = world.register(kind=Kind.FILE)
    world.hold(HoldScope(ids=(first.thread.id,)))
    give(world, made, digest=made.plan_digest or "")
    world.drain()
    assert [world.exists(one) for one in (first, second, later)] == [True, False, True]


def test_an_approval_that_comes_when_the_window_is_used_up_is_refused(world: World) -> None:
    made, threads = awaiting(world)
    guarded(world, "max_deletes: 2, max_percent: 100, min_population: 100, window: 24h")
    for one in threads:
        world.withdraw(one)
    due(world, 1)
    assert world.sweep().state is SweepState.RELEASED
    with pytest.raises(NotApprovable, match="max_deletes"):
        give(world, made, digest=made.plan_digest or "")


WAITING = "max_deletes: 9, max_percent: 100, min_population: 0, window: 24h, require_approval_over: 1"


def test_an_approval_under_a_bundle_that_keeps_longer_releases_the_list_and_spares_it(world: World) -> None:
    world.register(kind=Kind.FILE, age=3 * DAY)
    made, threads = awaiting(world)
    younger = POLICIES.replace("after: 30d", "after: 60d").replace(GUARDS, f"guards: {{{WAITING}}}")
    world.rules(younger)
    assert give(world, made, digest=made.plan_digest or "").state is SweepState.RELEASED
    world.drain()
    assert {world.item(one).state for one in threads} == {ItemState.SPARED}
    assert {world.exists(one) for one in threads} == {True}


def test_an_approval_under_a_bundle_that_reaches_further_takes_only_the_list(world: World) -> None:
    young = world.register(kind=Kind.FILE, age=25 * DAY)
    world.register(kind=Kind.FILE, age=3 * DAY)
    made, threads = awaiting(world)
    world.rules(POLICIES.replace("after: 30d", "after: 20d").replace(GUARDS, f"guards: {{{WAITING}}}"))
    give(world, made, digest=made.plan_digest or "")
    world.drain()
    assert {world.exists(one) for one in threads} == {False}
    assert world.exists(young)


@pytest.mark.parametrize("mode", ["audit", "disabled"])
def test_an_approval_of_a_policy_that_is_enforced_no_more_deletes_nothing(world: World, mode: str) -> None:
    made, threads = awaiting(world)
    world.rules(
        POLICIES.replace("mode: enforce", f"mode: {mode}", 1).replace(GUARDS, f"guards: {{{WAITING}}}")
    )
    with pytest.raises(NotApprovable, match="not enforced"):
        give(world, made, digest=made.plan_digest or "")
    world.drain()
    assert {world.exists(one) for one in threads} == {True}


def test_an_approval_of_a_policy_that_is_gone_is_refused(world: World) -> None:
    made, _ = awaiting(world)
    world.rules(POLICIES.replace(POLICY, "other-30d"))
    with pytest.raises(NotApprovable, match="is gone"):
        give(world, made, digest=made.plan_digest or "")


def test_two_people_who_approve_at_once_release_the_plan_once(world: World) -> None:
    world.register(kind=Kind.FILE, age=3 * DAY)
    made, threads = awaiting(world)

    def approving(number: int) -> bool:
        try:
            give(world, made, digest=made.plan_digest or "", actor=f"key:{number}")
        except NotApprovable:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(approving, range(2))) == [False, True]
    world.drain()
    assert len(world.entries("sweep.approved")) == 1
    assert {len(world.deletes(one.thread.external_id)) for one in threads} == {1}


def test_a_dry_run_plans_and_releases_nothing(world: World) -> None:
    threads = due(world, 3)
    made = world.sweep(dry_run=True)
    world.drain()
    assert (made.state, made.planned) == (SweepState.DRY_RUN, 3)
    assert {world.exists(one) for one in threads} == {True}
    assert not world.sandbox.requests()


@pytest.mark.parametrize("mode", ["audit", "disabled"])
def test_a_policy_that_is_not_enforced_deletes_nothing(world: World, mode: str) -> None:
    world.rules(POLICIES.replace("mode: enforce", f"mode: {mode}", 1))
    threads = due(world, 2)
    made = world.sweep()
    world.tick()
    world.drain()
    assert made.state is SweepState.DRY_RUN
    assert {world.exists(one) for one in threads} == {True}
    assert not world.deletes()


def test_one_slot_is_swept_once_however_many_beats_come(world: World) -> None:
    threads = due(world, 3)
    slot = datetime(2026, 1, 1, 2, 30, tzinfo=UTC)

    def beat(number: int) -> Sweep | None:
        order = Order(policy=POLICY, slot=slot)
        return sweep(world.database, order, actor=f"beat-{number} tenure/0", clock=world.clock)

    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(beat, range(2)))
    assert sorted(one is None for one in made) == [False, True]
    assert len(states(world)) == 1
    world.drain()
    assert all(len(world.deletes(one.thread.external_id)) == 1 for one in threads)


def test_two_beats_that_tick_at_once_are_harmless(world: World) -> None:
    threads = due(world, 3)
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.clock.move(timedelta(minutes=1))
    with ThreadPoolExecutor(2) as pool:
        for one in [pool.submit(world.tick) for _ in range(4)]:
            one.result(20)
    assert len(states(world)) == 1
    world.drain()
    assert {world.grade(one) for one in threads} == {"confirmed"}


def scheduled(world: World, catch_up: str) -> None:
    daily = f'schedule: {{cron: "30 2 * * *", catch_up: {catch_up}}}'
    world.rules(POLICIES.replace('schedule: {cron: "* * * * *"}', daily))


def orders(world: World, grace: timedelta = timedelta(minutes=1)) -> list[str]:
    return [one.policy for one in due_orders(world.database, now=world.clock.now(), grace=grace)]


def at_noon(world: World) -> None:
    now = world.clock.now()
    world.clock.move(now.replace(hour=12, minute=0, second=0, microsecond=0) + DAY - now)


def test_slots_before_the_policy_was_in_force_are_not_caught_up(world: World) -> None:
    at_noon(world)
    scheduled(world, "latest")
    world.rules(POLICIES.replace(POLICY, "other-30d").replace('"* * * * *"', '"30 2 * * *"'))
    due(world, 1)
    assert orders(world) == []
    world.clock.move(DAY)
    assert orders(world) == ["other-30d"]


def test_of_missed_slots_only_the_latest_is_caught_up(world: World) -> None:
    at_noon(world)
    scheduled(world, "latest")
    threads = due(world, 1)
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.clock.move(5 * DAY)
    world.tick()
    world.tick()
    assert len(states(world)) == 1
    world.drain()
    assert world.grade(threads[0]) == "confirmed"


def test_with_skip_a_missed_slot_is_not_caught_up(world: World) -> None:
    at_noon(world)
    scheduled(world, "skip")
    due(world, 1)
    world.clock.move(5 * DAY)
    assert orders(world) == []
    world.clock.move(timedelta(hours=14, minutes=30, seconds=30))
    assert orders(world) == [POLICY]


def test_with_skip_a_slot_that_comes_in_time_is_swept_and_not_again(world: World) -> None:
    at_noon(world)
    scheduled(world, "skip")
    due(world, 1)
    world.register(kind=Kind.FILE, age=3 * DAY)
    # From now on, not from noon: the database may have taken a while until here.
    now = world.clock.now()
    world.clock.move(now.replace(hour=2, minute=30, second=59, microsecond=0) + DAY - now)
    world.tick()
    world.clock.move(timedelta(seconds=15))
    world.tick()
    assert len(states(world)) == 1
    world.clock.move(DAY + timedelta(hours=1))
    assert orders(world) == []


def test_a_slot_that_a_guard_blocked_is_not_tried_again_before_the_next(world: World) -> None:
    at_noon(world)
    scheduled(world, "latest")
    daily = POLICIES.replace('"* * * * *"', '"30 2 * * *"').replace("max_deletes: 1000", "max_deletes: 0")
    world.rules(daily)
    due(world, 1)
    world.clock.move(DAY)
    for _ in range(3):
        world.tick()
        world.clock.move(timedelta(minutes=5))
    assert states(world) == [SweepState.BLOCKED]
    world.clock.move(DAY)
    world.tick()
    assert states(world) == [SweepState.BLOCKED] * 2


def test_a_sweep_by_hand_takes_no_slot_away(world: World) -> None:
    at_noon(world)
    scheduled(world, "latest")
    due(world, 1)
    world.clock.move(DAY)
    assert world.sweep().slot.startswith("manual:")
    assert orders(world) == [POLICY]


def test_slots_from_while_a_policy_was_not_enforced_are_not_missed_ones(world: World) -> None:
    at_noon(world)
    daily = POLICIES.replace('"* * * * *"', '"30 2 * * *"')
    world.rules(daily)
    world.rules(daily.replace("mode: enforce", "mode: audit", 1))
    due(world, 1)
    world.clock.move(3 * DAY)
    world.rules(daily)
    assert orders(world) == []
    world.clock.move(DAY)
    assert orders(world) == [POLICY]


def test_a_beat_whose_clock_is_behind_takes_no_slot_a_second_time(world: World) -> None:
    at_noon(world)
    scheduled(world, "latest")
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.clock.move(timedelta(hours=14, minutes=30))
    world.tick()
    world.clock.move(-timedelta(minutes=2))
    world.tick()
    world.clock.move(timedelta(minutes=3))
    world.tick()
    assert len(states(world)) == 1


TWO_POLICIES = (
    POLICIES.replace("match: {all: true}", "match: {owners: [team]}")
    + """
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: b-20d, owner: tests}
spec:
  mode: enforce
  match: {owners: [team]}
  delete: {after: 20d}
  schedule: {cron: "* * * * *"}
  guards: {max_deletes: 1000, max_percent: 100, min_population: 0, window: 24h}
"""
)


def test_a_thread_that_is_due_in_another_policys_sweep_is_spared(world: World) -> None:
    [one] = due(world, 1)
    assert world.sweep(POLICY).planned == 1
    world.rules(TWO_POLICIES)
    world.drain()
    assert world.item(one).state == ItemState.SPARED
    assert "DUE in the sweep of b-20d" in world.item(one).reason
    assert world.sweep(POLICY).planned == 0
    assert world.sweep("b-20d").planned == 1


def test_a_bundle_that_keeps_longer_spares_what_was_planned_before_it(world: World) -> None:
    threads = due(world, 2)
    world.sweep()
    world.rules(POLICIES.replace("after: 30d", "after: 60d"))
    world.drain()
    assert {world.item(one).state for one in threads} == {ItemState.SPARED}
    assert {world.exists(one) for one in threads} == {True}


def test_a_policy_that_is_taken_back_spares_what_it_planned(world: World) -> None:
    threads = due(world, 2)
    world.sweep()
    world.rules(POLICIES.replace("mode: enforce", "mode: audit", 1))
    world.drain()
    assert {world.exists(one) for one in threads} == {True}
    assert {world.item(one).state for one in threads} == {ItemState.SPARED}


def test_a_sweep_whose_policy_left_while_it_was_planned_is_cancelled_and_blocks_no_tick(world: World) -> None:
    due(world, 1)
    made = world.sweep()
    with world.database.write() as db:
        sweeps.set_state(db, made.id, SweepState.PLANNING)
    world.rules(POLICIES.replace(POLICY, "other-30d"))
    world.clock.move(timedelta(minutes=3))
    assert resume(world.database, actor=ACTOR, clock=world.clock, older_than=timedelta(minutes=2)) == 1
    assert SweepState.CANCELLED in states(world)
    world.tick()


def test_no_sweep_plans_before_the_recompute_of_a_new_bundle_is_finished(world: World) -> None:
    due(world, 1)
    world.look_at(POLICIES.replace("after: 30d", "after: 31d") + project_document(world.sandbox.base_url))
    with pytest.raises(NotRecomputed):
        world.sweep()
    world.tick()
    assert world.sweep().planned in {0, 1}


def test_one_bad_document_keeps_the_last_good_bundle(world: World) -> None:
    before = world.bundle.digest
    for _ in range(2):
        done = world.look_at(
            POLICIES.replace("after: 30d", "after: 1x") + project_document(world.sandbox.base_url)
        )
        assert done.loaded.bundle is None
    assert world.bundle.digest == before
    assert len(world.entries("bundle.refused")) == 1


def test_two_beats_that_activate_one_folder_at_once_put_it_in_force_once(world: World) -> None:
    text = POLICIES.replace("after: 30d", "after: 31d") + project_document(world.sandbox.base_url)
    (world.folder / "policies.yaml").write_text(text, encoding="utf-8")

    def beat(_: int) -> Activated:
        return activate(world.database, world.source, actor=ACTOR, clock=world.clock)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(beat, range(4)))
    assert len(world.entries("bundle.activated")) == 2


def test_a_changed_account_deletes_nothing_and_parks_the_thread(world: World) -> None:
    threads = due(world, 2)
    world.sweep()
    world.rules(POLICIES, extra="provider_project: proj_other")
    world.drain()
    assert {world.exists(one) for one in threads} == {True}
    assert {(world.state(one), world.thread(one).reason) for one in threads} == {
        (ThreadState.PARKED, "account_changed")
    }
    assert not world.sandbox.requests()


def test_an_account_that_changes_while_a_worker_reads_is_seen_when_it_arms(world: World) -> None:
    [one] = due(world, 1)
    world.sweep()
    changed = threading.Event()

    def change() -> None:
        world.rules(POLICIES, extra="provider_project: proj_other")
        changed.set()

    world.wrap = lambda provider: BeforeRead(provider, change).provider
    world.drain(most=1)
    assert changed.is_set()
    assert world.exists(one)
    assert not world.deletes()
    assert not world.entries("delete.intended")


def test_items_of_a_project_that_left_the_policies_wait_and_block_no_other(world: World) -> None:
    gone = due(world, 2)
    url = world.sandbox.base_url
    world.sweep()
    world.policies(POLICIES + project_document(url, "another", extra="provider_project: b"))
    world.drain()
    assert {world.item(one).state for one in gone} == {ItemState.WAITING}
    world.policies(POLICIES + project_document(url))
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.clock.move(timedelta(hours=1))
    world.drain()
    assert {world.grade(one) for one in gone} == {"confirmed"}


def test_a_ttl_brings_the_deletion_forward_in_the_sweep_of_the_surviving_rule(world: World) -> None:
    short = world.register(kind=Kind.FILE, age=3 * DAY, ttl="2d")
    world.register(kind=Kind.FILE, age=3 * DAY, ttl="5d")
    assert world.sweep().planned == 1
    world.drain()
    assert world.grade(short) == "confirmed"
    [intended] = world.entries("delete.intended", short)
    assert intended["decision"]["decided_by"] == "producer-ttl"


def test_a_thread_that_the_provider_calls_younger_is_spared_and_corrected(world: World) -> None:
    external_id = world.make(Kind.FILE, age=5 * DAY)
    younger = world.register(external_id, kind=Kind.FILE)
    world.sweep()
    world.drain()
    assert (world.item(younger).state, world.exists(younger)) == (ItemState.SPARED, True)
    corrected = world.thread(younger).thread.created_at
    assert corrected is not None
    assert abs(world.clock.now() - 5 * DAY - corrected) < timedelta(minutes=1)
    assert world.sweep().planned == 0
    world.clock.move(26 * DAY)
    assert world.sweep().planned == 1


def test_a_sweep_by_hand_of_a_policy_that_nobody_knows_is_refused(world: World) -> None:
    with pytest.raises(NotFound):
        world.sweep("nobody")
