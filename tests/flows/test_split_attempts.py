"""Where a former or a later owner was shredded, what is left of a thread's attempts still verifies."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.flows.going import DAY, VKEY, exported, shredded, sibling
from tests.flows.test_changes import patch
from tests.world.stepping import BeforeRead
from tests.world.world import ACTOR, PROJECT, World
from worker.audit.verify import verify_bundle
from worker.flows.attest import attest
from worker.model.evidence import Step
from worker.model.thread import Kind
from worker.store.threads import StoredThread

FORMER, LATER = "former-owner", "later-owner"


def passed_on_while_read(world: World) -> StoredThread:
    """Return a thread whose first DELETE was throttled, and which changed hands in its second claim."""
    due = world.register(kind=Kind.RESPONSE, owner=FORMER)
    sibling(world)
    world.sweep()
    world.faults("throttled@delete*1")
    world.drain(most=1)
    world.faults()
    world.forget_cooldown()
    world.clock.move(timedelta(minutes=2))
    world.wrap = lambda inner: BeforeRead(inner, lambda: patch(world, due, owner=LATER), Step.BEFORE).provider
    world.drain()
    world.wrap = lambda inner: inner
    world.clock.move(DAY + timedelta(minutes=1))
    world.drain()
    assert world.grade(due) == "sustained"
    return due


def test_what_is_left_of_a_thread_that_changed_hands_while_it_was_read_verifies(
    world: World, tmp_path: Path
) -> None:
    """The claim knew its former owner, so its grade stays where the later one is shredded."""
    passed_on_while_read(world)
    shredded(world, LATER)
    assert exported(world, tmp_path / "all.zip").problems == ()


def test_the_answer_to_its_later_owner_verifies_too(world: World, tmp_path: Path) -> None:
    passed_on_while_read(world)
    shredded(world, LATER)
    now, out = world.clock.now(), tmp_path / "owner.zip"
    window = (now - 2000 * DAY, now + DAY)
    attest(
        world.database,
        world.sealer,
        project=PROJECT,
        owner=LATER,
        window=window,
        out=out,
        actor=ACTOR,
        clock=world.clock,
    )
    assert verify_bundle(out, keys=[VKEY]).problems == ()
