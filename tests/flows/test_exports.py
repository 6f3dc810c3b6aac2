"""Exports of a real database: a later range, one owner, one order, policies, and bodies that are gone."""

from __future__ import annotations

import json
import zipfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from tests.world.databases import without_triggers
from tests.world.world import ACTOR, ORIGIN, PROJECT, World
from worker.audit import bodies
from worker.audit.bundle import BundleRefused
from worker.audit.findings import Report
from worker.audit.note import Ed25519Signer
from worker.audit.verify import verify_bundle
from worker.flows.attest import attest
from worker.flows.change import Change, change
from worker.flows.erase import order_erasure
from worker.flows.export import Extras, export
from worker.flows.seal import seal
from worker.flows.shred import shred
from worker.model.errors import Invalid, NotFound
from worker.model.thread import Kind
from worker.store import log
from worker.store.tables import audit_body
from worker.store.threads import StoredThread

DAY = timedelta(days=1)
VKEY = Ed25519Signer.from_seed(ORIGIN, b"\7" * 32).vkey


def window(world: World) -> tuple[datetime, datetime]:
    return world.clock.now() - 400 * DAY, world.clock.now() + DAY


def exported(world: World, out: Path, extras: Extras | None = None) -> Report:
    export(
        world.database,
        world.sealer,
        project=PROJECT,
        window=window(world),
        out=out,
        actor=ACTOR,
        clock=world.clock,
        extras=extras,
    )
    return verify_bundle(out, keys=[VKEY])


def attested(world: World, out: Path, **about: Any) -> Report:
    given = {"project": PROJECT, **about}
    attest(
        world.database,
        world.sealer,
        window=window(world),
        out=out,
        actor=ACTOR,
        clock=world.clock,
        **given,
    )
    return verify_bundle(out, keys=[VKEY])


def deleted(world: World, **registration: Any) -> StoredThread:
    """Register, sweep and drain until graded."""
    own = world.register(**registration)
    world.register(age=3 * DAY, owner="somebody-else")
    world.sweep()
    world.drain()
    world.clock.move(timedelta(minutes=1, seconds=1))
    world.drain()
    return own


def names(file: Path) -> list[str]:
    with zipfile.ZipFile(file) as bundle:
        return bundle.namelist()


def read(file: Path, name: str) -> str:
    with zipfile.ZipFile(file) as bundle:
        return bundle.read(name).decode()


def test_an_export_may_begin_at_an_earlier_checkpoint(world: World, tmp_path: Path) -> None:
    deleted(world)
    first = seal(world.database, world.sealer, clock=world.clock, force=True)
    assert first is not None
    deleted(world)
    report = exported(world, tmp_path / "later.zip", Extras(begin_at=first.size))
    assert (report.problems, report.first) == ((), first.size)
    assert read(tmp_path / "later.zip", "checkpoint.start") == first.note
    assert exported(world, tmp_path / "whole.zip").problems == ()
    with pytest.raises(NotFound, match="No checkpoint was made"):
        exported(world, tmp_path / "none.zip", Extras(begin_at=first.size + 1))
    assert not (tmp_path / "none.zip").exists()


def test_the_anchors_and_policies_that_were_asked_for_travel_along(world: World, tmp_path: Path) -> None:
    deleted(world)
    held = seal(world.database, world.sealer, clock=world.clock, force=True)
    assert held is not None
    extras = Extras(policies=True, anchors={"kept": held.note})
    report = exported(world, tmp_path / "e.zip", extras)
    assert report.problems == ()
    members = names(tmp_path / "e.zip")
    assert "anchors/kept" in members
    texts = [name for name in members if name.startswith("policies/")]
    assert texts
    assert all(json.loads(read(tmp_path / "e.zip", name)) for name in texts)
    assert exported(world, tmp_path / "bare.zip").verified
    assert not [one for one in names(tmp_path / "bare.zip") if one.startswith(("policies/", "anchors/"))]


def test_an_owners_answer_holds_that_owners_entries_each_proved(world: World, tmp_path: Path) -> None:
    deleted(world, owner="data-subject")
    deleted(world, owner="another")
    out = tmp_path / "answer.zip"
    report = attested(world, out, owner="data-subject")
    assert report.problems == ()
    assert (report.scope, report.of, report.grades) == ("owner", "data-subject", {"confirmed": 1})
    proofs = [name for name in names(out) if name.startswith("proofs/")]
    assert len(proofs) == report.entries == report.bodies
    with world.database.read() as db:
        for name in proofs:
            index = int(Path(name).stem)
            body = json.loads(log.body_at(db, index) or b"{}")
            assert body["project"] == PROJECT
            assert body.get("owner", "data-subject") == "data-subject"
    assert [one["type"] for one in world.entries("export.made")] == ["export.made"]
    with pytest.raises(NotFound, match="has this owner"):
        attested(world, tmp_path / "none.zip", owner="nobody")


def test_an_orders_answer_holds_the_order_and_what_it_covers(world: World, tmp_path: Path) -> None:
    own = world.register(owner="data-subject", age=3 * DAY, kind=Kind.FILE)
    world.register(age=3 * DAY, kind=Kind.FILE)
    order = order_erasure(
        world.database,
        owner="data-subject",
        ids=(),
        reason="request",
        at=None,
        actor=ACTOR,
        clock=world.clock,
    )
    world.sweep("erasure")
    world.drain()
    world.clock.move(timedelta(minutes=1, seconds=1))
    world.drain()
    assert world.grade(own) == "confirmed"
    out = tmp_path / "order.zip"
    report = attested(world, out, erasure=order.id)
    assert report.problems == ()
    assert (report.scope, report.of, report.grades) == ("erasure", order.id, {"confirmed": 1})
    ordered = world.entries("erasure.ordered")
    assert len(ordered) == 1
    with pytest.raises(NotFound, match="No erasure"):
        attested(world, tmp_path / "none.zip", erasure="era_none")
    for wrong in ({}, {"owner": "a", "erasure": "b"}):
        with pytest.raises(Invalid):
            attested(world, tmp_path / "none.zip", **wrong)


def test_an_answer_holds_what_came_before_its_checkpoint_and_verifies(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that come to the owner, and orders that are made, while an answer is sealed are not in it."""
    deleted(world, owner="data-subject")
    moved = world.register(owner="another", age=DAY)
    made: list[str] = []

    def meanwhile(_database: Any) -> None:
        if not made:
            order = order_erasure(
                world.database,
                owner="data-subject",
                ids=(),
                reason="request",
                at=None,
                actor=ACTOR,
                clock=world.clock,
            )
            made.append(order.id)
        wanted = Change(owner="data-subject", given=frozenset({"owner"}))
        change(
            world.database,
            moved.thread.id,
            wanted,
            versions=None,
            actor=ACTOR,
            clock=world.clock,
            lease=world.lease,
        )

    with monkeypatch.context() as patched:
        patched.setattr("worker.flows.export.lay_tiles", meanwhile)
        report = attested(world, tmp_path / "answer.zip", owner="data-subject")
    assert report.problems == ()
    assert report.grades == {"confirmed": 1}
    assert attested(world, tmp_path / "later.zip", owner="data-subject").entries > report.entries
    assert attested(world, tmp_path / "order.zip", erasure=made[0]).problems == ()


def test_the_answer_to_an_order_whose_own_entry_was_shredded_says_that_it_is_gone(
    world: World, tmp_path: Path
) -> None:
    deleted(world, owner="data-subject")
    order = order_erasure(
        world.database,
        owner="data-subject",
        ids=(),
        reason="request",
        at=None,
        actor=ACTOR,
        clock=world.clock,
    )
    world.clock.move(2 * DAY)
    world.drain()
    before = attested(world, tmp_path / "before.zip", erasure=order.id)
    assert before.problems == ()
    shred(
        world.database, world.sealer, owner="data-subject", reason="request", actor=ACTOR, clock=world.clock
    )
    out = tmp_path / "after.zip"
    report = attested(world, out, erasure=order.id)
    assert report.problems == ()
    assert any("more have no body any more" in one for one in report.notes)
    with zipfile.ZipFile(out) as archive:
        assert not [one for one in archive.namelist() if one.startswith("proofs/")]


def test_a_body_that_went_by_itself_stops_the_export_and_one_that_was_shredded_does_not(
    world: World, tmp_path: Path
) -> None:
    own = deleted(world)
    with world.database.write() as db, without_triggers(db):
        index = log.bodies_of_subjects(db, PROJECT, [own.thread.id])[0]
        db.execute(delete(audit_body).where(audit_body.c.idx == index))
    with pytest.raises(BundleRefused, match=f"leaf {index} is missing"):
        exported(world, tmp_path / "e.zip")
    with world.database.write() as db:
        said = bodies.body_shredded(
            PROJECT, leaves=[(index, index + 1)], reason="order", at=world.clock.now(), actor=ACTOR
        )
        log.append(db, [said])
    report = exported(world, tmp_path / "e.zip")
    assert (report.problems, report.bodies_gone) == ((), 1)
