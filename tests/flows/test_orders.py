"""Pause, withdrawal and erasure: orders that stop a deletion, and one that asks for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.world.crash import in_background, kill_at
from tests.world.world import ACTOR, POLICIES, PROJECT, World, project_document
from worker.flows import sweep as sweep_flow
from worker.flows.erase import order_erasure
from worker.flows.hold import release_hold
from worker.flows.pause import Switched, set_deletes
from worker.flows.receipt import receipt
from worker.flows.withdraw import InFlight, NotLive
from worker.model.decision import ERASURE, HoldScope
from worker.model.errors import Invalid
from worker.model.receipt import Receipt
from worker.model.thread import Kind, ThreadState
from worker.model.work import ItemState
from worker.store import sweeps
from worker.store.threads import StoredThread

DAY = timedelta(days=1)


def switch(world: World, *, enabled: bool, project: str | None = None) -> Switched:
    return set_deletes(
        world.database,
        enabled=enabled,
        project=project,
        reason="incident",
        actor=ACTOR,
        clock=world.clock,
        lease=world.lease,
    )


def planned(world: World) -> StoredThread:
    due = world.register(kind=Kind.FILE)
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.sweep()
    return due


@pytest.mark.parametrize("project", [None, PROJECT])
def test_a_pause_keeps_every_delete_back_until_it_is_taken_off(world: World, project: str | None) -> None:
    due = planned(world)
    switch(world, enabled=False, project=project)
    world.drain()
    assert not world.sandbox.requests()
    assert world.exists(due)
    switch(world, enabled=True, project=project)
    world.drain()
    assert world.grade(due) == "confirmed"


def test_a_pause_of_one_project_leaves_another_of_the_same_account_alone(world: World) -> None:
    url = world.sandbox.base_url
    world.policies(POLICIES + project_document(url) + project_document(url, "twin"))
    world.register(kind=Kind.FILE, age=3 * DAY)
    kept = world.register(kind=Kind.FILE)
    others = world.register(kind=Kind.FILE, project="twin")
    world.sweep()
    switch(world, enabled=False, project=PROJECT)
    world.drain()
    assert [world.exists(one) for one in (kept, others)] == [True, False]
    # A new bundle does not lift it: only whoever resumes does.
    world.policies(POLICIES + project_document(url) + project_document(url, "triplet"))
    world.drain()
    assert world.exists(kept)
    switch(world, enabled=True, project=PROJECT)
    world.drain()
    assert not world.exists(kept)


def test_a_pause_during_a_batch_stops_arming_and_loses_nothing(world: World) -> None:
    due = planned(world)
    world.faults("slow@get*1")
    with in_background(world) as (worker,):
        world.sandbox.wait_for(lambda log: len(log) == 1)
        switch(world, enabled=False)
        worker.result(10)
    assert world.exists(due)
    assert world.item(due).state == ItemState.WAITING
    switch(world, enabled=True)
    world.clock.move(timedelta(minutes=1, seconds=1))
    world.drain()
    assert world.grade(due) == "confirmed"


def test_a_pause_names_the_delete_that_had_left_before_it(world: World) -> None:
    due = planned(world)
    world.faults("slow@delete")
    with in_background(world) as (worker,):
        world.sandbox.wait_for(lambda log: any(one.method == "DELETE" for one in log))
        assert switch(world, enabled=False).too_late == (due.thread.id,)
        worker.result(10)


def test_a_crash_long_ago_neither_delays_nor_troubles_a_pause(world: World) -> None:
    due = planned(world)
    kill_at(world, before_delete=True)
    world.drain()
    assert world.grade(due) == "confirmed"
    began = world.clock.monotonic()
    told = switch(world, enabled=False)
    assert (told.too_late, told.uncertain) == ((), ())
    assert world.clock.monotonic() - began < 2


def test_a_pause_of_an_unknown_project_is_refused(world: World) -> None:
    with pytest.raises(Invalid):
        switch(world, enabled=False, project="nobody")


def test_a_withdrawn_thread_is_never_deleted(world: World) -> None:
    due = planned(world)
    assert world.withdraw(due).thread.state is ThreadState.WITHDRAWN
    world.drain()
    assert (world.state(due), world.exists(due)) == (ThreadState.WITHDRAWN, True)
    assert world.sweep().planned == 0
    with pytest.raises(NotLive):
        world.withdraw(due)


def test_a_thread_that_is_withdrawn_while_a_worker_reads_it_stays_withdrawn(world: World) -> None:
    due = planned(world)
    world.vanish(due)
    world.faults("slow@get*1")
    with in_background(world) as (worker,):
        world.sandbox.wait_for(lambda log: len(log) == 1)
        world.withdraw(due)
        worker.result(10)
    assert world.state(due) is ThreadState.WITHDRAWN
    assert world.grade(due) is None
    assert not world.entries("thread.graded")
    assert world.item(due).state == ItemState.CANCELLED


def test_a_thread_whose_delete_has_left_cannot_be_withdrawn(world: World) -> None:
    due = planned(world)
    world.faults("slow@delete")
    with in_background(world) as (worker,):
        world.sandbox.wait_for(lambda log: any(one.method == "DELETE" for one in log))
        with pytest.raises((InFlight, NotLive)):
            world.withdraw(due)
        worker.result(10)
    assert world.grade(due) == "confirmed"


def test_a_thread_whose_delete_was_throttled_can_still_be_withdrawn(world: World) -> None:
    due = planned(world)
    world.faults("throttled@delete")
    world.drain(most=1)
    world.withdraw(due)
    world.faults()
    world.forget_cooldown()
    world.clock.move(timedelta(minutes=1))
    world.drain()
    assert (world.state(due), world.exists(due)) == (ThreadState.WITHDRAWN, True)


FLOORS = (
    POLICIES
    + """
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: tax, owner: tests}
spec:
  mode: enforce
  match: {tags: [{key: invoice, operator: Exists}]}
  retain: {for: P10Y, basis: legal}
"""
)


def erase(world: World, *, owner: str | None = None, ids: tuple[str, ...] = ()) -> Receipt:
    return order_erasure(
        world.database, owner=owner, ids=ids, reason="art. 17", at=None, actor=ACTOR, clock=world.clock
    )


def run_erasures(world: World) -> None:
    world.tick()
    world.drain()


def test_an_erasure_beats_age_and_business_floors_but_no_legal_floor_and_no_hold(world: World) -> None:
    world.rules(FLOORS)
    young = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann")
    kept = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann", tags={"keep": "yes"})
    legal = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann", tags={"invoice": "1"})
    held = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann")
    other = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann-marie")
    world.hold(HoldScope(ids=(held.thread.id,)))
    ordered = erase(world, owner="ann")
    assert {one.id: one.status for one in ordered.lines} == {
        young.thread.id: "pending",
        kept.thread.id: "pending",
        legal.thread.id: "refused",
        held.thread.id: "held",
    }
    run_erasures(world)
    assert [world.exists(one) for one in (young, kept, legal, held, other)] == [
        False,
        False,
        True,
        True,
        True,
    ]
    with world.database.read() as db:
        after = receipt(db, ordered.id, now=world.clock.now())
    told = {one.id: (one.status, one.reason, one.grade) for one in after.lines}
    assert told[young.thread.id] == ("deleted", None, "confirmed")
    assert told[legal.thread.id] == ("refused", "tax", None)
    assert told[held.thread.id] == ("held", "hold:case-7", None)


def test_an_erasure_covers_nothing_that_is_registered_after_it(world: World) -> None:
    before = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann")
    erase(world, owner="ann")
    world.clock.move(timedelta(seconds=1))
    after = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann")
    run_erasures(world)
    assert [world.exists(before), world.exists(after)] == [False, True]


def test_an_erasure_by_id_names_the_ids_that_nobody_registered(world: World) -> None:
    one = world.register(kind=Kind.FILE, age=3 * DAY)
    ordered = erase(world, ids=(one.thread.external_id, "file-unknown"))
    assert ordered.unknown == ("file-unknown",)
    assert [line.id for line in ordered.lines] == [one.thread.id]


def test_an_erasure_waits_behind_a_hold_and_goes_on_when_it_is_released(world: World) -> None:
    one = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann")
    world.register(kind=Kind.FILE, age=3 * DAY)
    hold = world.hold(HoldScope(ids=(one.thread.id,)))
    erase(world, owner="ann")
    run_erasures(world)
    assert world.exists(one)
    release_hold(world.database, hold.hold.id, reason="over", actor=ACTOR, clock=world.clock)
    run_erasures(world)
    assert world.grade(one) == "confirmed"
    assert world.item(one).policy == ERASURE


def test_a_held_erasure_does_not_fill_the_log_or_the_list_of_sweeps(world: World) -> None:
    one = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann")
    world.hold(HoldScope(ids=(one.thread.id,)))
    erase(world, owner="ann")
    for _ in range(5):
        world.clock.move(timedelta(seconds=15))
        world.tick()
    with world.database.read() as db:
        assert not sweeps.page(db, limit=50, policy=ERASURE)


def test_erasures_beyond_the_guard_are_blocked_and_told_once_an_hour(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_flow, "ERASURE_GUARDS", replace(sweep_flow.ERASURE_GUARDS, max_deletes=1))
    threads = [world.register(kind=Kind.FILE, age=3 * DAY, owner="ann") for _ in range(2)]
    erase(world, owner="ann")
    for _ in range(5):
        world.clock.move(timedelta(seconds=15))
        world.tick()
    world.drain()
    assert {world.exists(one) for one in threads} == {True}
    assert len(world.entries("sweep.blocked")) == 1
    world.clock.move(timedelta(hours=1))
    world.tick()
    assert len(world.entries("sweep.blocked")) == 2
