"""Files and vector stores that a producer chose go before their container, and nobody else's with them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.world.crash import kill_at
from tests.world.stepping import Passing
from tests.world.world import POLICIES, World, project_document
from worker.flows import sending
from worker.flows.register import Conflict, Registration, register
from worker.model.decision import HoldScope
from worker.model.errors import Invalid
from worker.model.evidence import Observation
from worker.model.thread import Kind, ThreadState
from worker.model.work import ItemState
from worker.providers.base import Provider
from worker.sandbox.faults import Fault, FaultRule
from worker.sandbox.kinds import ObjectKind
from worker.store.thread_child import thread_child
from worker.store.threads import StoredThread

DAY = timedelta(days=1)


def files(world: World, count: int) -> list[str]:
    return [world.make(Kind.FILE) for _ in range(count)]


def naming(world: World, file_ids: Sequence[str] = (), store_ids: Sequence[str] = ()) -> str:
    """Make a thread that names these files and vector stores in its tool_resources."""
    named = {
        "code_interpreter": {"file_ids": list(file_ids)},
        "file_search": {"vector_store_ids": list(store_ids)},
    }
    at = int((world.clock.now() - 40 * DAY).timestamp())
    made = world.sandbox.store.create(
        ObjectKind.THREAD, fields={"metadata": {}, "tool_resources": named}, created_at=at
    )
    return made.id


def holding(world: World, file_ids: Sequence[str]) -> str:
    """Make a vector store with these files in it."""
    store = world.sandbox.store
    made = store.get(ObjectKind.VECTOR_STORE, world.make(Kind.VECTOR_STORE))
    assert made is not None
    for one in file_ids:
        file = store.get(ObjectKind.FILE, one)
        assert file is not None
        store.attach(made, file)
    return made.id


def siblings(world: World, *kinds: Kind) -> None:
    """Register a young thread of each kind: what a control reads."""
    for kind in kinds:
        world.register(kind=kind, age=3 * DAY)


def thread_with(world: World, named: Sequence[str], chosen: Sequence[str]) -> StoredThread:
    siblings(world, Kind.THREAD, Kind.FILE)
    return world.register(naming(world, named), kind=Kind.THREAD, chosen=chosen)


def hours(world: World, count: int) -> None:
    world.sweep()
    world.drain()
    for _ in range(count):
        world.clock.move(timedelta(hours=1, seconds=1))
        world.drain()


def there(world: World, *file_ids: str) -> list[bool]:
    return [world.sandbox.store.exists(ObjectKind.FILE, one) for one in file_ids]


def deleted(world: World) -> list[str]:
    """Return what DELETE was sent to, in order: a vector store's files as `store/file`."""
    sent = []
    for path in world.deletes():
        parts = path.split("/")
        sent.append("/".join((parts[-3], parts[-1])) if parts[-2] == "files" and "vs_" in path else parts[-1])
    return sent


def told(world: World, due: StoredThread) -> dict[str, Any]:
    """Return what the newest grade's entry says of the chosen children."""
    found: dict[str, Any] = world.entries("thread.graded", due)[-1]["children_chosen"]
    return found


def steps(world: World, due: StoredThread, child: str) -> list[tuple[str, str]]:
    """Return the evidence's observations of one child."""
    evidence = world.thread(due).evidence
    assert evidence is not None
    return [(one["step"], one["class"]) for one in evidence["observations"] if one["child"] == child]


def kept(world: World, due: StoredThread) -> dict[str, str]:
    evidence = world.thread(due).evidence
    assert evidence is not None
    return {one["child"]: one["reason"] for one in evidence.get("children_kept", [])}


class Before(Passing):
    """Does something once, before the first DELETE of one kind is sent."""

    def __init__(self, inner: Provider, kind: Kind, then: Any) -> None:
        super().__init__(inner)
        self.kind, self.then = kind, then

    async def delete(self, kind: Kind, external_id: str, *, timeout: float) -> Observation:
        if kind is self.kind and self.then is not None:
            then, self.then = self.then, None
            then()
        return await self.inner.delete(kind, external_id, timeout=timeout)


class AfterNamed(Passing):
    """Does something once, when the container has told what it names."""

    def __init__(self, inner: Provider, then: Any) -> None:
        super().__init__(inner)
        self.then = then

    async def read(self, kind: Kind, external_id: str, **more: Any) -> Observation:
        seen = await self.inner.read(kind, external_id, **more)
        if kind is Kind.FILE and self.then is not None:
            then, self.then = self.then, None
            then()
        return seen


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


def test_a_child_that_is_registered_itself_is_kept_and_named(world: World) -> None:
    shared, own = files(world, 2)
    due = thread_with(world, [shared, own], [shared, own])
    world.register(shared, kind=Kind.FILE, age=3 * DAY)
    hours(world, 0)
    assert world.grade(due) == "confirmed"
    assert there(world, shared, own) == [True, False]
    assert told(world, due) == {"found": 1, "confirmed": 1, "others": [f"{shared} shared_reference"]}
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

    world.wrap = lambda inner: AfterNamed(inner, meanwhile).provider
    hours(world, 0)
    assert (world.grade(due), there(world, shared)) == ("confirmed", [True])
    assert shared not in deleted(world)
    assert kept(world, due) == {shared: "held" if what == "held" else "shared_reference"}


def test_what_commits_while_the_arming_grows_old_keeps_the_next_child(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "ARMED_FOR_SECONDS", 0.0)
    first, second = files(world, 2)
    due = thread_with(world, [first, second], [first, second])
    world.wrap = lambda inner: (
        Before(inner, Kind.FILE, lambda: world.register(second, kind=Kind.FILE, age=3 * DAY)).provider
    )
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


def test_the_second_look_after_a_day_still_tells_of_the_children(world: World) -> None:
    mine, somebody_elses = files(world, 2)
    due = thread_with(world, [mine], [mine, somebody_elses])
    hours(world, 25)
    assert world.grade(due) == "sustained"
    assert told(world, due) == {"found": 1, "confirmed": 1, "others": [f"{somebody_elses} not_named"]}
    assert kept(world, due) == {somebody_elses: "not_named"}


def test_a_hold_between_child_and_container_keeps_the_container(world: World) -> None:
    [chosen] = files(world, 1)
    due = thread_with(world, [chosen], [chosen])
    answers: list[dict[str, Any]] = []

    def hold() -> None:
        world.clock.hurry()
        answers.append(dict(world.hold(HoldScope(ids=(due.thread.id,))).answer))

    world.wrap = lambda inner: AtChildGone(inner, hold).provider
    hours(world, 0)
    assert there(world, chosen) == [False]
    assert (world.exists(due), world.state(due)) == (True, ThreadState.LIVE)
    assert world.item(due).state == ItemState.SPARED
    assert answers[0]["too_late"] == [{"id": due.thread.id, "what": "children", "children_deleted": 1}]
    assert world.entries("delete.spared", due)[0]["children_deleted"] == 1


class AtChildGone(Passing):
    """Does something once, when a file is read after its DELETE: its answer is committed by then."""

    def __init__(self, inner: Provider, then: Any) -> None:
        super().__init__(inner)
        self.then = then

    async def read(self, kind: Kind, external_id: str, **more: Any) -> Observation:
        if kind is Kind.FILE and more["step"] == "after" and self.then is not None:
            then, self.then = self.then, None
            then()
        return await self.inner.read(kind, external_id, **more)


def test_a_hold_on_a_child_waits_for_the_stage_that_deletes_it(world: World) -> None:
    [chosen] = files(world, 1)
    due = thread_with(world, [chosen], [chosen])
    answers: list[dict[str, Any]] = []

    def hold() -> None:
        world.clock.hurry()
        answers.append(dict(world.hold(HoldScope(ids=(chosen,))).answer))

    world.wrap = lambda inner: AtChildGone(inner, hold).provider
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
    world.wrap = lambda inner: Retiring(inner, lambda: world.faults("object-404:file@get")).provider
    hours(world, 8)
    # Every file answers 404 by its name now: without a control that is no sight of this one being gone.
    assert (world.grade(due), world.exists(due)) == ("partial", True)
    assert told(world, due)["confirmed"] == 0


class Retiring(Passing):
    """Does something when a file's DELETE has been answered."""

    def __init__(self, inner: Provider, then: Any) -> None:
        super().__init__(inner)
        self.then = then

    async def delete(self, kind: Kind, external_id: str, *, timeout: float) -> Observation:
        answer = await self.inner.delete(kind, external_id, timeout=timeout)
        if kind is Kind.FILE:
            self.then()
        return answer


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


def test_a_child_that_was_gone_before_keeps_nothing_and_is_not_claimed(world: World) -> None:
    [gone] = files(world, 1)
    due = thread_with(world, [gone], [gone])
    assert world.sandbox.store.delete(ObjectKind.FILE, gone)
    hours(world, 0)
    assert world.grade(due) == "confirmed"
    assert told(world, due) == {"found": 0, "confirmed": 0, "others": [f"{gone} absent"]}
    assert gone not in deleted(world)


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
        register(db, wanted, actor="test", now=world.clock.now())
