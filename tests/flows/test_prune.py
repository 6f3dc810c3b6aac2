"""Pruning: what is old and needed by nothing goes, a thread's bodies together, and every proof stays."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.flows.going import DAY, ended, exported, is_sound, kept, pruned, shredded, sibling, verified
from tests.world.databases import without_triggers
from tests.world.world import ACTOR, PROJECT, World
from worker.audit import bodies
from worker.audit.bundle import BundleRefused
from worker.flows import export as export_flow
from worker.flows import prune as flow
from worker.flows.erase import order_erasure
from worker.flows.export import BodiesGoing
from worker.flows.hold import release_hold
from worker.flows.needed import Need
from worker.flows.prove import prove
from worker.flows.seal import seal
from worker.flows.tile import lay_tiles
from worker.model.decision import HoldScope
from worker.model.evidence import Control
from worker.model.thread import Kind
from worker.store import gone, log
from worker.store.tables import audit_body


def old(world: World) -> None:
    """Seal what there is, and let more than the default time pass."""
    seal(world.database, world.sealer, clock=world.clock, force=True)
    world.clock.move(401 * DAY)


def test_what_is_old_goes_and_everything_still_verifies(world: World, tmp_path: Path) -> None:
    first = ended(world, "a")[0]
    exported(world, tmp_path / "before.zip")
    old(world)
    second = ended(world, "b")[0]
    counted = pruned(world, dry_run=True)
    assert kept(world, first, second) == [True, True]
    done = pruned(world)
    assert (done.pruned, done.kept) == (counted.pruned, counted.kept)
    assert kept(world, first, second) == [False, True]
    assert is_sound(world)
    after = exported(world, tmp_path / "after.zip")
    assert after.problems == ()
    assert 0 < after.bodies_gone < done.pruned
    assert after.grades == {"sustained": 1}
    assert verified(tmp_path / "before.zip").problems == ()
    with zipfile.ZipFile(tmp_path / "after.zip") as bundle:
        page = bundle.read("certificate.html").decode()
    assert f"bodies of {after.bodies_gone} entries were shredded or pruned" in page
    assert prove(world.database, world.sealer, "0", clock=world.clock).proof.index == 0
    told = world.entries("log.pruned")
    assert sum(one["count"] for one in told) == done.pruned
    assert {one["reason"] for one in told} == {"older than P400D"}
    # What is left from then is needed: pruning anew finds nothing more.
    assert pruned(world).pruned == 0
    assert is_sound(world)


def test_a_live_thread_keeps_every_body_however_old_it_is(world: World) -> None:
    live = sibling(world)
    (gone_,) = ended(world, "a")
    old(world)
    done = pruned(world)
    assert kept(world, live, gone_) == [True, False]
    assert done.kept[Need.OPEN] >= 1


def test_a_threads_bodies_go_together_once_the_last_of_them_is_old(world: World) -> None:
    (own,) = ended(world, "a")
    old(world)
    with world.database.write() as db:
        log.append(db, [bodies.thread_accepted(own.thread, reason="x", at=world.clock.now(), actor=ACTOR)])
    done = pruned(world)
    assert done.kept[Need.YOUNG] > 1
    assert kept(world, own) == [True]
    old(world)
    pruned(world)
    assert kept(world, own) == [False]


def test_the_controls_of_a_grade_that_stays_are_kept_beside_it(world: World, tmp_path: Path) -> None:
    younger, gone_ = ended(world, "a", "b")
    old(world)
    with world.database.write() as db:
        log.append(
            db, [bodies.thread_accepted(younger.thread, reason="x", at=world.clock.now(), actor=ACTOR)]
        )
    assert supported(world) == {younger.thread.id, gone_.thread.id}
    done = pruned(world)
    assert kept(world, younger, gone_) == [True, False]
    assert supported(world) == {younger.thread.id}
    assert done.kept[Need.LEANED] >= 1
    report = exported(world, tmp_path / "e.zip")
    assert (report.problems, report.notes) == ((), ())
    old(world)
    pruned(world)
    assert supported(world) == set()


def supported(world: World) -> set[str]:
    """Return the threads whose reads lean on a control that is still there."""
    with world.database.read() as db:
        there = gone.page(db, after=-1, below=10**9, limit=10**6)
        return {name for one in gone.supports(db, there).values() for name in one.threads}


def test_a_control_whose_list_was_cut_stays(world: World) -> None:
    """It does not name all who lean on it, so nobody can tell that nothing does."""
    (own,) = ended(world, "a")
    cut = bodies.control_probed(
        PROJECT,
        kind=Kind.RESPONSE,
        control=Control.GOOD,
        seen=[],
        supports=[own.thread.id] * 100,
        at=world.clock.now(),
        actor=ACTOR,
    )
    with world.database.write() as db:
        (index,) = log.append(db, [cut])
    old(world)
    pruned(world)
    assert kept(world, own) == [False]
    with world.database.read() as db:
        assert log.body_at(db, index) is not None


def test_a_thread_that_is_to_be_read_again_keeps_the_passes_that_are_folded(world: World) -> None:
    own = world.register(kind=Kind.RESPONSE)
    sibling(world)
    world.sweep()
    world.drain()
    old(world)
    pruned(world)
    assert kept(world, own) == [True]
    world.drain()
    assert world.grade(own) == "sustained"


def test_a_hold_keeps_its_threads_their_project_and_what_belongs_to_none(
    world: World, tmp_path: Path
) -> None:
    held, free = ended(world, "a", "b")
    old(world)
    placed = world.hold(HoldScope(owners=("a",)))
    done = pruned(world)
    assert kept(world, held, free) == [True, False]
    with world.database.read() as db:
        there = gone.page(db, after=-1, below=done.old, limit=1000)
    # Of the project are the controls that the held thread's grade leans on.
    assert {"control.probed", "bundle.activated", "sweep.planned"} <= {one.type for one in there}
    assert exported(world, tmp_path / "e.zip").problems == ()
    again = pruned(world)
    assert (again.pruned, again.is_blocked) == (0, True)
    release_hold(world.database, placed.hold.id, reason="over", actor=ACTOR, clock=world.clock)
    later = pruned(world)
    assert (later.is_blocked, kept(world, held)) == (False, [False])
    assert is_sound(world)


def test_a_hold_that_commits_while_a_page_waits_is_seen_by_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own,) = ended(world, "a")
    old(world)
    look = flow._next
    placed: list[bool] = []

    def first_hold(*given: object) -> list[gone.Kept]:
        found = look(*given)  # type: ignore[arg-type]
        if not placed:
            placed.append(True)
            world.hold(HoldScope(owners=("a",)))
        return found

    monkeypatch.setattr(flow, "_next", first_hold)
    pruned(world)
    assert kept(world, own) == [True]


def test_a_hold_that_is_placed_after_a_page_was_judged_answers_only_when_it_has_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own,) = ended(world, "a")
    old(world)
    empty, answered = gone.empty, threading.Event()

    def place() -> None:
        world.hold(HoldScope(owners=("a",)))
        answered.set()

    placing = threading.Thread(target=place)

    def emptied(*given: Any) -> int:
        placing.start()
        assert not answered.wait(0.3)
        return empty(*given)

    monkeypatch.setattr(gone, "empty", emptied)
    pruned(world)
    placing.join()
    assert kept(world, own) == [False]


def test_an_order_keeps_what_was_answered_in_a_project_until_it_is_settled(world: World) -> None:
    live = sibling(world)
    hold = world.hold(HoldScope(ids=(live.thread.id,)))
    order_erasure(
        world.database,
        owner=None,
        ids=[live.thread.id],
        reason="request",
        at=None,
        actor=ACTOR,
        clock=world.clock,
    )
    release_hold(world.database, hold.hold.id, reason="over", actor=ACTOR, clock=world.clock)
    old(world)
    pruned(world)
    [told] = world.entries("erasure.answered")
    assert (told["status"], told["project"]) == ("held", PROJECT)
    world.withdraw(live)
    pruned(world)
    assert [one.get("status") for one in world.entries("erasure.answered")] == [None]


def test_an_order_keeps_all_of_its_threads_until_it_is_settled(world: World) -> None:
    (own,) = ended(world, "a")
    live = sibling(world)
    order_erasure(
        world.database,
        owner=None,
        ids=[own.thread.id, live.thread.id],
        reason="request",
        at=None,
        actor=ACTOR,
        clock=world.clock,
    )
    old(world)
    done = pruned(world)
    assert kept(world, own) == [True]
    assert done.kept[Need.ORDERED] > 1
    assert world.entries("erasure.ordered")[0]["reason"] == "request"
    world.withdraw(live)
    pruned(world)
    assert kept(world, own) == [False]


def test_pages_that_a_crash_leaves_are_whole_and_the_next_run_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(flow, "PAGE", 5)
    (own,) = ended(world, "a")
    old(world)
    calls: list[int] = []

    def crash(done: int, _all: int) -> None:
        calls.append(done)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pruned(world, progress=crash)
    assert is_sound(world)
    assert exported(world, tmp_path / "e.zip").problems == ()
    pruned(world)
    assert kept(world, own) == [False]
    assert is_sound(world)


def test_what_excuses_stays_and_shredding_and_pruning_never_name_a_leaf_twice(
    world: World, tmp_path: Path
) -> None:
    ended(world, "a", "b")
    first = shredded(world, "a").shredded
    old(world)
    second = pruned(world).pruned
    old(world)
    pruned(world)
    assert len(world.entries("body.shredded")) >= 1
    assert all("leaves" in one for one in world.entries("body.shredded"))
    with world.database.read() as db:
        assert gone.count(db) >= first + second
    assert is_sound(world)
    assert exported(world, tmp_path / "e.zip").problems == ()


def test_an_export_waits_for_a_checkpoint_that_tells_of_every_body_that_went(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ended(world, "a")
    old(world)
    lay, runs = lay_tiles, list[int]()

    def pruned_meanwhile(*given: object) -> object:
        runs.append(1)
        if len(runs) == 1:
            # Behind the checkpoint that the export has just made.
            pruned(world)
        return lay(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(export_flow, "lay_tiles", pruned_meanwhile)
    assert exported(world, tmp_path / "e.zip").problems == ()
    assert len(runs) == 2
    monkeypatch.setattr(gone, "newest_saying", lambda _db: 10**9)
    with pytest.raises(BodiesGoing, match="faster than"):
        exported(world, tmp_path / "never.zip")


def test_a_body_that_somebody_put_back_stops_the_export(world: World, tmp_path: Path) -> None:
    (own,) = ended(world, "a")
    with world.database.read() as db:
        index = log.bodies_of_subjects(db, PROJECT, [own.thread.id])[0]
        body = log.body_at(db, index)
    shredded(world, "a")
    with world.database.write() as db, without_triggers(db):
        db.execute(audit_body.update().where(audit_body.c.idx == index).values(body=body))
    with pytest.raises(BundleRefused, match="says that a body is gone, and it is there"):
        exported(world, tmp_path / "e.zip")


def test_a_clock_that_ran_ahead_makes_nothing_old(world: World) -> None:
    if world.database.is_sqlite:
        pytest.skip("SQLite has no clock of its own")
    (own,) = ended(world, "a")
    seal(world.database, world.sealer, clock=world.clock, force=True)
    world.clock.step(401 * DAY)
    assert pruned(world, dry_run=True).pruned == 0
    assert pruned(world).pruned == 0
    assert kept(world, own) == [True]
