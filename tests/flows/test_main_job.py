"""The main job: registered, swept, deleted at the provider, read again, graded, recorded."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.world.world import World
from worker.model.thread import Kind, ThreadState


@pytest.mark.parametrize("kind", [Kind.CONVERSATION, Kind.THREAD, Kind.RESPONSE, Kind.FILE])
def test_a_due_thread_is_deleted_and_confirmed(world: World, kind: Kind) -> None:
    due, young = world.register(kind=kind), world.register(kind=kind, age=timedelta(days=3))
    world.sweep()
    world.drain()
    assert (world.grade(due), world.state(due), world.exists(due)) == (
        "confirmed",
        ThreadState.DELETED,
        False,
    )
    assert (world.state(young), world.exists(young)) == (ThreadState.LIVE, True)
    assert len(world.deletes(due.thread.external_id)) == 1
