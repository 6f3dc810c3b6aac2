"""Threads that came to their end by long ways: whatever was tried on them, what is told of it verifies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from tests.flows.going import DAY, VKEY, exported, pruned, shredded, sibling
from tests.flows.test_failures import parked, take_note, take_up
from tests.world.crash import kill_at
from tests.world.world import ACTOR, POLICIES, PROJECT, World, project_document
from worker.audit.observed import MAX_PASSES
from worker.audit.verify import verify_bundle
from worker.flows.attest import attest
from worker.flows.claim import claim
from worker.flows.dispose import MOST_ABANDONED
from worker.model.thread import Kind, ThreadState
from worker.store.threads import StoredThread

OWNER = "data-subject-81"
A_DAY = 24 * 60 + 1
_ANSWERS = (
    "lost-request@delete",
    "throttled@delete*2",
    "error-500@delete",
    "read-only-key",
    "forbidden",
    "lost-request@delete*1",
)


def due_thread(world: World) -> StoredThread:
    due = world.register(kind=Kind.RESPONSE, owner=OWNER)
    sibling(world)
    world.sweep()
    return due


def drains(world: World, *minutes: int) -> None:
    """Work off what is ready after each of these waits."""
    for one in minutes:
        world.clock.move(timedelta(minutes=one))
        world.forget_cooldown()
        world.drain()


def take_up_all(world: World) -> None:
    """Retry whatever is parked, accepted or not, and plan it."""
    for one in [*parked(world), *parked(world, accepted=True)]:
        take_up(world, one.fingerprint)
    world.sweep()


def problems(world: World, folder: Path) -> Sequence[object]:
    """Return what a verifier says of the project's export and of the answer to the owner."""
    now, out = world.clock.now(), folder / "owner.zip"
    attest(
        world.database,
        world.sealer,
        project=PROJECT,
        owner=OWNER,
        window=(now - 2000 * DAY, now + DAY),
        out=out,
        actor=ACTOR,
        clock=world.clock,
    )
    return [*exported(world, folder / "all.zip").problems, *verify_bundle(out, keys=[VKEY]).problems]


def test_more_attempts_than_a_grade_can_tell_of_every_kind(world: World, tmp_path: Path) -> None:
    due = due_thread(world)
    for number in range(18):
        world.faults(_ANSWERS[number % len(_ANSWERS)])
        drains(world, 0, 1)
        world.faults("lying-200@delete" if number % 5 == 4 else "read-only-key")
        drains(world, 2, 30, 61, 61, 61)
        take_up_all(world)
    world.faults()
    while world.state(due) is not ThreadState.DELETED:
        drains(world, 61, 61, 61)
        take_up_all(world)
    drains(world, A_DAY)
    assert world.grade(due) == "sustained"
    assert len(world.entries("delete.intended", due)) > MAX_PASSES
    assert problems(world, tmp_path) == []


def test_a_thread_that_its_workers_abandoned_after_its_delete(world: World, tmp_path: Path) -> None:
    due = due_thread(world)
    kill_at(world, after_delete=True)
    for _ in range(MOST_ABANDONED):
        claim(world.database, world.credential, by="worker-2", lease=world.lease, clock=world.clock)
        world.clock.move(world.lease.length + timedelta(seconds=1))
    world.drain()
    assert (world.state(due), world.thread(due).reason) == (ThreadState.PARKED, "abandoned")
    take_up_all(world)
    drains(world, 0, A_DAY)
    assert world.grade(due) == "sustained"
    assert problems(world, tmp_path) == []


def test_a_thread_whose_account_changed_between_two_attempts(world: World, tmp_path: Path) -> None:
    due = due_thread(world)
    world.faults("lost-request@delete*1")
    world.drain(most=1)
    world.policies(POLICIES + project_document(world.sandbox.base_url.replace("/v1", "/v2")))
    drains(world, 2)
    assert (world.state(due), world.thread(due).reason) == (ThreadState.PARKED, "account_changed")
    world.policies(POLICIES + project_document(world.sandbox.base_url))
    take_up_all(world)
    drains(world, 0, A_DAY)
    assert world.grade(due) == "sustained"
    assert problems(world, tmp_path) == []


def test_a_thread_that_was_accepted_and_shredded_and_then_taken_up(world: World, tmp_path: Path) -> None:
    """Its attempts of before are gone from the log, and stand in its grades."""
    world.faults("lying-200@delete")
    due = due_thread(world)
    drains(world, 0, 2, 11)
    world.faults()
    (failure,) = parked(world)
    take_note(world, failure.fingerprint)
    shredded(world, OWNER)
    take_up_all(world)
    drains(world, 0, A_DAY)
    assert world.grade(due) == "sustained"
    assert problems(world, tmp_path) == []
    world.clock.move(500 * DAY)
    assert pruned(world).pruned
    assert problems(world, tmp_path) == []
