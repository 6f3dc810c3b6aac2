"""Shredding an owner: all of the owner's bodies, nobody else's, and none while something needs them."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.flows.going import DAY, VKEY, ended, exported, is_sound, kept, shredded, sibling, verified
from tests.world.world import ACTOR, PROJECT, World
from worker.audit import bodies
from worker.audit.verify import verify_bundle
from worker.flows import shred as flow
from worker.flows.accept import accept
from worker.flows.attest import attest
from worker.flows.change import Change, change
from worker.flows.erase import order_erasure
from worker.flows.failures import list_failures
from worker.flows.hold import release_hold
from worker.flows.prove import prove
from worker.flows.retry import retry
from worker.flows.shred import BodiesNeeded
from worker.model.decision import HoldScope, TagSelector
from worker.model.errors import Invalid, NotFound
from worker.model.thread import Kind, ThreadState
from worker.store import gone, log, references, threads
from worker.store.tables import thread as thread_table
from worker.store.threads import StoredThread

OWNER = "data-subject-81"


def everything(world: World) -> bytes:
    """Return every body that the log still holds."""
    with world.database.read() as db:
        found = log.entries_after(db, limit=100_000)
        return b"".join(one.body for one in found)


def needed(world: World, match: str) -> None:
    before = everything(world)
    with pytest.raises(BodiesNeeded, match=match):
        shredded(world, OWNER, dry_run=True)
    with pytest.raises(BodiesNeeded, match=match):
        shredded(world, OWNER)
    assert everything(world).startswith(before)
    assert world.entries("body.shredded") == []


def test_an_owner_is_shredded_and_everything_still_verifies(world: World, tmp_path: Path) -> None:
    own, other = ended(world, OWNER, "somebody-else")
    before = exported(world, tmp_path / "before.zip")
    assert (before.problems, before.bodies_gone) == ((), 0)
    counted = shredded(world, OWNER, dry_run=True)
    assert kept(world, own, other) == [True, True]
    done = shredded(world, OWNER)
    assert (done.threads, done.shredded) == (1, counted.shredded)
    assert done.projects == {PROJECT: done.shredded}
    assert kept(world, own, other) == [False, True]
    assert OWNER.encode() not in everything(world)
    assert is_sound(world)
    after = exported(world, tmp_path / "after.zip")
    assert (after.problems, after.bodies_gone) == ((), done.shredded)
    assert after.grades == {"sustained": 1}
    # What was handed out before goes on verifying, and every leaf is still proved.
    assert verified(tmp_path / "before.zip").problems == ()
    with world.database.read() as db:
        first = log.bodies_of_subjects(db, PROJECT, [own.thread.id])[0]
    assert prove(world.database, world.sealer, str(first), clock=world.clock).proof.index == first
    told = world.entries("body.shredded")
    assert sum(one["count"] for one in told) == done.shredded
    assert {one["reason"] for one in told} == {"request DSR-118"}
    assert shredded(world, OWNER).shredded == 0


def test_the_certificate_says_how_many_are_gone_and_an_answer_does_too(world: World, tmp_path: Path) -> None:
    import zipfile

    ended(world, OWNER)
    done = shredded(world, OWNER)
    exported(world, tmp_path / "e.zip")
    out = tmp_path / "answer.zip"
    attest(
        world.database,
        world.sealer,
        project=PROJECT,
        owner=OWNER,
        window=(world.clock.now() - 400 * DAY, world.clock.now() + DAY),
        out=out,
        actor=ACTOR,
        clock=world.clock,
    )
    report = verified(out)
    assert report.problems == ()
    assert any(f"without proof, that {done.shredded} more" in note for note in report.notes)
    for file in (out, tmp_path / "e.zip"):
        with zipfile.ZipFile(file) as bundle:
            page = bundle.read("certificate.html").decode()
        assert f"bodies of {done.shredded} entries were shredded or pruned" in page


@pytest.mark.parametrize(
    "scope",
    [
        HoldScope(owners=("data-*",)),
        HoldScope(projects=("demo-*",)),
        HoldScope(tags=(TagSelector(key="keep", operator="DoesNotExist", values=()),)),
    ],
)
def test_a_hold_keeps_the_bodies_until_it_is_released(world: World, scope: HoldScope) -> None:
    (own,) = ended(world, OWNER)
    placed = world.hold(scope)
    needed(world, "hold")
    release_hold(world.database, placed.hold.id, reason="settled", actor=ACTOR, clock=world.clock)
    shredded(world, OWNER)
    assert kept(world, own) == [False]


@pytest.mark.parametrize("on_child", [False, True])
def test_a_hold_by_id_or_on_a_child_keeps_all_of_the_owners_bodies(world: World, *, on_child: bool) -> None:
    first, second = ended(world, OWNER, OWNER)
    with world.database.write() as db:
        references.add_many(db, {first.thread.id: ["file-1"]})
    world.hold(HoldScope(ids=("file-1" if on_child else first.thread.external_id,)))
    needed(world, "1 threads of this owner are under an active hold")
    assert kept(world, first, second) == [True, True]


def test_a_hold_that_is_placed_meanwhile_answers_only_when_the_step_has_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own,) = ended(world, OWNER)
    empty, answered = gone.empty, threading.Event()

    def place() -> None:
        world.hold(HoldScope(owners=(OWNER,)))
        answered.set()

    placing = threading.Thread(target=place)

    def emptied(*given: Any) -> int:
        # What goes was judged before: a hold may not answer now that it protects it.
        placing.start()
        assert not answered.wait(0.3)
        return empty(*given)

    monkeypatch.setattr(gone, "empty", emptied)
    shredded(world, OWNER)
    placing.join()
    assert answered.is_set()
    assert kept(world, own) == [False]
    assert is_sound(world)


def test_a_hold_on_somebody_else_keeps_nothing_of_this_owner(world: World) -> None:
    own, other = ended(world, OWNER, "somebody-else")
    world.hold(HoldScope(owners=("somebody-*",)))
    shredded(world, OWNER)
    assert kept(world, own, other) == [False, True]


def test_nothing_goes_before_the_thread_is_at_its_end_and_read_again(world: World) -> None:
    own = world.register(kind=Kind.RESPONSE, owner=OWNER)
    world.register(kind=Kind.RESPONSE, age=DAY)
    needed(world, "not at an end")
    world.sweep()
    needed(world, "not at an end")
    world.drain()
    assert world.grade(own) == "confirmed"
    # The second look folds the passes that this body holds.
    needed(world, "to be read again")
    world.clock.move(DAY * 1.01)
    world.drain()
    assert world.grade(own) == "sustained"
    assert shredded(world, OWNER).shredded > 0


def test_a_parked_thread_keeps_its_bodies_until_a_person_accepts_it(world: World) -> None:
    own = world.register(kind=Kind.RESPONSE, owner=OWNER)
    world.faults("endpoint-retired")
    world.sweep()
    world.drain()
    assert world.state(own) is ThreadState.PARKED
    needed(world, "not at an end")
    with world.database.read() as db:
        (failure,) = list_failures(db)
    accept(world.database, failure.fingerprint, reason="retired", actor=ACTOR, clock=world.clock)
    assert shredded(world, OWNER).shredded > 0
    assert kept(world, own) == [False]


def test_an_erasure_keeps_its_evidence_until_it_is_settled(world: World, tmp_path: Path) -> None:
    done = world.register(kind=Kind.RESPONSE, owner=OWNER)
    waiting = world.register(owner="somebody-else", age=DAY)
    world.register(kind=Kind.RESPONSE, age=DAY)
    world.sweep()
    world.drain()
    world.clock.move(DAY * 1.01)
    world.hold(HoldScope(ids=(waiting.thread.id,)), matter="other")
    order_erasure(
        world.database,
        owner=None,
        ids=[done.thread.id, waiting.thread.external_id],
        reason="both",
        at=None,
        actor=ACTOR,
        clock=world.clock,
    )
    world.drain()
    # This thread is at its end; the order that covers it is not.
    needed(world, "an erasure that is not settled")
    world.withdraw(waiting)
    assert shredded(world, OWNER).shredded > 0
    # The order names somebody else's thread too, so its own entry is not this owner's.
    assert world.entries("erasure.ordered")[0]["reason"] == "both"
    assert exported(world, tmp_path / "e.zip").problems == ()


def test_holds_and_orders_that_name_the_owner_go_along(world: World) -> None:
    (own,) = ended(world, OWNER)
    scopes = (HoldScope(owners=(OWNER,)), HoldScope(ids=(own.thread.external_id,)), HoldScope(owners=("x",)))
    for scope in scopes:
        placed = world.hold(scope)
        release_hold(world.database, placed.hold.id, reason="settled", actor=ACTOR, clock=world.clock)
    order_erasure(
        world.database, owner=OWNER, ids=(), reason="request", at=None, actor=ACTOR, clock=world.clock
    )
    done = shredded(world, OWNER)
    assert done.projects[""] == 5
    assert OWNER.encode() not in everything(world)
    left = [one for one in world.entries("hold.placed") if "owners" in one]
    assert [one["owners"] for one in left] == [["x"]]
    assert is_sound(world)


def test_a_thread_that_was_passed_on_is_split_by_who_answered_for_it(world: World) -> None:
    (own,) = ended(world, OWNER)
    with world.database.write() as db:
        db.execute(
            thread_table.update().where(thread_table.c.id == own.thread.id).values(owner="somebody-else")
        )
        moved = threads.get(db, own.thread.id)
        assert moved is not None
        at = world.clock.now()
        told = [
            bodies.thread_changed(
                moved.thread, changes={"owner": (OWNER, "somebody-else")}, at=at, actor=ACTOR
            ),
            bodies.thread_accepted(moved.thread, reason="later", at=at, actor=ACTOR),
        ]
        last = log.append(db, told)
    with world.database.read() as db:
        before = len(log.bodies_of_subjects(db, PROJECT, [own.thread.id]))
    assert shredded(world, OWNER).shredded == before - 1
    with world.database.read() as db:
        assert log.body_at(db, last[0]) is None
        assert json.loads(log.body_at(db, last[1]) or b"{}")["owner"] == "somebody-else"
    assert shredded(world, "somebody-else").shredded == 1
    assert is_sound(world)


def test_a_reason_does_not_name_the_owner_and_a_misspelt_owner_is_told(world: World) -> None:
    ended(world, OWNER)
    with pytest.raises(Invalid, match="names the owner"):
        shredded(world, OWNER, reason=f"for {OWNER.upper()}")
    with pytest.raises(NotFound, match="names this owner"):
        shredded(world, "data-subject-18")


def test_a_hold_that_comes_in_between_keeps_what_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (own,) = ended(world, OWNER)
    monkeypatch.setattr(flow, "PAGE", 2)
    placed: list[bool] = []

    def tell(done: int, _all: int) -> None:
        if done == 2 and not placed:
            placed.append(True)
            world.hold(HoldScope(owners=(OWNER,)))

    with pytest.raises(BodiesNeeded, match="covers this owner"):
        shredded(world, OWNER, progress=tell)
    with world.database.read() as db:
        assert gone.count(db) == 2
    assert is_sound(world)
    assert exported(world, tmp_path / "e.zip").problems == ()
    assert world.thread(own).evidence is not None


def test_a_crash_leaves_whole_steps_and_the_next_run_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own,) = ended(world, OWNER)
    monkeypatch.setattr(flow, "PAGE", 2)

    def crash(done: int, _all: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shredded(world, OWNER, progress=crash)
    assert is_sound(world)
    shredded(world, OWNER)
    assert kept(world, own) == [False]
    assert is_sound(world)


def test_appending_goes_on_beside_it_and_two_at_once_name_nothing_twice(world: World, tmp_path: Path) -> None:
    own = ended(world, *[OWNER] * 6)
    stop, counted = threading.Event(), list[int]()

    def append() -> None:
        while not stop.is_set():
            with world.database.write() as db:
                at = world.clock.now()
                log.append(db, [bodies.thread_accepted(own[0].thread, reason="x", at=at, actor=ACTOR)])

    writer = threading.Thread(target=append)
    both = [threading.Thread(target=lambda: counted.append(shredded(world, OWNER).shredded)) for _ in "12"]
    with world.database.read() as db:
        before = len(log.bodies_of_subjects(db, PROJECT, [one.thread.id for one in own]))
    for one in (writer, *both):
        one.start()
    for one in both:
        one.join()
    stop.set()
    writer.join()
    assert sum(counted) >= before
    with world.database.read() as db:
        assert gone.count(db) == sum(counted)
    assert is_sound(world)
    assert exported(world, tmp_path / "e.zip").problems == ()


def test_no_envelope_names_an_owner_a_project_or_a_thread(world: World) -> None:
    (own,) = ended(world, OWNER)
    with world.database.read() as db:
        leaves = b"".join(log.envelopes(db, log.read_head(db).size))
    for name in (OWNER, PROJECT, own.thread.id, own.thread.external_id, "keeper"):
        assert name.encode() not in leaves


def test_the_answer_to_one_owner_verifies_where_a_former_owner_was_shredded(
    world: World, tmp_path: Path
) -> None:
    """What the former owner's entries told of the thread is gone, and single entries leave no trace of it."""
    one = world.register(kind=Kind.RESPONSE, owner=OWNER)
    sibling(world)
    give(world, one, "former")
    world.faults("forbidden@delete")
    world.sweep()
    world.drain()
    with world.database.read() as db:
        (failure,) = list_failures(db, accepted=False)
    retry(world.database, failure.fingerprint, reason="asked", actor=ACTOR, clock=world.clock)
    world.faults()
    give(world, one, OWNER)
    world.sweep()
    world.drain()
    world.clock.move(DAY + timedelta(minutes=1))
    world.drain()
    assert world.grade(one) == "sustained"
    shredded(world, "former")
    window = (world.clock.now() - 400 * DAY, world.clock.now() + DAY)
    out = tmp_path / "answer.zip"
    attest(
        world.database,
        world.sealer,
        project=PROJECT,
        owner=OWNER,
        window=window,
        out=out,
        actor=ACTOR,
        clock=world.clock,
    )
    report = verify_bundle(out, keys=[VKEY])
    assert report.problems == ()
    assert any("lean on others that are not here" in note for note in report.notes)
    assert exported(world, tmp_path / "project.zip").problems == ()


def give(world: World, stored: StoredThread, owner: str) -> None:
    wanted = Change(owner=owner, given=frozenset({"owner"}))
    change(
        world.database,
        stored.thread.id,
        wanted,
        versions=None,
        actor=ACTOR,
        clock=world.clock,
        lease=world.lease,
    )
