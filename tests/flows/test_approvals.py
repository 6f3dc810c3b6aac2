"""A bundle that loosens comes into force only with somebody else's approval of just this step."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import structlog
from sqlalchemy import Connection

from tests.world.approving import AUTHOR, REVIEWER, approved, previewed
from tests.world.world import ACTOR, POLICIES, World, project_document
from worker.flows.activate import Activated, activate
from worker.flows.approve import (
    LASTS,
    NoApprovalNeeded,
    OwnProposal,
    PreviewVoid,
    WrongDigest,
    approve_preview,
)
from worker.flows.await_approval import Awaiting, awaiting
from worker.flows.loosening import compare_with
from worker.model.decision import HoldScope
from worker.model.errors import NotFound
from worker.model.thread import Kind
from worker.policy.compare import Comparison
from worker.policy.document import Bundle
from worker.policy.load import Loaded, load_folder, load_texts
from worker.store import keys, previews
from worker.store.previews import PreviewState, StoredPreview
from worker.store.protections import StoredHold

DAY = timedelta(days=1)
COMPARING = "worker.flows.activate.compare_with"


def text(world: World, days: int = 30, *, extra: str = "", guard: int = 1000) -> str:
    rules = POLICIES.replace("after: 30d", f"after: {days}d").replace(
        "max_deletes: 1000", f"max_deletes: {guard}"
    )
    return rules + project_document(world.sandbox.base_url, extra=extra)


def bundle(of: str) -> Bundle:
    found = load_texts({"policies.yaml": of}, key_globs=("*",)).bundle
    assert found is not None
    return found


def look(world: World) -> Activated:
    """Let beat look at the folder as it is."""
    return activate(world.database, world.source, actor=ACTOR, clock=world.clock)


def propose(world: World, of: str, *, actor: str = AUTHOR) -> StoredPreview:
    return previewed(world.database, world.source, of, clock=world.clock, actor=actor)


def approve(world: World, made: StoredPreview, *, actor: str = REVIEWER) -> StoredPreview:
    return approved(world.database, made, clock=world.clock, actor=actor)


def waits(world: World) -> Awaiting | None:
    with world.database.read() as db:
        return awaiting(db)


def is_in_force(world: World, of: str) -> bool:
    return world.bundle.digest == bundle(of).digest


def test_without_an_approval_the_old_bundle_stays_and_deletes_by_the_old_date(world: World) -> None:
    young = world.register(kind=Kind.FILE, age=25 * DAY)
    done = world.look_at(text(world, 20))
    assert (done.changed, done.awaiting) == (False, True)
    assert is_in_force(world, text(world))
    assert world.sweep().planned == 0
    world.drain()
    assert world.exists(young)
    assert not world.deletes()


def test_with_an_approval_it_comes_into_force_and_both_names_are_on_record(world: World) -> None:
    young = world.register(kind=Kind.FILE, age=25 * DAY)
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.look_at(text(world, 20))
    made = propose(world, text(world, 20))
    assert approve(world, made).state is PreviewState.APPROVED
    done = look(world)
    assert (done.changed, done.awaiting) == (True, False)
    assert waits(world) is None
    [given] = world.entries("bundle.approved")
    assert given["actor"] == REVIEWER
    assert (given["proposed_by"], given["preview"], given["bundle"]) == (AUTHOR, made.id, made.head_digest)
    assert given["base"] == made.base_digest
    assert world.entries("bundle.activated")[-1]["approved_by"] == REVIEWER
    world.tick()
    world.sweep()
    world.drain()
    assert world.grade(young) == "confirmed"


def test_a_waiting_bundle_is_alerted_and_recorded_once_however_often_it_is_seen(world: World) -> None:
    with structlog.testing.capture_logs() as told:
        for _ in range(3):
            world.look_at(text(world, 20))
    alerts = [one for one in told if one.get("alert") == "bundle.awaiting_approval"]
    assert [one["bundle"] for one in alerts] == [bundle(text(world, 20)).digest]
    [refused] = world.entries("bundle.refused")
    assert refused["bundle"] == bundle(text(world, 20)).digest
    assert any("spec.delete.after" in line for line in refused["problems"])
    waiting = waits(world)
    assert waiting is not None
    assert (waiting.digest, waiting.base) == (bundle(text(world, 20)).digest, bundle(text(world)).digest)


def test_two_beats_that_meet_a_loosening_at_once_record_it_once_and_change_nothing(world: World) -> None:
    (world.folder / "policies.yaml").write_text(text(world, 20), encoding="utf-8")
    with ThreadPoolExecutor(4) as pool:
        done = [one.result(20) for one in [pool.submit(look, world) for _ in range(4)]]
    assert {(one.changed, one.awaiting) for one in done} == {(False, True)}
    assert len(world.entries("bundle.refused")) == 1
    approve(world, propose(world, text(world, 20)))
    with ThreadPoolExecutor(4) as pool:
        done = [one.result(20) for one in [pool.submit(look, world) for _ in range(4)]]
    assert sum(one.changed for one in done) == 1
    assert len(world.entries("bundle.activated")) == 2


def test_what_tightens_needs_nobody(world: World) -> None:
    assert world.look_at(text(world, 60)).changed
    assert is_in_force(world, text(world, 60))
    assert world.entries("bundle.activated")[-1]["approved_by"] is None


def test_a_tightening_beside_a_loosening_waits_with_it_and_goes_alone_at_once(world: World) -> None:
    assert world.look_at(text(world, 60, guard=2000)).awaiting
    assert is_in_force(world, text(world))
    assert world.look_at(text(world, 60)).changed
    assert waits(world) is None


def test_a_way_back_that_loosens_needs_an_approval_as_well(world: World) -> None:
    assert world.look_at(text(world, 60)).changed
    assert world.look_at(text(world)).awaiting
    assert is_in_force(world, text(world, 60))


def test_a_changed_account_waits(world: World) -> None:
    assert world.look_at(text(world, extra="provider_project: proj_other")).awaiting


def test_whoever_proposed_it_cannot_approve_it(world: World) -> None:
    made = propose(world, text(world, 20))
    with pytest.raises(OwnProposal):
        approve(world, made, actor=AUTHOR)
    assert world.look_at(text(world, 20)).awaiting


def test_an_approval_is_of_the_digest_that_was_previewed(world: World) -> None:
    made, other = propose(world, text(world, 20)), bundle(text(world, 10))
    with pytest.raises(WrongDigest):
        approve_preview(
            world.database, made.id, digest=other.digest, reason="r", actor=REVIEWER, clock=world.clock
        )
    approve(world, made)
    assert world.look_at(text(world, 10)).awaiting
    assert world.look_at(text(world, 20)).changed


def test_an_approval_ends_after_72_hours(world: World) -> None:
    approve(world, propose(world, text(world, 20)))
    world.clock.move(LASTS)
    assert world.look_at(text(world, 20)).awaiting
    assert is_in_force(world, text(world))


def test_an_approval_that_beat_was_too_late_for_may_be_given_anew(world: World) -> None:
    approve(world, propose(world, text(world, 20)))
    world.clock.move(LASTS)
    approve(world, propose(world, text(world, 20)))
    world.clock.move(LASTS - timedelta(minutes=1))
    assert world.look_at(text(world, 20)).changed


def test_an_old_preview_cannot_be_approved(world: World) -> None:
    made = propose(world, text(world, 20))
    world.clock.move(LASTS)
    with pytest.raises(PreviewVoid, match="72 hours"):
        approve(world, made)


def test_a_new_preview_of_the_same_bundle_voids_the_approval(world: World) -> None:
    first = propose(world, text(world, 20))
    approve(world, first)
    second = propose(world, text(world, 20))
    assert world.look_at(text(world, 20)).awaiting
    with pytest.raises(PreviewVoid, match=second.id):
        approve(world, first)
    approve(world, second)
    assert look(world).changed


def test_a_preview_of_another_bundle_voids_nothing(world: World) -> None:
    approve(world, propose(world, text(world, 20)))
    propose(world, text(world, 10))
    assert world.look_at(text(world, 20)).changed


def test_an_approval_is_void_once_another_bundle_is_in_force(world: World) -> None:
    approve(world, propose(world, text(world, 20)))
    assert world.look_at(text(world, 60)).changed
    assert world.look_at(text(world, 20)).awaiting


def test_it_stays_void_when_the_old_base_comes_back(world: World) -> None:
    approve(world, propose(world, text(world, 20)))
    assert world.look_at(text(world, 60)).changed
    world.policies(text(world, 30))
    assert world.look_at(text(world, 20)).awaiting


def test_a_preview_of_another_base_cannot_be_approved(world: World) -> None:
    made = propose(world, text(world, 20))
    assert world.look_at(text(world, 60)).changed
    with pytest.raises(PreviewVoid, match="since the preview"):
        approve(world, made)


def test_an_approval_that_crossed_an_activation_counts_for_its_own_base_alone(world: World) -> None:
    """It was given while another bundle came into force, so nothing could void it."""
    made = propose(world, text(world, 20))
    approve(world, made)
    assert made.base_digest is not None
    with world.database.read() as db:
        for base, lives in ((made.base_digest, True), (bundle(text(world, 60)).digest, False)):
            found = previews.live_approval(
                db, base_digest=base, digest=made.head_digest, now=world.clock.now()
            )
            assert (found is not None) is lives


def test_an_approval_serves_once(world: World) -> None:
    made = propose(world, text(world, 20))
    approve(world, made)
    assert world.look_at(text(world, 20)).changed
    assert world.look_at(text(world, 30)).changed
    assert world.look_at(text(world, 20)).awaiting
    with pytest.raises(PreviewVoid, match="before"):
        approve(world, made)


def test_what_loosens_nothing_has_nothing_to_approve(world: World) -> None:
    with pytest.raises(NoApprovalNeeded):
        approve(world, propose(world, text(world, 60)))
    made = propose(world, text(world, 20))
    approve(world, made)
    with pytest.raises(NoApprovalNeeded, match="before"):
        approve(world, made, actor="key:third")
    with pytest.raises(NotFound):
        approve_preview(
            world.database, "prv_0", digest=made.head_digest, reason="r", actor=REVIEWER, clock=world.clock
        )


def test_two_approvals_at_once_are_one(world: World) -> None:
    made = propose(world, text(world, 20))

    def give(number: int) -> str:
        try:
            approve(world, made, actor=f"key:{number}")
        except NoApprovalNeeded:
            return "refused"
        return "given"

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(give, range(3))) == ["given", "refused", "refused"]
    assert len(world.entries("bundle.approved")) == 1


def test_a_folder_that_returns_to_what_is_in_force_leaves_nothing_waiting_or_refused(world: World) -> None:
    assert world.look_at(text(world, 20)).awaiting
    world.look_at("kind: nonsense\n")
    assert waits(world) is None
    world.look_at(text(world))
    with world.database.read() as db:
        refused = keys.read_fact(db, "bundle.refused")
    assert refused is not None
    assert refused[0] == []


def test_a_beat_that_compared_with_a_bundle_that_is_gone_changes_nothing_yet(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two beats with unlike folders: the second must compare with what the first put in force."""
    tightened, place = text(world, 60), "worker.flows.activate.load_folder"

    def meanwhile(*args: Any, **more: Any) -> Loaded:
        loaded = load_folder(*args, **more)
        monkeypatch.setattr(place, load_folder)
        world.look_at(tightened)
        return loaded

    # 40 days tighten the 30 that this beat saw, and loosen the 60 that are in force by then.
    (world.folder / "policies.yaml").write_text(text(world, 40), encoding="utf-8")
    monkeypatch.setattr(place, meanwhile)
    done = look(world)
    assert (done.changed, done.awaiting) == (False, False)
    assert is_in_force(world, tightened)
    assert world.look_at(text(world, 40)).awaiting


def test_a_hold_is_placed_while_beat_still_compares(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[StoredHold] = []

    def hold_meanwhile(db: Connection, base: Bundle | None, head: Bundle) -> Comparison:
        placed.append(world.hold(HoldScope(owners=("*",))))
        return compare_with(db, base, head)

    monkeypatch.setattr(COMPARING, hold_meanwhile)
    assert world.look_at(text(world, 40)).changed
    assert len(placed) == 1


def test_a_bundle_that_left_and_came_back_during_the_comparison_is_compared_with_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = text(world)

    def gone_and_back(db: Connection, base: Bundle | None, head: Bundle) -> Comparison:
        told = compare_with(db, base, head)
        monkeypatch.setattr(COMPARING, compare_with)
        for of in (text(world, 50), before):
            world.policies(of)
        return told

    monkeypatch.setattr(COMPARING, gone_and_back)
    assert not world.look_at(text(world, 40)).changed
    assert is_in_force(world, before)


def test_the_first_bundle_and_projects_of_the_sandbox_need_nobody(world: World) -> None:
    plain = text(world)
    world.register(kind=Kind.FILE)
    sandbox = project_document(world.sandbox.base_url, "demo-finance", extra="provider_project: f").replace(
        "TENURE_KEY_TEST", "TENURE_KEY_SANDBOX"
    )
    assert world.look_at(plain + sandbox).changed
    world.register(kind=Kind.FILE, project="demo-finance")
    # Another start listens on another port, and the next one runs without a sandbox.
    assert world.look_at(plain + sandbox.replace(world.sandbox.base_url, "http://127.0.0.1:9/v1")).changed
    assert world.look_at(plain).changed
    assert world.look_at(plain + sandbox).changed
    real = sandbox.replace("TENURE_KEY_SANDBOX", "TENURE_KEY_TEST")
    assert world.look_at(plain).changed
    assert world.look_at(plain + real).awaiting, "a real project with threads that may be deleted"


def test_a_project_cannot_change_its_account_by_way_of_the_sandboxs_key(world: World) -> None:
    real = text(world)
    as_sandbox = real.replace("TENURE_KEY_TEST", "TENURE_KEY_SANDBOX")
    assert world.look_at(as_sandbox).awaiting
    assert is_in_force(world, real)
    world.policies(as_sandbox)
    assert world.look_at(real).awaiting
    assert is_in_force(world, as_sandbox)


def test_approvals_live_until_they_are_used_voided_or_over(world: World) -> None:
    made = propose(world, text(world, 20))
    approve(world, made)
    with world.database.read() as db:
        given = previews.approval_of(db, made.id)
    assert given is not None
    assert given.lives(given.at)
    assert given.lives(given.expires_at - timedelta(seconds=1))
    assert not given.lives(given.expires_at)
