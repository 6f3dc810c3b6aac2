"""A parked thread is explained by its reason and by what a person can do."""

from __future__ import annotations

import pytest

from tests.world.world import World
from worker.flows.explain import explain_thread
from worker.model.thread import Kind
from worker.store.threads import StoredThread


def _lines(world: World, stored: StoredThread) -> str:
    with world.database.read() as db:
        return "\n".join(explain_thread(db, world.thread(stored), now=world.clock.now()).lines)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("endpoint-retired", ["unverifiable/endpoint_retired", "no such endpoint", "nothing is certified"]),
        ("refused-key", ["unverifiable/forbidden", "refused the key"]),
        ("object-404", ["unverifiable/control_failed", "neither was anything else"]),
    ],
)
def test_what_is_parked_says_why_and_how_it_is_taken_up_again(
    world: World, fault: str, words: list[str]
) -> None:
    stored = world.register(kind=Kind.THREAD)
    assert "parked" not in _lines(world, stored)
    world.faults(fault)
    world.sweep()
    world.drain()
    told = _lines(world, stored)
    assert [word for word in [*words, "failures retry", "failures list --each"] if word not in told] == []


def test_what_was_deleted_is_not_called_parked(world: World) -> None:
    world.register(kind=Kind.RESPONSE)
    stored = world.register(kind=Kind.RESPONSE)
    world.sweep()
    world.drain()
    assert "parked" not in _lines(world, stored)
