"""What a producer changes of a thread decides anew when it goes, and never ends a protection."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.flows.test_late_registrations import is_waiting, only_where_writers_meet
from tests.servers.plugin import Eventually
from tests.world.crash import gate, in_background, until
from tests.world.world import ACTOR, POLICIES, PROJECT, World
from worker.flows.change import Change, Stale, Touched, change, touch
from worker.flows.hold import release_hold
from worker.flows.withdraw import InFlight, NotLive
from worker.model.decision import HoldScope, TagSelector
from worker.model.errors import Invalid
from worker.model.thread import Kind, ThreadState
from worker.policy.permit import BeyondPolicy, Held, Retained
from worker.store import protections, threads
from worker.store.threads import StoredThread

DAY = timedelta(days=1)
LEGAL = """
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: finance-legal, owner: tests}
spec:
  mode: enforce
  match: {owners: ["finance-*"]}
  retain: {for: 365d, basis: legal}
"""
OTHERS = """
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: others-10d, owner: tests}
spec:
  mode: enforce
  match: {owners: ["others*"]}
  delete: {after: 10d}
  guards: {max_deletes: 1000, max_percent: 100, min_population: 0, window: 24h}
"""


def patch(
    world: World, stored: StoredThread, *, versions: set[int] | None = None, **fields: Any
) -> StoredThread:
    wanted = Change(**fields, given=frozenset(fields))
    return change(
        world.database,
        stored.thread.id,
        wanted,
        versions=versions,
        actor=ACTOR,
        clock=world.clock,
        lease=world.lease,
    )


def note(world: World, *stored: StoredThread, ago: timedelta | None = None) -> dict[str, Touched]:
    at = None if ago is None else world.clock.now() - ago
    ids = [one.thread.id for one in stored]
    return touch(world.database, ids, at=at, actor=ACTOR, clock=world.clock, lease=world.lease)


def changes(world: World, stored: StoredThread) -> list[Any]:
    return [one["changes"] for one in world.entries("thread.changed", stored)]


def test_a_shorter_ttl_brings_the_date_forward_and_is_an_entry(world: World) -> None:
    one = world.register(age=5 * DAY, ttl="20d")

    done = patch(world, one, ttl="10d")

    assert done.thread.ttl == "P10D"
    assert done.thread.created_at is not None
    assert done.evaluate_at == done.thread.created_at + 10 * DAY
    assert done.version == one.version + 1
    assert changes(world, one) == [[{"field": "ttl", "from": "P20D", "to": "P10D"}]]


def test_what_changes_nothing_leaves_no_entry_and_the_same_version(world: World) -> None:
    one = world.register(age=5 * DAY, ttl="20d")
    assert patch(world, one, ttl="20d", owner="team") == one
    assert changes(world, one) == []


def test_a_longer_ttl_stays_within_what_the_delete_rules_allow(world: World) -> None:
    one = world.register(age=5 * DAY, ttl="10d")
    with pytest.raises(BeyondPolicy, match="all-30d"):
        patch(world, one, ttl="31d")
    assert world.thread(one) == one
    assert patch(world, one, ttl="30d").thread.ttl == "P30D"
    assert patch(world, one, ttl=None).due_policy == "all-30d"


def test_a_longer_ttl_is_refused_where_nobody_can_tell_how_old_the_thread_is(world: World) -> None:
    one = world.register(age=5 * DAY, ttl="10d")
    with world.database.write() as db:
        threads.change(
            db,
            replace(one.thread, created_at=None),
            threads.Schedule(evaluate_at=None, due_policy=None, under=""),
        )
    with pytest.raises(BeyondPolicy):
        patch(world, one, ttl="11d")
    assert patch(world, one, ttl="9d").thread.ttl == "P9D"


def test_a_thread_that_its_policy_has_not_reached_yet_moves_into_another_sweep(world: World) -> None:
    world.rules(POLICIES + OTHERS)
    one = world.register(age=15 * DAY)
    done = patch(world, one, owner="others")
    assert done.due_policy == "others-10d"
    assert world.sweep("others-10d").planned == 1


@pytest.mark.parametrize(
    ("scope", "fields"),
    [
        (HoldScope(owners=("te*",)), {"owner": "others"}),
        (HoldScope(tags=(TagSelector(key="case", operator="Exists"),)), {"tags": {}}),
        (HoldScope(tags=(TagSelector(key="case", operator="In", values=("a",)),)), {"tags": {"case": "b"}}),
        (HoldScope(tags=(TagSelector(key="free", operator="DoesNotExist"),)), {"tags": {"free": "yes"}}),
    ],
)
def test_nobody_changes_a_thread_out_of_a_hold(
    world: World, scope: HoldScope, fields: dict[str, Any]
) -> None:
    one = world.register(kind=Kind.FILE, tags={"case": "a"})
    held = world.hold(scope)
    with pytest.raises(Held, match=held.hold.matter):
        patch(world, one, **fields)
    assert world.thread(one) == one
    release_hold(world.database, held.hold.id, reason="over", actor=ACTOR, clock=world.clock)
    patch(world, one, **fields)


def test_a_held_thread_may_change_as_long_as_its_hold_goes_on_covering_it(world: World) -> None:
    one = world.register(kind=Kind.FILE, tags={"case": "a"})
    world.hold(HoldScope(owners=("te*",)))
    world.hold(HoldScope(ids=(one.thread.id,)))
    assert patch(world, one, owner="team-2", tags={}, ttl="1d").thread.owner == "team-2"
    world.sweep()
    world.drain()
    assert world.exists(one)


def test_nobody_changes_a_thread_out_of_a_legal_floor_that_runs(world: World) -> None:
    world.rules(POLICIES + LEGAL)
    young, old = world.register(owner="finance-1"), world.register(owner="finance-1", age=400 * DAY)
    with pytest.raises(Retained, match="finance-legal"):
        patch(world, young, owner="team")
    assert world.thread(young) == young
    assert patch(world, young, owner="finance-2").thread.owner == "finance-2"
    assert patch(world, old, owner="team").thread.owner == "team"


def test_a_legal_floor_whose_date_nobody_believes_has_not_ended(world: World) -> None:
    world.rules(POLICIES + LEGAL)
    slip = world.register(external_id="conv_slip", owner="finance-1", age=20_000 * DAY)
    with pytest.raises(Retained, match="finance-legal"):
        patch(world, slip, owner="team")
    with pytest.raises(Retained, match="finance-legal"):
        patch(world, slip, owner="team", created_at=world.clock.now() - 40 * DAY)
    assert world.thread(slip) == slip


def undated(world: World, **fields: Any) -> StoredThread:
    """Register a thread and forget when it was created, as where nobody told."""
    one = world.register(age=5 * DAY, **fields)
    with world.database.write() as db:
        forgot = replace(one.thread, created_at=None)
        threads.change(db, forgot, threads.Schedule(evaluate_at=None, due_policy=None, under=""))
    return world.thread(one)


@pytest.mark.parametrize("since", ["created_at", "last_activity_at"])
def test_a_date_that_is_told_late_ends_no_legal_floor_sooner_than_registration_would(
    world: World, since: str
) -> None:
    world.rules(POLICIES + LEGAL.replace("365d", f"365d, from: {since}"))
    one = undated(world, owner="finance-1")
    registered = one.thread.registered_at
    # One that has ended, and one that would end tomorrow.
    for lies in (400 * DAY, 364 * DAY, timedelta(seconds=1)):
        with pytest.raises(Retained, match="finance-legal"):
            patch(world, one, created_at=registered - lies)
    assert world.thread(one) == one
    done = patch(world, one, created_at=registered)
    assert done.evaluate_at == registered + 365 * DAY
    assert world.sweep().planned == 0


def test_a_date_that_replaces_an_incredible_one_ends_no_legal_floor_either(world: World) -> None:
    world.rules(POLICIES + LEGAL)
    slip = world.register(external_id="conv_slip", owner="finance-1", age=20_000 * DAY)
    ahead = world.register(external_id="conv_ahead", owner="finance-1", age=-30 * DAY)
    for one in (slip, ahead):
        with pytest.raises(Retained, match="finance-legal"):
            patch(world, one, created_at=world.clock.now() - 400 * DAY)
        assert world.thread(one) == one


def test_activity_that_is_told_late_ends_no_legal_floor(world: World) -> None:
    world.rules(POLICIES + LEGAL.replace("365d", "365d, from: last_activity_at"))
    one, other = undated(world, owner="finance-1"), world.register(owner="finance-1")
    told = note(world, one, other, ago=400 * DAY)
    assert isinstance(told[one.thread.id].refused, Retained)
    assert told[other.thread.id].changed
    assert world.thread(one) == one
    assert note(world, one)[one.thread.id].changed


def test_once_the_floor_has_passed_from_registration_too_the_true_date_is_taken(world: World) -> None:
    world.rules(POLICIES + LEGAL)
    one = undated(world, owner="finance-1")
    world.clock.move(365 * DAY)
    created = one.thread.registered_at - 100 * DAY
    assert patch(world, one, created_at=created).due_policy == "all-30d"


def test_without_a_legal_floor_a_late_date_is_taken_as_it_is(world: World) -> None:
    world.rules(POLICIES + LEGAL.replace("basis: legal", "basis: business"))
    one = undated(world, owner="finance-1")
    assert patch(world, one, created_at=world.clock.now() - 400 * DAY).due_policy == "all-30d"


def test_a_business_floor_is_the_producers_own_to_end(world: World) -> None:
    one = world.register(kind=Kind.FILE, tags={"keep": "true"})
    world.register(kind=Kind.FILE, age=3 * DAY)
    assert world.sweep().planned == 0
    patch(world, one, tags={})
    assert world.sweep().planned == 1
    assert changes(world, one) == [[{"field": "tags", "from": '{"keep": "true"}', "to": None}]]


def test_an_unknown_creation_is_told_once(world: World) -> None:
    one = undated(world)
    created = world.clock.now() - 40 * DAY
    with pytest.raises(Invalid) as raised:
        patch(world, one, created_at=world.clock.now() - 20_000 * DAY)
    assert raised.value.code == "created_at_incredible"
    with pytest.raises(Invalid):
        patch(world, one, created_at=world.clock.now() + DAY)
    assert patch(world, one, created_at=created).due_policy == "all-30d"
    assert patch(world, one, created_at=created).thread.created_at == created
    with pytest.raises(Invalid) as raised:
        patch(world, one, created_at=created - DAY)
    assert raised.value.code == "created_at_known"


def test_a_quarantined_creation_may_be_told_anew(world: World) -> None:
    one = world.register(external_id="conv_slip", age=20_000 * DAY)
    assert one.due_policy is None
    created = world.clock.now() - 40 * DAY
    assert patch(world, one, created_at=created).due_policy == "all-30d"


def test_a_change_that_rests_on_another_version_is_refused(world: World) -> None:
    one = world.register(age=5 * DAY)
    patch(world, one, versions={1}, owner="a")
    with pytest.raises(Stale):
        patch(world, one, versions={1}, owner="b")
    assert world.thread(one).thread.owner == "a"


def test_only_one_of_two_changes_at_once_rests_on_a_version(world: World) -> None:
    one = world.register(age=5 * DAY)

    def attempt(owner: str) -> bool:
        try:
            patch(world, one, versions={one.version}, owner=owner)
        except Stale:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, ["a", "b", "c", "d"])) == 1
    assert len(changes(world, one)) == 1


def test_activity_puts_off_what_counts_from_it_and_never_goes_back(world: World) -> None:
    world.rules(POLICIES.replace("{after: 30d}", "{after: 30d, from: last_activity_at}"))
    one = world.register(kind=Kind.FILE)
    assert one.due_policy == "all-30d"
    told = note(world, one, ago=DAY)[one.thread.id]
    assert told.changed
    active = told.stored.thread.last_activity_at
    assert active is not None
    assert told.stored.evaluate_at == active + 30 * DAY
    assert not note(world, one, ago=2 * DAY)[one.thread.id].changed
    assert world.thread(one).thread.last_activity_at == active
    assert world.sweep().planned == 0


@pytest.mark.parametrize("ago", [-2 * DAY, 20_000 * DAY])
def test_activity_that_cannot_be_is_refused(world: World, ago: timedelta) -> None:
    with pytest.raises(Invalid):
        note(world, world.register(), ago=ago)


def test_one_thread_that_cannot_be_touched_blocks_no_other(world: World) -> None:
    gone, live = world.register(), world.register()
    world.withdraw(gone)
    told = note(world, gone, live)
    assert isinstance(told[gone.thread.id].refused, NotLive)
    assert told[live.thread.id].changed


def test_a_change_during_a_delete_waits_and_says_that_it_came_too_late(world: World) -> None:
    one = world.register(kind=Kind.FILE)
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.sweep()
    gates = gate(world, after_delete=True)
    with in_background(world):
        until(lambda: bool(gates) and gates[0].reached.is_set())
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(patch, world, one, owner="others")
            gates[0].open()
            with pytest.raises((InFlight, NotLive)):
                late.result(30)
    assert world.state(one) is ThreadState.DELETED
    assert changes(world, one) == []


def test_a_touch_while_its_thread_is_armed_is_never_noted_behind_the_delete(world: World) -> None:
    one = world.register(kind=Kind.FILE)
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.sweep()
    gates = gate(world, after_delete=True)
    with in_background(world):
        until(lambda: bool(gates) and gates[0].reached.is_set())
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(note, world, one)
            gates[0].open()
            assert late.result(30)[one.thread.id].refused is not None
    assert world.thread(one).thread.last_activity_at is None


def test_what_is_no_longer_due_after_a_change_is_spared(world: World) -> None:
    world.rules(POLICIES.replace("{after: 30d}", "{after: 30d, from: last_activity_at}"))
    one = world.register(kind=Kind.FILE)
    world.register(kind=Kind.FILE, age=3 * DAY)
    assert world.sweep().planned == 1
    note(world, one)
    world.drain()
    assert world.exists(one)
    assert not world.deletes(one.thread.external_id)


@pytest.mark.parametrize(
    "scope", [HoldScope(owners=("team",)), HoldScope(projects=(PROJECT,), owners=("team",))]
)
def test_a_hold_and_a_change_that_meet_come_one_after_the_other(
    world: World, eventually: Eventually, scope: HoldScope
) -> None:
    only_where_writers_meet(world)
    one = world.register(kind=Kind.FILE)
    with ThreadPoolExecutor(1) as pool:
        with world.database.write() as db:
            # As a hold does: its row is taken, its answer not yet committed.
            protections.take(db, protections.scopes_of(scope))
            moving = pool.submit(patch, world, one, owner="others")
            eventually(lambda: is_waiting(world) or moving.done())
            assert not moving.done(), "a change passed a hold that is being placed"
        moving.result(30)
