"""Chosen children where something goes wrong: what was not seen is not certified, nor deleted blindly."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.world.chosen import (
    ANSWERED,
    BEFORE_SECOND_LOOK,
    at_file,
    deleted,
    files,
    holding,
    hours,
    kept,
    naming,
    siblings,
    there,
    thread_with,
    told,
)
from tests.world.crash import kill_at
from tests.world.world import POLICIES, World, project_document
from worker.model.decision import HoldScope
from worker.model.thread import Kind, ThreadState
from worker.model.work import ItemState
from worker.sandbox.faults import Fault, FaultRule
from worker.sandbox.kinds import ObjectKind


def test_a_file_that_would_not_leave_its_vector_store_is_not_deleted(world: World) -> None:
    [chosen] = files(world, 1)
    store = holding(world, [chosen])
    siblings(world, Kind.VECTOR_STORE, Kind.FILE)
    due = world.register(store, kind=Kind.VECTOR_STORE, chosen=[chosen])
    world.faults("error-500:vector_store_file@delete")
    hours(world, 8)
    assert (world.grade(due), world.exists(due)) == ("partial", True)
    assert chosen not in deleted(world)
    assert told(world, due) == {"found": 1, "confirmed": 0, "others": [f"{chosen} left"]}


def test_a_file_that_the_thread_no_longer_names_after_a_crash_is_kept(world: World) -> None:
    [chosen] = files(world, 1)
    due = thread_with(world, [chosen], [chosen])
    world.sweep()
    kill_at(world, before_delete=True)
    thread = world.sandbox.store.get(ObjectKind.THREAD, due.thread.external_id)
    assert thread is not None
    world.sandbox.store.update(thread, tool_resources={})
    world.drain()
    assert (world.grade(due), there(world, chosen)) == ("confirmed", [True])
    assert kept(world, due) == {chosen: "not_named"}


def test_a_hold_between_child_and_container_keeps_the_container(world: World) -> None:
    [chosen] = files(world, 1)
    due = thread_with(world, [chosen], [chosen])
    answers: list[dict[str, Any]] = []

    def hold() -> None:
        world.clock.hurry()
        answers.append(dict(world.hold(HoldScope(ids=(due.thread.id,))).answer))

    at_file(world, BEFORE_SECOND_LOOK, hold)
    hours(world, 0)
    assert there(world, chosen) == [False]
    assert (world.exists(due), world.state(due)) == (True, ThreadState.LIVE)
    assert world.item(due).state == ItemState.SPARED
    assert answers[0]["too_late"] == [{"id": due.thread.id, "what": "children", "children_deleted": 1}]
    assert world.entries("delete.spared", due)[0]["children_deleted"] == 1


def test_a_hold_on_a_child_waits_for_the_stage_that_deletes_it(world: World) -> None:
    [chosen] = files(world, 1)
    due = thread_with(world, [chosen], [chosen])
    answers: list[dict[str, Any]] = []

    def hold() -> None:
        world.clock.hurry()
        answers.append(dict(world.hold(HoldScope(ids=(chosen,))).answer))

    at_file(world, BEFORE_SECOND_LOOK, hold)
    hours(world, 0)
    assert answers[0]["too_late"] == [{"id": due.thread.id, "what": "children", "children_deleted": 1}]


def test_where_the_route_of_files_is_gone_nothing_is_certified_and_nothing_lost(world: World) -> None:
    [chosen] = files(world, 1)
    due = thread_with(world, [chosen], [chosen])
    world.faults("endpoint-retired:file")
    hours(world, 8)
    assert (world.grade(due), world.state(due)) == ("partial", ThreadState.PARKED)
    assert world.exists(due)
    assert there(world, chosen) == [True]
    assert deleted(world) == []


def test_a_route_that_goes_after_the_childs_delete_confirms_nothing(world: World) -> None:
    [chosen] = files(world, 1)
    due = thread_with(world, [chosen], [chosen])
    at_file(world, ANSWERED, lambda: world.faults("object-404:file@get"))
    hours(world, 8)
    # Every file answers 404 by its name now: without a control that is no sight of this one being gone.
    assert (world.grade(due), world.exists(due)) == ("partial", True)
    assert told(world, due)["confirmed"] == 0


def test_a_delete_that_is_a_lie_leaves_the_child_and_keeps_the_thread(world: World) -> None:
    [chosen] = files(world, 1)
    due = thread_with(world, [chosen], [chosen])
    world.faults("lying-200:file@delete")
    hours(world, 8)
    assert (world.grade(due), world.exists(due)) == ("partial", True)
    assert told(world, due) == {"found": 1, "confirmed": 0, "others": [f"{chosen} left"]}


def test_a_lost_reply_of_a_childs_delete_is_settled_by_the_next_read(world: World) -> None:
    [chosen] = files(world, 1)
    due = thread_with(world, [chosen], [chosen])
    world.faults("lost-reply:file@delete*1")
    hours(world, 0)
    assert world.grade(due) == "confirmed"
    assert deleted(world).count(chosen) == 1
    assert told(world, due)["confirmed"] == 1


def test_a_crash_after_a_childs_delete_leads_to_no_second_one(world: World) -> None:
    [chosen] = files(world, 1)
    due = thread_with(world, [chosen], [chosen])
    world.sweep()
    kill_at(world, after_delete=True)
    assert there(world, chosen) == [False]
    world.drain()
    assert world.grade(due) == "confirmed"
    assert deleted(world) == [chosen, due.thread.external_id]
    assert told(world, due)["confirmed"] == 1


def test_a_crash_after_a_childs_delete_without_a_control_confirms_nothing(world: World) -> None:
    [chosen] = files(world, 1)
    siblings(world, Kind.THREAD)
    due = world.register(naming(world, [chosen]), kind=Kind.THREAD, chosen=[chosen])
    world.sweep()
    kill_at(world, after_delete=True)
    for _ in range(8):
        world.drain()
        world.clock.move(timedelta(hours=1, seconds=1))
    # A canary would prove the route only, and this pass never saw the file.
    assert (world.grade(due), world.exists(due)) == ("partial", True)
    assert told(world, due) == {"found": 1, "confirmed": 0, "others": [f"{chosen} left"]}


def test_a_crash_between_taking_a_file_out_and_deleting_it_does_not_forget_the_file(world: World) -> None:
    [chosen] = files(world, 1)
    store = holding(world, [chosen])
    siblings(world, Kind.VECTOR_STORE, Kind.FILE)
    due = world.register(store, kind=Kind.VECTOR_STORE, chosen=[chosen])
    world.sweep()
    kill_at(world, before_delete=True)
    assert deleted(world) == [f"{store}/{chosen}"]
    world.drain()
    assert there(world, chosen) == [False]
    assert (world.grade(due), told(world, due)["confirmed"]) == ("confirmed", 1)


def test_a_crash_after_the_containers_delete_still_tells_of_its_children(world: World) -> None:
    mine, other = files(world, 2)
    due = thread_with(world, [mine], [mine, other])
    world.sweep()
    kill_at(world, after_delete=True)  # the file's
    kill_at(world, at_after=True)  # the thread's
    world.drain()
    assert world.grade(due) == "confirmed"
    assert told(world, due) == {"found": 1, "confirmed": 1, "others": [f"{other} not_named"]}


def test_with_on_partial_delete_the_thread_goes_and_is_never_called_deleted(world: World) -> None:
    world.policies(POLICIES + project_document(world.sandbox.base_url, extra="on_partial: delete"))
    stubborn, willing = files(world, 2)
    due = thread_with(world, [stubborn, willing], [stubborn, willing])
    world.sandbox.set_faults(
        [FaultRule(fault=Fault.ERROR_500, kind=ObjectKind.FILE, method="DELETE", object_id=stubborn)]
    )
    hours(world, 8)
    assert (world.exists(due), world.grade(due)) == (False, "partial")
    assert there(world, stubborn, willing) == [True, False]
    assert told(world, due) == {"found": 2, "confirmed": 1, "others": [f"{stubborn} left"]}


def test_a_canary_supports_a_child_that_this_pass_saw(world: World) -> None:
    [chosen] = files(world, 1)
    siblings(world, Kind.THREAD)
    due = world.register(naming(world, [chosen]), kind=Kind.THREAD, chosen=[chosen])
    hours(world, 0)
    assert (world.grade(due), told(world, due)["confirmed"]) == ("confirmed", 1)


def test_a_throttled_child_costs_no_round_and_goes_later(world: World) -> None:
    [chosen] = files(world, 1)
    due = thread_with(world, [chosen], [chosen])
    world.faults("throttled:file@delete*4")
    world.sweep()
    for _ in range(5):
        world.drain(most=1)
        world.forget_cooldown()
        world.clock.move(timedelta(seconds=30))
    world.drain()
    assert world.item(due).rounds == 0
    assert (world.grade(due), there(world, chosen)) == ("confirmed", [False])


def test_a_file_that_was_taken_out_and_then_throttled_is_not_forgotten(world: World) -> None:
    [chosen] = files(world, 1)
    store = holding(world, [chosen])
    siblings(world, Kind.VECTOR_STORE, Kind.FILE)
    due = world.register(store, kind=Kind.VECTOR_STORE, chosen=[chosen])
    world.faults("throttled:file@delete*1")
    world.sweep()
    world.drain(most=1)
    assert (there(world, chosen), world.item(due).state) == ([True], ItemState.WAITING)
    world.forget_cooldown()
    world.clock.move(timedelta(minutes=1))
    world.drain()
    assert (world.grade(due), there(world, chosen)) == ("confirmed", [False])
    assert deleted(world) == [f"{store}/{chosen}", chosen, chosen, store]


def test_children_of_a_thread_that_vanished_are_left_and_named(world: World) -> None:
    [chosen] = files(world, 1)
    due = thread_with(world, [chosen], [chosen])
    world.vanish(due)
    hours(world, 0)
    assert (world.grade(due), there(world, chosen)) == ("absent", [True])
    assert told(world, due)["others"] == [f"{chosen} chosen"]
