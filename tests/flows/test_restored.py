"""A database that was restored signs nothing and deletes nothing before a person has looked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.flows.restoring import Restorable
from tests.servers.postgres import Postgres
from tests.world.databases import without_triggers
from tests.world.world import ACTOR, ORIGIN, make_world
from worker.anchors.base import checkpoint_in
from worker.audit.findings import Report
from worker.audit.note import Ed25519Signer
from worker.audit.verify import verify_bundle
from worker.flows import compare as comparing
from worker.flows.attest import attest
from worker.flows.compare import (
    LogBehind,
    LogBroken,
    LogDiffers,
    LogRefused,
    LogUncompared,
    compare,
    why_not_armed,
)
from worker.flows.epoch import EpochNotNeeded, Opened, open_epoch
from worker.flows.export import Extras, export
from worker.flows.seal import seal
from worker.flows.tick import Beat, keep_house
from worker.model.decision import HoldScope
from worker.model.errors import NotFound, TenureError
from worker.model.thread import Kind, ThreadState
from worker.sandbox.options import SandboxOptions
from worker.store import epochs, log, rests, work

VKEY = Ed25519Signer.from_seed(ORIGIN, b"\7" * 32).vkey
DAY = timedelta(days=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A database that may be put back, and the place of its copy."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'tenure.db'}", f"sqlite:///{tmp_path / 'backup.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres_server")
    name, copy = server.create(), server.create()
    yield server.url(name), server.url(copy)
    server.drop(name)
    server.drop(copy)


@pytest.fixture
def kept(urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Restorable]:
    url, backup = urls
    with make_world(url, tmp_path / "policies", SandboxOptions()) as world:
        for one in (work, rests, comparing):
            monkeypatch.setattr(one, "lease_clock", world.clock.lease_clock)
        yield Restorable(world=world, folder=tmp_path / "anchors", url=url, backup=backup)


def exported(kept: Restorable, out: Path, extras: Extras | None = None) -> Report:
    world, now = kept.world, kept.world.clock.now()
    export(
        world.database,
        kept.sealer,
        project="demo-support",
        window=(now - 400 * DAY, now + DAY),
        out=out,
        actor=ACTOR,
        clock=world.clock,
        extras=extras,
    )
    return verify_bundle(out, keys=[VKEY])


def opened(kept: Restorable, reason: str = "restored the backup") -> Opened:
    world = kept.world
    return open_epoch(world.database, kept.sealer, reason=reason, actor=ACTOR, clock=world.clock)


def refused(kept: Restorable) -> LogRefused:
    with pytest.raises(LogRefused) as told:
        compare(kept.world.database, kept.sealer.log, clock=kept.world.clock, from_leaves=True)
    assert told.value.repair
    return told.value


def test_a_log_that_its_anchor_saw_is_signed_and_nothing_is_held_up(kept: Restorable) -> None:
    thread = kept.world.register(kind=Kind.FILE)
    kept.world.register(kind=Kind.FILE, age=3 * DAY)
    kept.seal()
    compare(kept.world.database, kept.sealer.log, clock=kept.world.clock, from_leaves=True)
    kept.world.sweep()
    kept.world.drain()
    assert kept.world.grade(thread) == "confirmed"
    kept.seal()
    with pytest.raises(EpochNotNeeded):
        opened(kept)


def test_a_restored_log_is_behind_and_nothing_is_signed_until_an_epoch_is_opened(
    kept: Restorable, tmp_path: Path
) -> None:
    kept.world.register()
    before = kept.seal()
    kept.back_up()
    for _ in range(3):
        kept.world.register()
    lost = kept.seal()
    kept.restore()
    # The stored checkpoints of the copy end where it ends, so that only the anchor knows of more.
    assert isinstance(refused(kept), LogBehind)
    for attempt in (
        lambda: seal(kept.world.database, kept.sealer, clock=kept.world.clock),
        lambda: seal(kept.world.database, kept.sealer, clock=kept.world.clock, force=True),
        lambda: exported(kept, tmp_path / "never.zip"),
    ):
        with pytest.raises(LogBehind):
            attempt()
    assert not (tmp_path / "never.zip").exists()
    with kept.world.database.read() as db:
        assert log.latest_seal(db) == before
    made = opened(kept, "restored the backup of 04:00")
    assert made.origin == f"{ORIGIN}/2"
    assert made.gap.why == "log_behind"
    assert (made.gap.anchored.origin, made.gap.anchored.size) == (ORIGIN, lost.size)
    assert made.gap.anchored.root == checkpoint_in(lost.note).root
    assert made.gap.agreed == before.size
    assert made.gap.held.size == made.epoch.first


def test_the_epochs_first_leaf_names_the_gap_and_its_checkpoints_carry_the_new_origin(
    kept: Restorable,
) -> None:
    kept.world.register()
    kept.seal()
    kept.back_up()
    kept.world.register()
    lost = kept.seal()
    kept.restore()
    made = opened(kept, "disk failed")
    [entry] = kept.world.entries("log.epoch")
    assert entry["reason"] == "disk failed"
    assert entry["actor"] == ACTOR
    assert entry["anchored"] == {
        "origin": ORIGIN,
        "root": checkpoint_in(lost.note).root.hex(),
        "size": lost.size,
    }
    assert entry["held"]["size"] == made.epoch.first
    assert made.sealed is not None
    first = checkpoint_in(made.sealed.note)
    assert (first.origin, first.size) == (f"{ORIGIN}/2", made.epoch.first + 1)
    # It is anchored at once, beside the old ones, which nobody touched.
    marks = {m.checkpoint.origin: m.checkpoint.size for m in kept.sealer.anchors[0].newest()}
    assert marks == {ORIGIN: lost.size, f"{ORIGIN}/2": first.size}
    kept.world.register()
    again = kept.seal()
    assert checkpoint_in(again.note).origin == f"{ORIGIN}/2"
    with pytest.raises(EpochNotNeeded):
        opened(kept)


def test_an_export_after_an_epoch_verifies_and_says_what_it_follows(kept: Restorable, tmp_path: Path) -> None:
    early = kept.world.register(kind=Kind.FILE)
    kept.world.register(kind=Kind.FILE, age=3 * DAY)
    kept.world.sweep()
    kept.world.drain()
    kept.seal()
    kept.back_up()
    kept.world.register()
    lost = kept.seal()
    kept.restore()
    opened(kept, "disk failed")
    late = kept.world.register(kind=Kind.FILE)
    kept.world.sweep()
    kept.world.drain()
    assert (kept.world.grade(early), kept.world.grade(late)) == ("confirmed", "confirmed")
    report = exported(kept, tmp_path / "evidence.zip")
    assert (report.problems, report.verified) == ((), True)
    assert report.origin == f"{ORIGIN}/2"
    [note] = report.notes
    assert f"anchored at size {lost.size}" in note
    assert "disk failed" in note


def test_an_owners_answer_after_an_epoch_brings_what_it_follows(kept: Restorable, tmp_path: Path) -> None:
    kept.world.register(owner="data-subject")
    kept.seal()
    kept.back_up()
    kept.world.register()
    kept.seal()
    kept.restore()
    opened(kept, "disk failed")
    now = kept.world.clock.now()
    attest(
        kept.world.database,
        kept.sealer,
        project="demo-support",
        owner="data-subject",
        window=(now - 400 * DAY, now + DAY),
        out=tmp_path / "answer.zip",
        actor=ACTOR,
        clock=kept.world.clock,
    )
    report = verify_bundle(tmp_path / "answer.zip", keys=[VKEY])
    assert (report.problems, report.verified) == ((), True)
    assert any("disk failed" in note for note in report.notes)


def test_an_export_begins_at_a_checkpoint_of_the_epoch_that_the_log_is_in(
    kept: Restorable, tmp_path: Path
) -> None:
    kept.world.register()
    before = kept.seal()
    kept.back_up()
    kept.world.register()
    kept.seal()
    kept.restore()
    made = opened(kept)
    assert made.sealed is not None
    kept.world.register()
    with pytest.raises(NotFound, match="before the epoch"):
        exported(kept, tmp_path / "never.zip", Extras(begin_at=before.size))
    report = exported(kept, tmp_path / "later.zip", Extras(begin_at=made.sealed.size))
    assert (report.problems, report.first) == ((), made.sealed.size)


def test_a_log_that_grew_past_its_anchor_after_a_restore_differs(kept: Restorable) -> None:
    kept.world.register()
    kept.seal()
    kept.back_up()
    kept.world.register()
    kept.seal()
    kept.restore()
    for _ in range(5):
        kept.world.register()
    found = refused(kept)
    assert isinstance(found, LogDiffers)
    made = opened(kept)
    assert made.gap.why == "log_differs"
    assert made.gap.held.size > made.gap.anchored.size
    kept.seal()


def test_a_log_that_grew_to_exactly_the_anchors_size_differs(kept: Restorable) -> None:
    kept.world.register()
    kept.seal()
    kept.back_up()
    kept.world.register()
    size = kept.seal().size
    kept.restore()
    while True:
        with kept.world.database.read() as db:
            if log.read_head(db).size == size:
                break
        kept.world.register()
    assert isinstance(refused(kept), LogDiffers)


def test_a_copy_from_before_an_epoch_is_behind_however_long_it_grew(kept: Restorable) -> None:
    kept.world.register()
    kept.seal()
    kept.back_up()
    kept.world.register()
    kept.seal()
    kept.restore()
    opened(kept)
    kept.restore()
    for _ in range(9):
        kept.world.register()
    assert isinstance(refused(kept), LogBehind)
    made = opened(kept, "the same copy again")
    assert made.epoch.number == 3
    assert made.gap.anchored.origin == f"{ORIGIN}/2"
    assert made.origin == f"{ORIGIN}/3"


def test_a_restored_database_deletes_nothing_before_an_epoch_and_holds_can_be_placed_again(
    kept: Restorable,
) -> None:
    due, held = kept.world.register(kind=Kind.FILE), kept.world.register(kind=Kind.FILE)
    kept.world.register(kind=Kind.FILE, age=3 * DAY)
    kept.seal()
    kept.back_up()
    scope = HoldScope(ids=(held.thread.id,))
    kept.world.hold(scope)
    kept.seal()
    kept.restore()
    refused(kept)
    kept.world.sweep()
    kept.world.drain()
    assert kept.world.deletes() == []
    assert kept.world.exists(held)
    assert kept.world.item(due).state == "waiting"
    assert "behind its anchor" in kept.world.item(due).reason
    # Reading, registering and holding go on: what was lost is placed again first.
    kept.world.hold(scope)
    opened(kept)
    kept.world.clock.move(timedelta(minutes=2))
    kept.world.drain()
    assert kept.world.state(due) is ThreadState.DELETED
    assert kept.world.exists(held)


def test_what_was_deleted_after_the_copy_is_absent_and_not_claimed_again(kept: Restorable) -> None:
    thread = kept.world.register(kind=Kind.FILE)
    kept.world.register(kind=Kind.FILE, age=3 * DAY)
    kept.seal()
    kept.back_up()
    kept.world.sweep()
    kept.world.drain()
    assert kept.world.grade(thread) == "confirmed"
    kept.seal()
    kept.restore()
    refused(kept)
    opened(kept)
    sent = len(kept.world.deletes())
    kept.world.sweep()
    kept.world.drain()
    assert kept.world.grade(thread) == "absent"
    assert len(kept.world.deletes()) == sent


def test_a_copys_own_word_that_all_is_well_counts_for_minutes_only(kept: Restorable) -> None:
    kept.world.register()
    kept.seal()
    with kept.world.database.read() as db:
        assert why_not_armed(db, kept.world.clock.now()) is None
    kept.world.clock.move(timedelta(minutes=11))
    with kept.world.database.read() as db:
        stopped = why_not_armed(db, kept.world.clock.now())
    assert stopped is not None
    assert "last compared" in stopped


def test_how_long_a_comparison_counts_is_told_by_no_clock_that_is_set_wrong(kept: Restorable) -> None:
    if kept.world.database.is_sqlite:
        pytest.skip("SQLite has no clock of its own")
    kept.world.register()
    kept.world.clock.step(-DAY)
    kept.seal()
    kept.world.clock.step(DAY)
    with kept.world.database.read() as db:
        assert why_not_armed(db, kept.world.clock.now()) is None
    kept.world.clock.move(timedelta(minutes=11))
    kept.world.clock.step(-DAY)
    with kept.world.database.read() as db:
        assert why_not_armed(db, kept.world.clock.now()) is not None


def test_a_comparison_does_not_count_for_longer_because_the_clock_of_leases_is_set_back(
    kept: Restorable,
) -> None:
    kept.world.register()
    kept.seal()
    for back, counts in ((timedelta(seconds=30), True), (DAY, False)):
        kept.world.clock.move(-back)
        with kept.world.database.read() as db:
            assert (why_not_armed(db, kept.world.clock.now()) is None) is counts
        kept.world.clock.move(back)
    kept.world.clock.move(-DAY)
    kept.seal()
    with kept.world.database.read() as db:
        assert why_not_armed(db, kept.world.clock.now()) is None


def test_somebody_with_other_anchors_cannot_lift_a_refusal(kept: Restorable, tmp_path: Path) -> None:
    kept.world.register()
    kept.seal()
    kept.back_up()
    kept.world.register()
    kept.seal()
    kept.restore()
    refused(kept)
    stranger = Restorable(world=kept.world, folder=tmp_path / "empty", url=kept.url, backup=kept.backup)
    with pytest.raises(LogRefused, match="behind its anchor"):
        seal(kept.world.database, stranger.sealer, clock=kept.world.clock, force=True)
    with pytest.raises(LogRefused, match="behind its anchor"):
        compare(kept.world.database, stranger.sealer.log, clock=kept.world.clock, from_leaves=True)
    with kept.world.database.read() as db:
        assert why_not_armed(db, kept.world.clock.now()) is not None


def test_a_refusal_ends_by_itself_once_the_right_database_is_back(kept: Restorable) -> None:
    kept.world.register()
    kept.seal()
    damaged = kept.folder.rename(kept.folder.with_name("aside"))
    kept.folder.write_text("no folder")
    assert isinstance(refused(kept), LogUncompared)
    kept.folder.unlink()
    damaged.rename(kept.folder)
    compare(kept.world.database, kept.sealer.log, clock=kept.world.clock)
    with kept.world.database.read() as db:
        assert why_not_armed(db, kept.world.clock.now()) is None


def test_beats_own_round_refuses_alerts_once_and_publishes_nothing(
    kept: Restorable, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.world.register()
    kept.seal()
    kept.back_up()
    kept.world.register()
    lost = kept.seal()
    kept.restore()
    world = kept.world
    beat = Beat(
        database=world.database, clock=world.clock, source=world.source, sealer=kept.sealer, actor=ACTOR
    )
    for _ in range(3):
        with pytest.raises(LogBehind):
            keep_house(beat)
    told = capsys.readouterr()
    assert (told.out + told.err).count("log.refused") == 1
    assert [one.checkpoint.size for one in kept.sealer.anchors[0].newest()] == [lost.size]


def test_rows_that_were_changed_below_tenure_are_no_case_for_an_epoch(kept: Restorable) -> None:
    kept.world.register()
    kept.seal()
    with kept.world.database.write() as db:
        change = text("UPDATE audit_leaf SET envelope = envelope || :more WHERE idx = 0")
        with without_triggers(db):
            db.execute(change, {"more": b" "})
    assert isinstance(refused(kept), LogBroken)
    with pytest.raises(LogBroken):
        opened(kept)


def test_anchors_that_cannot_be_read_are_no_leave_to_sign(kept: Restorable) -> None:
    kept.world.register()
    kept.seal()
    for note in kept.folder.rglob("[0-9][0-9][0-9]"):
        if note.is_file():
            note.unlink()
            note.write_text("damaged")
    with pytest.raises(LogUncompared):
        seal(kept.world.database, kept.sealer, clock=kept.world.clock)
    with kept.world.database.read() as db:
        assert why_not_armed(db, kept.world.clock.now()) is not None


def test_an_epoch_needs_the_key_before_anything_changes(kept: Restorable) -> None:
    def no_key() -> Ed25519Signer:
        raise TenureError("no key")

    kept.world.register()
    kept.seal()
    kept.back_up()
    kept.world.register()
    kept.seal()
    kept.restore()
    with pytest.raises(TenureError, match="no key"):
        open_epoch(
            kept.world.database,
            replace(kept.sealer, signer=no_key),
            reason="x",
            actor=ACTOR,
            clock=kept.world.clock,
        )
    assert kept.world.entries("log.epoch") == []
    with kept.world.database.read() as db:
        assert epochs.current(db).number == 1
