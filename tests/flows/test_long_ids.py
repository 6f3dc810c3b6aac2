"""Ids that an observation holds cut: what is told of a thread and of its control still verifies."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.flows.going import DAY, exported
from tests.world.world import World
from worker.model.thread import Kind
from worker.sandbox.kinds import ObjectKind


def _made(world: World, external_id: str, age: timedelta) -> None:
    """Make a response, and give it this id."""
    kind, store = ObjectKind.RESPONSE, world.sandbox.store
    made = world.make(Kind.RESPONSE, age=age)
    found = store._containers[kind].pop(made)
    store._containers[kind][external_id] = replace(found, id=external_id)
    store._children[external_id] = store._children.pop(made)


@pytest.mark.parametrize("length", [79, 80, 81, 133])
def test_a_thread_and_its_control_whose_ids_begin_alike_verify(
    world: World, tmp_path: Path, length: int
) -> None:
    begin = "resp_".ljust(length - 1, "a")
    for end, age in (("x", 40 * DAY), ("y", 3 * DAY)):
        _made(world, begin + end, age)
    due = world.register(begin + "x", kind=Kind.RESPONSE)
    world.register(begin + "y", kind=Kind.RESPONSE, age=3 * DAY)
    world.sweep()
    world.drain()
    world.clock.move(DAY + timedelta(minutes=1))
    world.drain()
    assert world.grade(due) == "sustained"
    assert exported(world, tmp_path / "evidence.zip").problems == ()
