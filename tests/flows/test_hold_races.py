"""Holds against a batch that is being drained, at moments that nobody chose."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from tests.flows.test_late_registrations import is_waiting, only_where_writers_meet
from tests.servers.plugin import Eventually
from tests.world.crash import in_background, until
from tests.world.world import POLICIES, PROJECT, World
from worker.model.decision import HoldScope
from worker.model.ids import ThreadId, jitter
from worker.model.thread import Kind, ThreadState
from worker.store import protections
from worker.store.protections import StoredHold
from worker.store.threads import StoredThread

ROUNDS = {Kind.FILE: 40, Kind.CONVERSATION: 20}
EACH = 4
# How many requests a round sends at most: the hold comes after a random number of them.
REQUESTS = {Kind.FILE: 3 * EACH, Kind.CONVERSATION: 7 * EACH}


@pytest.mark.parametrize("scope", [HoldScope(owners=("ann",)), HoldScope(projects=(PROJECT,))])
def test_workers_that_arm_one_after_another_keep_no_hold_waiting_for_ever(
    world: World, eventually: Eventually, scope: HoldScope
) -> None:
    only_where_writers_meet(world)

    def arm() -> None:
        with world.database.write() as db:
            protections.share(db, {PROJECT})

    with ThreadPoolExecutor(2) as background:
        with world.database.write() as db:
            protections.share(db, {PROJECT})
            holding = background.submit(world.hold, scope)
            eventually(lambda: is_waiting(world))
            arming = background.submit(arm)
            eventually(lambda: is_waiting(world, 2) or arming.done())
            assert not arming.done()
        holding.result(30)
        arming.result(30)


@pytest.mark.parametrize("kind", [Kind.FILE, Kind.CONVERSATION])
def test_no_thread_that_was_held_in_time_is_lost_unnamed(world: World, kind: Kind) -> None:
    # Most of the population goes here, again and again.
    world.rules(POLICIES.replace("min_population: 0", "min_population: 100000"))
    world.register(kind=kind, age=timedelta(days=3))
    lost = saved = 0
    for number in range(ROUNDS[kind]):
        owner = f"round-{number}"
        children = 2 if kind is Kind.CONVERSATION else 0
        threads = [world.register(kind=kind, owner=owner, children=children) for _ in range(EACH)]
        assert world.sweep().planned == EACH
        hold, there = _race(world, owner, threads, after=int(jitter() * REQUESTS[kind]))
        for one in threads:
            gone = not world.exists(one)
            lost, saved = lost + gone, saved + (not gone)
            _judge(world, one, hold, gone=gone, was_there=one.thread.id in there)
    assert lost, "no DELETE came before a hold: the race was none"
    assert saved, "no hold came before a DELETE: the race was none"


def _race(
    world: World, owner: str, threads: list[StoredThread], *, after: int
) -> tuple[StoredHold, set[ThreadId]]:
    """Drain in two threads and place a hold meanwhile; returns it, and what was there when it answered."""
    begun = len(world.sandbox.requests())
    with in_background(world, workers=2) as workers:
        # A round may send fewer requests than that: then both come to their end first.
        until(lambda: len(world.sandbox.requests(begun)) >= after or all(worker.done() for worker in workers))
        hold = world.hold(HoldScope(owners=(owner,)), matter=owner)
        there = {one.thread.id for one in threads if world.exists(one)}
        for worker in workers:
            worker.result(30)
    return hold, there


def _judge(world: World, one: StoredThread, hold: StoredHold, *, gone: bool, was_there: bool) -> None:
    too_late: dict[str, Any] = {named["id"]: named for named in hold.answer["too_late"]}
    named = one.thread.id in too_late or one.thread.id in hold.answer["uncertain"]
    if not gone:
        assert world.state(one) is ThreadState.LIVE
        left = len(world.sandbox.store.children(one.thread.external_id))
        if one.thread.kind is Kind.CONVERSATION and left < 2:
            assert too_late[one.thread.id]["children_deleted"] == 2 - left
        return
    assert not was_there or one.thread.id in hold.answer["uncertain"], "deleted behind the hold's answer"
    assert named or _settled_before(world, one, hold), "deleted during the hold's placing, and not named"


def _settled_before(world: World, one: StoredThread, hold: StoredHold) -> bool:
    order = [
        entry["type"]
        for entry in world.entries()
        if entry.get("subject") == one.thread.id or entry.get("hold") == hold.hold.id
    ]
    return order.index("thread.graded") < order.index("hold.placed")
