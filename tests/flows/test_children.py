"""A conversation's items go before it, or it stays."""

from __future__ import annotations

from datetime import timedelta

from tests.world.world import POLICIES, World, project_document
from worker.model.thread import ThreadState
from worker.model.work import ItemState
from worker.sandbox.faults import Fault, FaultRule
from worker.sandbox.kinds import ObjectKind
from worker.store.threads import StoredThread

DAY = timedelta(days=1)


def conversation(world: World, children: int) -> StoredThread:
    due = world.register(children=children)
    world.register(age=3 * DAY)
    return due


def hours(world: World, count: int) -> None:
    world.sweep()
    world.drain()
    for _ in range(count):
        world.clock.move(timedelta(hours=1, seconds=1))
        world.drain()


def test_items_are_deleted_first_and_then_their_conversation(world: World) -> None:
    due = conversation(world, 3)
    items = [one.id for one in world.sandbox.store.children(due.thread.external_id)]
    hours(world, 0)
    assert (world.grade(due), world.state(due)) == ("confirmed", ThreadState.DELETED)
    deletes = [path.rsplit("/", 1)[1] for path in world.deletes()]
    assert deletes == [*items, due.thread.external_id]
    assert not world.sandbox.store.state().orphaned_items
    stages = [one["stage"] for one in world.entries("delete.intended", due)]
    assert stages == ["children", "container"]


def test_more_items_than_one_page_are_all_deleted(world: World) -> None:
    due = conversation(world, 130)
    hours(world, 0)
    assert world.grade(due) == "confirmed"
    assert not world.sandbox.store.state().orphaned_items


def test_an_empty_conversation_is_deleted_without_a_stage_for_children(world: World) -> None:
    due = conversation(world, 0)
    hours(world, 0)
    assert world.grade(due) == "confirmed"
    assert [one["stage"] for one in world.entries("delete.intended", due)] == ["container"]


def test_an_item_that_will_not_go_leaves_the_conversation_untouched_and_partial(world: World) -> None:
    due = conversation(world, 3)
    stubborn = world.sandbox.store.children(due.thread.external_id)[1].id
    world.sandbox.set_faults([stays(stubborn)])
    hours(world, 1)
    assert world.item(due).state == ItemState.WAITING
    assert world.grade(due) is None
    hours(world, 8)
    assert (world.grade(due), world.state(due)) == ("partial", ThreadState.PARKED)
    assert world.exists(due)
    assert not world.deletes(due.thread.external_id)
    assert [one.id for one in world.sandbox.store.children(due.thread.external_id)] == [stubborn]


def stays(item_id: str) -> FaultRule:
    """Return a fault: the DELETE of this item fails, and it stays."""
    return FaultRule(fault=Fault.ERROR_500, kind=ObjectKind.ITEM, method="DELETE", object_id=item_id)


def test_with_on_partial_delete_the_conversation_goes_but_is_never_called_deleted(world: World) -> None:
    world.policies(POLICIES + project_document(world.sandbox.base_url, extra="on_partial: delete"))
    due = conversation(world, 2)
    world.sandbox.set_faults([stays(world.sandbox.store.children(due.thread.external_id)[0].id)])
    hours(world, 8)
    assert not world.exists(due)
    assert (world.grade(due), world.state(due)) == ("partial", ThreadState.PARKED)


def test_an_item_whose_deletion_is_a_lie_keeps_the_conversation(world: World) -> None:
    due = conversation(world, 2)
    world.faults("lying-200:item@delete")
    hours(world, 8)
    assert (world.grade(due), world.exists(due)) == ("partial", True)
    assert not world.deletes(due.thread.external_id)


def test_a_listing_that_fails_is_no_empty_listing(world: World) -> None:
    due = conversation(world, 2)
    world.faults("error-500:item@get", "html-200:item@get")
    hours(world, 4)
    assert world.exists(due)
    assert len(world.sandbox.store.children(due.thread.external_id)) == 2
    assert not world.deletes()
    assert world.grade(due) is None


def test_a_listing_that_fails_for_good_is_parked_and_not_asked_for_ever(world: World) -> None:
    due = conversation(world, 2)
    world.faults("error-500:item@get")
    hours(world, 12)
    assert (world.grade(due), world.state(due)) == ("unverifiable/provider_error", ThreadState.PARKED)
    assert world.exists(due)


def test_an_item_that_comes_in_while_its_siblings_go_is_deleted_too(world: World) -> None:
    due = conversation(world, 2)
    container = world.sandbox.store.get(ObjectKind.CONVERSATION, due.thread.external_id)
    assert container is not None
    world.before_first_child_delete(lambda: world.sandbox.store.add_children(container, [{"role": "user"}]))
    hours(world, 0)
    assert world.grade(due) == "confirmed"
    assert not world.sandbox.store.state().orphaned_items


def test_a_throttled_item_costs_no_round_and_is_deleted_later(world: World) -> None:
    due = conversation(world, 2)
    world.faults("throttled:item@delete*7")
    world.sweep()
    for _ in range(8):
        world.drain(most=1)
        world.forget_cooldown()
        world.clock.move(timedelta(seconds=30))
    world.drain()
    assert world.item(due).rounds == 0
    assert world.grade(due) == "confirmed"


def test_a_lost_reply_of_an_item_is_settled_by_the_listing(world: World) -> None:
    due = conversation(world, 2)
    world.faults("lost-reply:item@delete*1")
    hours(world, 0)
    assert world.grade(due) == "confirmed"
    assert len(world.deletes()) == 3
