"""Checkpoints come in time whatever clocks do, one at a time, and a key is replaced in the open."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.world.databases import without_triggers
from tests.world.world import ACTOR, ORIGIN, PROJECT, World
from worker.audit.keys import BOTH_SIGN, LogKey, open_checkpoint
from worker.audit.note import Ed25519Signer, NotSigned, Signer, open_note
from worker.audit.verify import verify_bundle
from worker.flows.export import export
from worker.flows.seal import seal
from worker.flows.sign import RotationRefused, Sealer, SigningKeyMissing, known_keys, rotate
from worker.store import log
from worker.store.log import Seal
from worker.store.tables import audit_checkpoint, audit_key

OLD = Ed25519Signer.from_seed(ORIGIN, b"\7" * 32)
NEW = Ed25519Signer.from_seed(ORIGIN, b"\x08" * 32)
THIRD = Ed25519Signer.from_seed(ORIGIN, b"\x09" * 32)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def sealer(*signers: Signer) -> Sealer:
    return Sealer(origin=ORIGIN, signer=lambda: signers[0], others=lambda: signers[1:], actor=ACTOR)


def sealed(world: World, by: Sealer | None = None, *, force: bool = False) -> Seal:
    made = seal(world.database, by or world.sealer, clock=world.clock, force=force)
    assert made is not None
    return made


def checkpoints(world: World) -> list[str]:
    with world.database.read() as db:
        query = select(audit_checkpoint.c.note).order_by(audit_checkpoint.c.size)
        return list(db.execute(query).scalars())


def known(world: World, by: Sealer) -> list[LogKey]:
    with world.database.read() as db:
        return known_keys(db, by)


def turn(world: World, by: Sealer, vkey: str = NEW.vkey) -> int:
    done = rotate(world.database, by, vkey=vkey, reason="yearly", actor=ACTOR, clock=world.clock)
    return done.since


def signed_by(note: str, signer: Ed25519Signer) -> bool:
    try:
        open_note(note, [signer.vkey])
    except NotSigned:
        return False
    return True


def test_a_clock_that_was_set_back_holds_no_checkpoint_up(world: World) -> None:
    world.register()
    first = sealed(world)
    world.clock.step(-timedelta(days=30))
    world.register()
    second = sealed(world)
    assert second.size > first.size
    world.clock.move(timedelta(seconds=30))
    world.register()
    assert sealed(world) == second
    world.clock.move(timedelta(seconds=31))
    assert sealed(world).size > second.size


def test_a_clock_that_was_set_ahead_costs_one_early_checkpoint(world: World) -> None:
    world.register()
    sealed(world)
    world.clock.step(timedelta(days=30))
    second = sealed(world)
    assert sealed(world) == second
    world.clock.step(-timedelta(days=30))
    third = sealed(world)
    assert third.size > second.size
    assert sealed(world) == third


def test_two_beats_whose_clocks_differ_seal_no_more_often_than_one(world: World) -> None:
    world.register()
    sealed(world)
    before = len(checkpoints(world))
    for _ in range(20):
        # Ten minutes in all without news, seen by a beat that is 20 s ahead and by one that is behind.
        world.clock.move(timedelta(seconds=30))
        for apart in (20, -20):
            world.clock.step(timedelta(seconds=apart))
            sealed(world)
    assert len(checkpoints(world)) == before


def test_many_beats_at_once_make_one_checkpoint_and_record_each_once(world: World) -> None:
    for _ in range(3):
        world.register()
        world.clock.move(2 * MINUTE)
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda _: sealed(world), range(4)))
        assert len({one.size for one in made}) == 1
    sizes = [one["size"] for one in world.entries("log.sealed")]
    assert len(sizes) == len(checkpoints(world)) == 3
    assert sizes == sorted(sizes)


def test_an_export_is_sealed_however_short_the_last_checkpoint_is_ago(world: World, tmp_path: Path) -> None:
    world.register()
    first = sealed(world)
    world.register()
    manifest = exported(world, tmp_path, world.sealer)
    assert manifest > first.size
    assert checkpoints(world)[-1].split("\n")[1] == str(manifest)


def exported(world: World, folder: Path, by: Sealer) -> int:
    now = world.clock.now()
    return export(
        world.database,
        by,
        project=PROJECT,
        window=(now - timedelta(days=400), now + timedelta(days=400)),
        out=folder / "e.zip",
        actor=ACTOR,
        clock=world.clock,
    ).size


def test_both_keys_sign_for_24_checkpoints_and_then_the_new_one_alone(world: World) -> None:
    both, one = sealer(OLD, NEW), sealer(NEW)
    world.register()
    sealed(world, sealer(OLD))
    assert not signed_by(checkpoints(world)[-1], NEW)
    since = turn(world, both)
    with pytest.raises(RotationRefused, match="under way"):
        turn(world, sealer(OLD, NEW, THIRD), THIRD.vkey)
    for _ in range(BOTH_SIGN):
        world.clock.move(HOUR)
        sealed(world, both)
        assert [key.until for key in known(world, both)[:-1]] in ([None], [_size(checkpoints(world)[-1])])
    notes = [note for note in checkpoints(world) if _size(note) >= since]
    assert len(notes) == BOTH_SIGN
    assert all(signed_by(note, OLD) and signed_by(note, NEW) for note in notes)
    last = _size(notes[-1])
    assert known(world, both) == [LogKey(vkey=OLD.vkey, until=last), LogKey(vkey=NEW.vkey, since=since)]
    world.clock.move(HOUR)
    # The old seed is needed no more, and does no harm where it still lies.
    alone = sealed(world, one)
    assert signed_by(alone.note, NEW)
    assert not signed_by(alone.note, OLD)
    world.clock.move(HOUR)
    assert not signed_by(sealed(world, both).note, OLD)
    for note in checkpoints(world):
        assert open_checkpoint(note, known(world, one)).origin == ORIGIN
    turn(world, sealer(NEW, THIRD), THIRD.vkey)


def _size(note: str) -> int:
    return int(note.split("\n")[1])


def test_the_entry_names_both_keys_and_stands_under_the_first_checkpoint_of_both(world: World) -> None:
    world.register()
    sealed(world)
    since = turn(world, sealer(OLD, NEW))
    (body,) = world.entries("key.rotated")
    with world.database.read() as db:
        assert [one.index for one in log.entries_after(db, type_="key.rotated")] == [since - 1]
    assert (body["vkey"], body["previous"], body["since"]) == (NEW.vkey, OLD.vkey, since)
    assert (body["both_sign"], body["reason"], body["origin"]) == (BOTH_SIGN, "yearly", ORIGIN)
    # It is news: the next checkpoint comes within a minute.
    world.clock.move(MINUTE)
    assert sealed(world, sealer(OLD, NEW)).size >= since


def test_a_checkpoint_of_the_retired_key_is_refused_for_a_later_tree(world: World, tmp_path: Path) -> None:
    both = sealer(OLD, NEW)
    world.register()
    sealed(world, both)
    turn(world, both)
    for _ in range(BOTH_SIGN):
        world.clock.move(HOUR)
        sealed(world, both)
    keys = [one.line for one in known(world, both)]
    # A thief of the retired key, with a database to match, signs and exports as if nothing had happened.
    world.clock.move(HOUR)
    thief = sealer(OLD)
    with world.database.write() as db, without_triggers(db):
        db.execute(audit_key.delete())
    exported(world, tmp_path, thief)
    assert verify_bundle(tmp_path / "e.zip", keys=[OLD.vkey]).verified
    report = verify_bundle(tmp_path / "e.zip", keys=keys)
    assert not report.verified
    assert {one.member for one in report.problems} == {"checkpoint", "manifest.dsse.json"}


@pytest.mark.parametrize("after", [1, BOTH_SIGN])
def test_an_export_made_during_and_after_a_rotation_verifies_with_the_keys_and_sizes_it_brings(
    world: World, tmp_path: Path, after: int
) -> None:
    both = sealer(OLD, NEW)
    world.register()
    sealed(world, both)
    turn(world, both)
    for _ in range(after):
        world.clock.move(HOUR)
        sealed(world, both)
    world.register()
    exported(world, tmp_path, both)
    lines = [one.line for one in known(world, both)]
    assert verify_bundle(tmp_path / "e.zip").verified
    assert verify_bundle(tmp_path / "e.zip", keys=lines).verified
    assert verify_bundle(tmp_path / "e.zip", keys=[NEW.vkey]).verified
    # Whoever has heard of the old key only cannot check the manifest, which the new one signs.
    assert not verify_bundle(tmp_path / "e.zip", keys=[OLD.vkey]).verified


@pytest.mark.parametrize("wrong", [(NEW,), (THIRD, NEW)])
def test_a_key_that_was_never_announced_signs_nothing(world: World, wrong: Sequence[Signer]) -> None:
    world.register()
    sealed(world, sealer(OLD))
    world.clock.move(HOUR)
    with pytest.raises(SigningKeyMissing, match="not at hand"):
        sealed(world, sealer(*wrong))
    assert len(checkpoints(world)) == 1
    # With the old one at hand again, the log goes on.
    assert sealed(world, sealer(*wrong, OLD)).size > 1


def test_while_both_must_sign_neither_signs_alone(world: World) -> None:
    world.register()
    sealed(world, sealer(OLD))
    turn(world, sealer(OLD, NEW))
    for alone in (OLD, NEW):
        with pytest.raises(SigningKeyMissing):
            sealed(world, sealer(alone), force=True)


def test_a_key_of_before_or_one_that_is_not_at_hand_cannot_follow(world: World) -> None:
    world.register()
    sealed(world)
    with pytest.raises(RotationRefused, match="had this key before"):
        turn(world, sealer(OLD), OLD.vkey)
    with pytest.raises(RotationRefused, match="not at hand"):
        turn(world, sealer(OLD), NEW.vkey)
    assert world.entries("key.rotated") == []


def test_two_rotations_at_once_leave_one(world: World) -> None:
    world.register()
    sealed(world)
    by = sealer(OLD, NEW, THIRD)

    def one(vkey: str) -> bool:
        try:
            turn(world, by, vkey)
        except RotationRefused:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(one, [NEW.vkey, THIRD.vkey])) == [False, True]
    assert len(world.entries("key.rotated")) == 1
    assert len(known(world, by)) == 2


def test_a_key_announced_while_a_checkpoint_is_signed_signs_it_too(world: World) -> None:
    world.register()
    sealed(world, sealer(OLD))
    world.register()
    turned: list[int] = []

    def signer() -> Signer:
        if not turned:
            turned.append(0)
            turned.append(turn(world, replace(both, signer=lambda: OLD)))
        return OLD

    both = sealer(OLD, NEW)
    made = sealed(world, replace(both, signer=signer), force=True)
    assert made.size >= turned[1]
    assert signed_by(made.note, OLD)
    assert signed_by(made.note, NEW)
    with world.database.read() as db:
        assert len(checkpoints(world)) == 2
        assert log.latest_seal(db) == made
