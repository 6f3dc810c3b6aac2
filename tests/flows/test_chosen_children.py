"""Files and vector stores that a producer chose go before their container, and nobody else's with them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.world.chosen import (
    BEFORE_DELETE,
    DAY,
    LOOKED_AT,
    at_file,
    deleted,
    files,
    holding,
    hours,
    kept,
    naming,
    siblings,
    steps,
    there,
    thread_with,
    told,
)
from tests.world.world import POLICIES, World, project_document
from worker.flows import sending
from worker.flows.register import Conflict, Registration, register
from worker.model.decision import HoldScope
from worker.model.errors import Invalid
from worker.model.thread import Kind, ThreadState
from worker.sandbox.kinds import ObjectKind
from worker.store.tables import thread_child


def test_a_chosen_file_is_deleted_before_its_thread_and_one_that_was_not_chosen_stays(world: World) -> None:
    chosen, other = files(world, 2)
    due = thread_with(world, [chosen, other], [chosen])
    hours(world, 0)
    assert (world.grade(due), world.state(due)) == ("confirmed", ThreadState.DELETED)
    assert deleted(world) == [chosen, due.thread.external_id]
    assert there(world, chosen, other) == [False, True]
    assert told(world, due) == {"found": 1, "confirmed": 1, "others": []}
    assert steps(world, due, chosen) == [
        ("before", "present"),
        ("delete", "acknowledged"),
        ("after", "object_absent"),
        ("control", "present"),
    ]
    stages = [(one["stage"], one["children_confirmed"]) for one in world.entries("delete.intended", due)]
    assert stages == [("children", 0), ("container", 1)]
    assert [one["kind"] for one in world.entries("control.probed")] == ["thread", "file"]


def test_a_chosen_vector_store_goes_and_its_files_stay(world: World) -> None:
    [file] = files(world, 1)
    store = holding(world, [file])
    siblings(world, Kind.THREAD, Kind.VECTOR_STORE)
    due = world.register(naming(world, store_ids=[store]), kind=Kind.THREAD, chosen=[store])
    hours(world, 0)
    assert world.grade(due) == "confirmed"
    assert deleted(world) == [store, due.thread.external_id]
    assert there(world, file) == [True]


def test_a_file_is_taken_out_of_its_vector_store_before_it_is_deleted(world: World) -> None:
    chosen, other = files(world, 2)
    store = holding(world, [chosen, other])
    siblings(world, Kind.VECTOR_STORE, Kind.FILE)
    due = world.register(store, kind=Kind.VECTOR_STORE, chosen=[chosen])
    hours(world, 0)
    assert world.grade(due) == "confirmed"
    assert deleted(world) == [f"{store}/{chosen}", chosen, store]
    assert there(world, chosen, other) == [False, True]


def test_a_child_that_is_registered_itself_is_kept_and_named(world: World) -> None:
    shared, own = files(world, 2)
    due = thread_with(world, [shared, own], [shared, own])
    world.register(shared, kind=Kind.FILE, age=3 * DAY)
    hours(world, 0)
    assert world.grade(due) == "confirmed"
    assert there(world, shared, own) == [True, False]
    assert told(world, due) == {"found": 1, "confirmed": 1, "others": [f"{shared} shared_reference"]}
    assert kept(world, due) == {shared: "shared_reference"}


@pytest.mark.parametrize("as_what", ["registered", "chosen"])
def test_a_child_that_a_project_with_another_organisation_needs_is_kept(world: World, as_what: str) -> None:
    [shared] = files(world, 1)
    url = world.sandbox.base_url
    other = project_document(url, name="other", extra="organization: org-1")
    world.policies(POLICIES + project_document(url) + other)
    due = thread_with(world, [shared], [shared])
    if as_what == "registered":
        world.register(shared, kind=Kind.FILE, project="other", tags={"keep": "1"})
    else:
        named = naming(world, [shared])
        world.register(named, kind=Kind.THREAD, project="other", chosen=[shared], tags={"keep": "1"})
    hours(world, 0)
    assert (world.grade(due), there(world, shared)) == ("confirmed", [True])
    assert kept(world, due) == {shared: "shared_reference"}


def test_a_registration_that_was_taken_back_still_keeps_its_object(world: World) -> None:
    [shared] = files(world, 1)
    due = thread_with(world, [shared], [shared])
    world.withdraw(world.register(shared, kind=Kind.FILE, age=3 * DAY))
    hours(world, 0)
    assert (world.grade(due), there(world, shared)) == ("confirmed", [True])


def test_a_file_that_another_live_thread_chose_goes_with_the_last_of_them(world: World) -> None:
    [shared] = files(world, 1)
    first = thread_with(world, [shared], [shared])
    last = world.register(
        naming(world, [shared]), kind=Kind.THREAD, age=3 * DAY, chosen=[shared], tags={"keep": "1"}
    )
    hours(world, 0)
    assert (world.grade(first), there(world, shared)) == ("confirmed", [True])
    assert told(world, first) == {"found": 0, "confirmed": 0, "others": [f"{shared} shared_reference"]}
    world.policies(POLICIES.replace("Exists", "DoesNotExist") + project_document(world.sandbox.base_url))
    world.clock.move(40 * DAY)
    hours(world, 0)
    assert there(world, shared) == [False]
    assert told(world, last)["confirmed"] == 1


def test_threads_of_one_batch_that_share_a_file_leave_it_to_the_last(world: World) -> None:
    [shared] = files(world, 1)
    all_due = [thread_with(world, [shared], [shared]) for _ in range(3)]
    hours(world, 0)
    assert {world.grade(one) for one in all_due} == {"confirmed"}
    assert there(world, shared) == [False]
    assert deleted(world).count(shared) == 1
    assert sorted(told(world, one)["confirmed"] for one in all_due) == [0, 0, 1]


def test_a_thread_and_a_vector_store_of_one_batch_leave_a_shared_file_to_the_later_one(world: World) -> None:
    [shared] = files(world, 1)
    store = holding(world, [shared])
    siblings(world, Kind.THREAD, Kind.FILE, Kind.VECTOR_STORE)
    both = [
        world.register(naming(world, [shared]), kind=Kind.THREAD, chosen=[shared]),
        world.register(store, kind=Kind.VECTOR_STORE, chosen=[shared]),
    ]
    hours(world, 0)
    assert [world.grade(one) for one in both] == ["confirmed", "confirmed"]
    assert there(world, shared) == [False]
    assert sorted(told(world, one)["confirmed"] for one in both) == [0, 1]


@pytest.mark.parametrize("what", ["registered", "chosen elsewhere", "held"])
def test_what_commits_between_listing_and_arming_keeps_the_child(world: World, what: str) -> None:
    [shared] = files(world, 1)
    due = thread_with(world, [shared], [shared])

    def meanwhile() -> None:
        match what:
            case "registered":
                world.register(shared, kind=Kind.FILE, age=3 * DAY)
            case "chosen elsewhere":
                world.register(naming(world, [shared]), kind=Kind.THREAD, age=3 * DAY, chosen=[shared])
            case _:
                answer = world.hold(HoldScope(ids=(shared,))).answer
                assert answer["unknown"] == [shared]

    at_file(world, LOOKED_AT, meanwhile)
    hours(world, 0)
    assert (world.grade(due), there(world, shared)) == ("confirmed", [True])
    assert shared not in deleted(world)
    assert kept(world, due) == {shared: "held" if what == "held" else "shared_reference"}


def test_what_commits_while_the_arming_grows_old_keeps_the_next_child(
    world: World,
) -> None:
    first, second = files(world, 2)
    due = thread_with(world, [first, second], [first, second])

    def meanwhile() -> None:
        world.register(second, kind=Kind.FILE, age=3 * DAY)
        world.clock.jump(timedelta(seconds=sending.ARMED_FOR_SECONDS))

    at_file(world, BEFORE_DELETE, meanwhile)
    hours(world, 0)
    assert there(world, first, second) == [False, True]
    assert kept(world, due) == {second: "shared_reference"}
    assert world.grade(due) == "confirmed"


def test_an_id_that_the_thread_does_not_name_is_kept_and_named(world: World) -> None:
    mine, somebody_elses = files(world, 2)
    due = thread_with(world, [mine], [mine, somebody_elses])
    hours(world, 0)
    assert world.grade(due) == "confirmed"
    assert there(world, mine, somebody_elses) == [False, True]
    assert kept(world, due) == {somebody_elses: "not_named"}


def test_a_file_that_is_not_in_the_vector_store_is_kept_and_named(world: World) -> None:
    mine, somebody_elses = files(world, 2)
    store = holding(world, [mine])
    siblings(world, Kind.VECTOR_STORE, Kind.FILE)
    due = world.register(store, kind=Kind.VECTOR_STORE, chosen=[mine, somebody_elses])
    hours(world, 0)
    assert world.grade(due) == "confirmed"
    assert there(world, mine, somebody_elses) == [False, True]
    assert kept(world, due) == {somebody_elses: "not_named"}


def test_the_second_look_after_a_day_still_tells_of_the_children(world: World) -> None:
    mine, somebody_elses = files(world, 2)
    due = thread_with(world, [mine], [mine, somebody_elses])
    hours(world, 25)
    assert world.grade(due) == "sustained"
    assert told(world, due) == {"found": 1, "confirmed": 1, "others": [f"{somebody_elses} not_named"]}
    assert kept(world, due) == {somebody_elses: "not_named"}


def test_a_child_that_was_gone_before_keeps_nothing_and_is_not_claimed(world: World) -> None:
    [gone] = files(world, 1)
    due = thread_with(world, [gone], [gone])
    assert world.sandbox.store.delete(ObjectKind.FILE, gone)
    hours(world, 0)
    assert world.grade(due) == "confirmed"
    assert told(world, due) == {"found": 0, "confirmed": 0, "others": [f"{gone} absent"]}
    assert gone not in deleted(world)


@pytest.mark.parametrize(
    ("kind", "chosen", "pointer"),
    [
        (Kind.CONVERSATION, ["file-1"], "/children/0"),
        (Kind.FILE, ["file-1"], "/children/0"),
        (Kind.VECTOR_STORE, ["file-1", "vs_1"], "/children/1"),
        (Kind.THREAD, ["file-1", "thread_1"], "/children/1"),
        (Kind.THREAD, ["vs_1", "msg_1"], "/children/1"),
        (Kind.THREAD, ["file-1", "vs_1", "file-1"], "/children/2"),
    ],
    ids=["conversation", "file", "store in a store", "a thread", "a message", "twice"],
)
def test_children_that_a_kind_cannot_have_are_refused(
    world: World, kind: Kind, chosen: list[str], pointer: str
) -> None:
    with pytest.raises(Invalid) as refused:
        world.register(kind=kind, chosen=chosen)
    assert (refused.value.code, refused.value.pointer) == ("invalid_child", pointer)


def test_the_choice_is_part_of_the_registration_and_of_the_log(world: World) -> None:
    due = world.register("thread_1", kind=Kind.THREAD, chosen=["file-1", "vs_1"])
    assert world.entries("thread.registered", due)[0]["children"] == ["file-1", "vs_1"]
    assert world.thread(due).children == ("file-1", "vs_1")
    with pytest.raises(Conflict):
        register_anew(world, ["file-1"])
    with world.database.read() as db:
        rows = db.execute(select(thread_child.c.child, thread_child.c.state)).all()
    assert sorted(map(tuple, rows)) == [("file-1", "chosen"), ("vs_1", "chosen")]


def register_anew(world: World, chosen: Sequence[str]) -> None:
    wanted = Registration(
        external_id="thread_1",
        project="demo-support",
        owner="team",
        children=tuple(chosen),
        given=frozenset({"children"}),
    )
    with world.database.write() as db:
        register(db, wanted, actor="test tenure/0", now=world.clock.now())
