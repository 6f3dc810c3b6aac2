"""A worker may end anywhere: one terminal state, the right grade, no second DELETE of what is gone."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from tests.world.crash import gate, in_background, kill_at, wait
from tests.world.world import World
from worker.flows import sweep as flow
from worker.flows.claim import Batch, claim
from worker.flows.drain import drain
from worker.model.decision import HoldScope
from worker.model.thread import Kind, ThreadState
from worker.model.work import ItemState, SweepState
from worker.store import sweeps

DAY = timedelta(days=1)
DELETED = {"confirmed", "inferred", "sustained"}


def terminal_grades(world: World) -> list[str]:
    return [one["grade"] for one in world.entries("thread.graded") if one["grade"] in DELETED]


def test_killed_between_arming_and_sending_the_thread_is_deleted_once_by_the_next_worker(
    world: World,
) -> None:
    due = world.register()
    world.register(age=3 * DAY)
    world.sweep()
    kill_at(world, before_delete=True)
    assert world.exists(due)
    assert not world.deletes()
    world.drain()
    assert (world.grade(due), world.state(due)) == ("confirmed", ThreadState.DELETED)
    assert len(world.deletes(due.thread.external_id)) == 1
    assert terminal_grades(world) == ["confirmed"]


def test_killed_between_delete_and_its_record_the_deletion_is_inferred(world: World) -> None:
    due = world.register()
    world.register(age=3 * DAY)
    world.sweep()
    kill_at(world, after_delete=True)
    assert not world.exists(due)
    world.drain()
    assert (world.grade(due), world.state(due)) == ("inferred", ThreadState.DELETED)
    assert len(world.deletes(due.thread.external_id)) == 1
    assert terminal_grades(world) == ["inferred"]


def test_killed_between_the_recorded_answer_and_settling_the_deletion_is_confirmed(world: World) -> None:
    due = world.register()
    world.register(age=3 * DAY)
    world.sweep()
    kill_at(world, at_after=True)
    world.drain()
    assert (world.grade(due), world.state(due)) == ("confirmed", ThreadState.DELETED)
    assert len(world.deletes(due.thread.external_id)) == 1
    assert terminal_grades(world) == ["confirmed"]


def test_killed_while_the_request_was_on_the_wire_the_deletion_is_inferred(world: World) -> None:
    due = world.register(kind=Kind.THREAD)
    world.register(kind=Kind.THREAD, age=3 * DAY)
    world.faults("slow@delete")
    world.sweep()

    async def cancelled_in_flight() -> None:
        tools = world.tools()
        task = asyncio.create_task(drain(tools, world.credential))
        await asyncio.to_thread(
            world.sandbox.wait_for, lambda log: any(one.method == "DELETE" for one in log)
        )
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await tools.close()

    asyncio.run(cancelled_in_flight())
    world.sandbox.wait_for(lambda log: any(one.method == "DELETE" and one.status == 200 for one in log))
    world.faults()
    world.clock.move(world.lease.length + timedelta(seconds=1))
    world.drain()
    assert (world.grade(due), world.state(due)) == ("inferred", ThreadState.DELETED)
    assert len(world.deletes(due.thread.external_id)) == 1


def test_after_a_crash_a_thread_that_is_still_there_is_not_called_deleted_for_it(world: World) -> None:
    due = world.register()
    world.register(age=3 * DAY)
    world.sweep()
    kill_at(world, before_delete=True)
    world.faults("error-500@delete")
    for _ in range(8):
        world.drain()
        world.clock.move(timedelta(hours=1))
    assert (world.grade(due), world.state(due)) == ("still_present", ThreadState.PARKED)
    assert terminal_grades(world) == []


def test_a_hold_placed_after_a_crash_keeps_the_next_worker_from_deleting(world: World) -> None:
    due = world.register()
    world.register(age=3 * DAY)
    world.sweep()
    kill_at(world, before_delete=True)
    world.clock.hurry()
    answer = world.hold(HoldScope(ids=(due.thread.id,))).answer
    assert answer["uncertain"] == [due.thread.id]
    world.drain()
    assert (world.state(due), world.exists(due)) == (ThreadState.LIVE, True)
    assert world.item(due).state == ItemState.SPARED
    assert not world.deletes()


def test_a_late_worker_changes_nothing_and_leaves_its_result_in_the_log(world: World) -> None:
    due = world.register()
    world.register(age=3 * DAY)
    world.sweep()
    gates = gate(world, after_delete=True)
    with in_background(world) as (late,):
        world.sandbox.wait_for(lambda log: any(one.method == "DELETE" for one in log))
        wait(gates[0].reached)
        world.clock.move(world.lease.length + timedelta(seconds=1))
        world.wrap = lambda inner: inner
        world.drain()
        settled = world.thread(due)
        assert settled.grade == "inferred"
        gates[0].open()
        late.result(10)
    assert world.thread(due) == settled
    late_results = world.entries("delete.late_result")
    assert {one["subject"] for one in late_results} == {due.thread.id}
    assert terminal_grades(world) == ["inferred"]
    assert len(world.deletes(due.thread.external_id)) == 1


def test_a_worker_whose_lease_ran_out_before_arming_sends_nothing(world: World) -> None:
    due = world.register()
    world.register(age=3 * DAY)
    world.sweep()
    world.faults("slow@get*1")
    with in_background(world) as (late,):
        world.sandbox.wait_for(lambda log: len(log) == 1)
        with_fence = claim_past_the_lease(world)
        late.result(10)
    assert with_fence == 1
    assert not world.deletes()
    assert world.exists(due)


def test_a_late_worker_moves_no_thread_that_another_has_claimed(world: World) -> None:
    """The thread is live still, so only the fence tells that the result comes too late."""
    due = world.register()
    world.register(age=3 * DAY)
    world.sweep()
    gates = gate(world, at_after=True)
    with in_background(world) as (late,):
        world.sandbox.wait_for(lambda log: any(one.method == "DELETE" for one in log))
        wait(gates[0].reached)
        assert claim_past_the_lease(world) == 1
        claimed, item = world.thread(due), world.item(due)
        gates[0].open()
        late.result(10)
    assert world.thread(due) == claimed
    assert world.state(due) is ThreadState.LIVE
    assert world.item(due) == item
    assert {one["subject"] for one in world.entries("delete.late_result")} == {due.thread.id}
    assert not world.entries("thread.graded")


def test_a_late_worker_that_saw_nothing_repeats_no_answer_of_an_earlier_claim(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands still right after its claim; what it was told of the claim before is not its own result."""
    due = world.register()
    world.register(age=3 * DAY)
    world.sweep()
    world.faults("lost-request@delete")
    world.drain()
    assert world.state(due) is ThreadState.LIVE
    world.faults()
    world.clock.move(timedelta(hours=1))
    world.forget_cooldown()

    def stalled(*args: Any, **named: Any) -> Batch:
        mine = claim(*args, **named)
        world.clock.jump(world.lease.length + timedelta(seconds=1))
        assert claim(*args, **named).items
        return mine

    monkeypatch.setattr("worker.flows.drain.claim", stalled)
    world.drain(most=1)
    assert world.state(due) is ThreadState.LIVE
    assert not world.entries("delete.late_result")


def claim_past_the_lease(world: World) -> int:
    """Let the lease run out and take the item; returns how many were taken."""
    world.clock.move(world.lease.length + timedelta(seconds=1))
    batch = claim(world.database, world.credential, by="worker-2", lease=world.lease, clock=world.clock)
    return len(batch.items)


def test_two_workers_at_once_never_send_two_deletes_for_a_thread(world: World) -> None:
    due = [world.register(kind=Kind.FILE) for _ in range(40)]
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.sweep()
    world.sweep()
    with in_background(world, workers=3) as workers:
        told = [worker.result(30) for worker in workers]
    assert len(told) == 3
    world.clock.move(timedelta(minutes=1, seconds=1))
    world.drain()
    sent = Counter(path.rsplit("/", 1)[1] for path in world.deletes())
    assert set(sent) == {one.thread.external_id for one in due}
    assert set(sent.values()) == {1}
    assert {world.state(one) for one in due} == {ThreadState.DELETED}
    graded = Counter(one["subject"] for one in world.entries("thread.graded") if one["grade"] in DELETED)
    assert set(graded.values()) == {1}


def test_a_sweep_that_crashed_while_releasing_is_carried_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = [world.register(kind=Kind.FILE) for _ in range(5)]
    monkeypatch.setattr(flow, "_PAGE", 2)
    released = sweeps.release
    calls: list[int] = []

    def crash_at_the_second_page(*given: Any, **named: Any) -> int:
        calls.append(1)
        if len(calls) == 2:
            message = "the process ended here"
            raise SystemError(message)
        return released(*given, **named)

    monkeypatch.setattr(sweeps, "release", crash_at_the_second_page)
    with pytest.raises(SystemError):
        world.sweep()
    monkeypatch.setattr(sweeps, "release", released)
    world.clock.move(timedelta(minutes=3))
    assert (
        flow.resume(world.database, actor="test tenure/0", clock=world.clock, older_than=timedelta(minutes=2))
        == 1
    )
    assert {world.item(one).state for one in due} == {ItemState.PLANNED}
    with world.database.read() as db:
        [only] = sweeps.page(db, limit=5)
    assert (only.state, only.released, only.planned) == (SweepState.RELEASED, 5, 5)
