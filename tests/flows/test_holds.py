"""A hold that has answered protects; what left before its answer is named in it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.world.crash import gate, in_background, until, wait
from tests.world.world import ACTOR, POLICIES, PROJECT, World, project_document
from worker.flows import sending
from worker.flows.arm import Verdict, arm
from worker.flows.hold import AlreadyReleased, release_hold
from worker.flows.in_flight import wait_for_armed
from worker.model.decision import HoldScope, TagSelector
from worker.model.errors import Invalid
from worker.model.thread import Kind, ThreadState
from worker.model.work import ItemState
from worker.store import protections
from worker.store.protections import StoredHold
from worker.store.tables import attempt
from worker.store.threads import StoredThread

DAY = timedelta(days=1)


def release(world: World, hold: StoredHold) -> None:
    release_hold(world.database, hold.hold.id, reason="settled", actor=ACTOR, clock=world.clock)


def kept(world: World, stored: StoredThread) -> bool:
    return world.exists(stored) and world.state(stored) is ThreadState.LIVE


def test_a_hold_placed_before_the_sweep_keeps_the_thread_out_of_the_plan(world: World) -> None:
    held, other = world.register(), world.register()
    world.register(age=3 * DAY)
    answer = world.hold(HoldScope(ids=(held.thread.external_id,))).answer
    assert (answer["matched"], answer["unknown"], answer["too_late"], answer["uncertain"]) == (1, [], [], [])
    assert world.sweep().planned == 1
    world.drain()
    assert kept(world, held)
    assert world.grade(other) == "confirmed"


def test_a_hold_placed_after_the_release_spares_the_thread_and_says_so(world: World) -> None:
    held = world.register()
    world.register(age=3 * DAY)
    world.sweep()
    world.hold(HoldScope(ids=(held.thread.id,)))
    world.drain()
    assert kept(world, held)
    assert world.item(held).state == ItemState.SPARED
    [entry] = world.entries("delete.spared", held)
    assert "hold:case-7" in entry["reason"]
    assert not world.deletes()


def test_releasing_the_hold_lets_the_next_sweep_delete(world: World) -> None:
    held = world.register()
    world.register(age=3 * DAY)
    hold = world.hold(HoldScope(ids=(held.thread.id,)))
    assert world.sweep().planned == 0
    release(world, hold)
    with pytest.raises(AlreadyReleased):
        release(world, hold)
    assert world.sweep().planned == 1
    world.drain()
    assert world.grade(held) == "confirmed"


def test_one_of_two_holds_is_enough(world: World) -> None:
    held = world.register()
    world.register(age=3 * DAY)
    first = world.hold(HoldScope(ids=(held.thread.id,)), matter="case-1")
    world.hold(HoldScope(owners=("te*",)), matter="case-2")
    release(world, first)
    assert world.sweep().planned == 0
    assert kept(world, held)


@pytest.mark.parametrize(
    "scope",
    [
        HoldScope(owners=("team-?/*",)),
        HoldScope(tags=(TagSelector(key="case", operator="In", values=("7",)),)),
        HoldScope(projects=(PROJECT,)),
        HoldScope(projects=("demo-*",), owners=("team-a/ann",)),
    ],
    ids=["owner-glob", "tag", "project", "project-glob-and-owner"],
)
def test_a_hold_catches_what_is_registered_and_what_comes_later(world: World, scope: HoldScope) -> None:
    def one() -> StoredThread:
        return world.register(owner="team-a/ann", tags={"case": "7"})

    before = one()
    world.sweep()
    assert world.hold(scope).answer["matched"] == 1
    after = one()
    world.sweep()
    world.drain()
    assert kept(world, before)
    assert kept(world, after)
    assert not world.deletes()


def test_a_hold_on_an_id_that_nobody_registered_catches_it_later(world: World) -> None:
    external_id = world.make()
    answer = world.hold(HoldScope(ids=(external_id,))).answer
    assert (answer["matched"], answer["unknown"]) == (0, [external_id])
    held = world.register(external_id)
    world.sweep()
    world.drain()
    assert kept(world, held)


@pytest.mark.parametrize("fits", [True, False], ids=["one-statement", "one-by-one"])
def test_a_hold_tells_how_many_live_threads_it_and_others_keep_however_many_holds_there_are(
    world: World, monkeypatch: pytest.MonkeyPatch, *, fits: bool
) -> None:
    if not fits:
        monkeypatch.setattr("worker.store.scope.fits_one_statement", lambda _holds: False)
    ann = [world.register(owner="team-a/ann", tags={"case": "7"}) for _ in range(3)]
    world.register(owner="team-b/bob")
    world.withdraw(ann[2])
    world.hold(HoldScope(ids=(ann[0].thread.external_id,)), matter="other")
    wide = HoldScope(owners=("team-?/*",), tags=(TagSelector(key="case", operator="In", values=("7",)),))
    hold = world.hold(wide)
    assert hold.answer["live"] == {
        "before": {"threads": 2, "held": 1},
        "after": {"threads": 2, "held": 2},
    }
    released = release_hold(world.database, hold.hold.id, reason="settled", actor=ACTOR, clock=world.clock)
    assert released.answer["live_at_release"] == {
        "before": {"threads": 2, "held": 2},
        "after": {"threads": 2, "held": 1},
    }
    with world.database.read() as db:
        assert protections.get_hold(db, hold.hold.id) == released


def test_a_release_while_the_hold_is_still_being_placed_loses_neither_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.register(owner="ann")
    placed: list[StoredHold] = []

    def meanwhile(*given: Any, **named: Any) -> Any:
        with world.database.read() as db:
            (standing,) = protections.list_holds(db, active_only=True)
        placed.append(standing)
        release(world, standing)
        return wait_for_armed(*given, **named)

    monkeypatch.setattr("worker.flows.hold.wait_for_armed", meanwhile)
    told = world.hold(HoldScope(owners=("ann",)))
    assert told.hold.id == placed[0].hold.id
    assert told.released_at is not None
    assert told.answer["live"]["after"] == {"threads": 1, "held": 0}
    assert told.answer["live_at_release"]["before"] == {"threads": 1, "held": 1}


@pytest.mark.parametrize("scope", [HoldScope(), HoldScope(owners=("[ab]",))], ids=["empty", "bracket"])
def test_a_hold_that_would_protect_nothing_is_refused(world: World, scope: HoldScope) -> None:
    with pytest.raises(Invalid):
        world.hold(scope)


def test_a_hold_that_answers_during_a_delete_names_it_as_too_late(world: World) -> None:
    due = world.register()
    world.register(age=3 * DAY)
    world.faults("slow@delete")
    world.sweep()
    with in_background(world) as (worker,):
        world.sandbox.wait_for(lambda log: any(one.method == "DELETE" for one in log))
        answer = world.hold(HoldScope(ids=(due.thread.id,))).answer
        assert answer["too_late"] == [{"id": due.thread.id, "what": "thread", "children_deleted": 0}]
        assert answer["uncertain"] == []
        assert not world.exists(due)
        worker.result(10)
    assert world.grade(due) == "confirmed"


def test_a_hold_that_cannot_learn_how_a_delete_ended_calls_it_uncertain(world: World) -> None:
    due = world.register()
    world.register(age=3 * DAY)
    world.sweep()
    gates = gate(world, after_delete=True)
    with in_background(world) as (worker,):
        world.sandbox.wait_for(lambda log: any(one.method == "DELETE" for one in log))
        wait(gates[0].reached)
        world.clock.hurry()
        answer = world.hold(HoldScope(ids=(due.thread.id,))).answer
        gates[0].open()
        worker.result(10)
    assert (answer["too_late"], answer["uncertain"]) == ([], [due.thread.id])


def test_a_hold_between_children_and_container_keeps_the_container(world: World) -> None:
    due = world.register(children=3)
    world.register(age=3 * DAY)
    world.sweep()
    world.faults("slow:item@delete")
    with in_background(world) as (worker,):
        world.sandbox.wait_for(lambda log: any(one.method == "DELETE" for one in log))
        answer = world.hold(HoldScope(ids=(due.thread.id,))).answer
        worker.result(20)
    [named] = answer["too_late"]
    assert (named["id"], named["what"], named["children_deleted"]) == (due.thread.id, "children", 3)
    assert kept(world, due)
    [spared] = world.entries("delete.spared", due)
    assert spared["children_deleted"] == 3
    assert not world.deletes(due.thread.external_id)


def test_an_arming_that_is_five_seconds_old_is_asked_again_between_two_children(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "ARMED_FOR_SECONDS", 0.2)
    due = world.register(children=4)
    world.register(age=3 * DAY)
    world.sweep()
    world.faults("slow:item@delete")
    with in_background(world) as (worker,):
        world.sandbox.wait_for(lambda log: any(one.method == "DELETE" for one in log))
        answer = world.hold(HoldScope(ids=(due.thread.id,))).answer
        left = len(world.sandbox.store.children(due.thread.external_id))
        worker.result(20)
    assert answer["too_late"] == [{"id": due.thread.id, "what": "children", "children_deleted": 4 - left}]
    assert len(world.sandbox.store.children(due.thread.external_id)) == left > 0
    assert kept(world, due)


def test_a_delete_that_a_hold_kept_from_leaving_is_neither_too_late_nor_uncertain(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "ARMED_FOR_SECONDS", 0.1)
    project = project_document(world.sandbox.base_url).replace("concurrency: 16", "concurrency: 1")
    world.policies(POLICIES + project)
    # While one is armed and waits for the only seat, the other one's read has it.
    both = [world.register(kind=Kind.FILE) for _ in range(2)]
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.faults("slow@get*2")
    world.sweep()
    with in_background(world) as (worker,):
        until(lambda: bool(world.entries("delete.intended")))
        armed = world.entries("delete.intended")[0]["subject"]
        answer = world.hold(HoldScope(ids=(armed,))).answer
        worker.result(20)
    assert (answer["too_late"], answer["uncertain"]) == ([], [])
    assert [kept(world, one) for one in both if one.thread.id == armed] == [True]


def test_no_delete_leaves_under_an_old_arming_even_when_every_seat_is_taken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "ARMED_FOR_SECONDS", 0.2)
    project = project_document(world.sandbox.base_url).replace("concurrency: 16", "concurrency: 1")
    world.policies(POLICIES + project)
    due = [world.register(kind=Kind.FILE) for _ in range(2)]
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.faults("slow@get*3")
    world.sweep()
    world.drain()
    with world.database.read() as db:
        armed = {row.thread_id: row.armed_at for row in db.execute(attempt.select())}
    late = []
    for one in due:
        [sent] = [
            request.at
            for request in world.sandbox.requests()
            if request.method == "DELETE" and request.path.endswith(one.thread.external_id)
        ]
        late.append(sent - armed[one.thread.id])
    assert max(late) < timedelta(seconds=0.3)


@pytest.mark.parametrize("kind", [Kind.CONVERSATION, Kind.FILE])
def test_a_process_that_stood_still_right_after_arming_asks_again_before_it_sends(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    """Its first word is checked when it comes, and so is every later one: all may be old."""
    due = world.register(kind=kind, children=2 if kind is Kind.CONVERSATION else 0)
    world.register(kind=kind, age=3 * DAY)
    world.sweep()
    stood_still: list[int] = []

    def arm_and_freeze(*given: Any, **named: Any) -> list[Verdict]:
        verdicts = arm(*given, **named)
        stood_still.append(len(stood_still))
        if len(stood_still) == 2:
            # The answer of a pause waits for what was armed; long before it came, this is committed.
            with world.database.write() as db:
                protections.take(db, [protections.EVERYTHING])
                now = world.clock.now()
                protections.set_pause(db, protections.EVERYTHING, paused_at=now, by=ACTOR, reason="stop")
        if len(stood_still) <= 2:
            world.clock.jump(timedelta(seconds=sending.ARMED_FOR_SECONDS))
        return verdicts

    monkeypatch.setattr("worker.flows.drain.arm", arm_and_freeze)
    world.drain(most=1)
    assert kept(world, due)
    assert not world.deletes()
    assert world.item(due).reason == "deletes are paused: stop"
