"""Behind a gateway whose ids nobody can read, no answer echoes the sent id, so nothing is believed."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.world.world import POLICIES, World, make_world
from worker.model.thread import Kind, ThreadState
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.options import Dialect, SandboxOptions
from worker.store import work
from worker.store.threads import StoredThread


@pytest.fixture
def world(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world whose provider stands behind an opaque gateway."""
    options = SandboxOptions(dialect=Dialect.GATEWAY_OPAQUE)
    with make_world(database_url, tmp_path / "policies", options) as made:
        monkeypatch.setattr(work, "lease_clock", made.clock.lease_clock)
        made.rules(POLICIES, extra="profile: generic")
        yield made


def _made(world: World) -> StoredThread:
    """Let a producer make a response through the gateway, and register the id that it was given."""
    request = urllib.request.Request(
        f"{world.sandbox.base_url}/responses",
        data=json.dumps({"model": "m", "input": "x"}).encode(),
        headers={"Authorization": "Bearer k", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answered:
        return world.register(str(json.load(answered)["id"]), kind=Kind.RESPONSE)


def _work_off(world: World) -> None:
    world.sweep()
    for _ in range(12):
        world.drain()
        world.clock.move(timedelta(hours=1))


def test_an_opaque_id_is_parked_without_a_delete_and_the_response_stays(world: World) -> None:
    due = _made(world)
    _work_off(world)
    assert (world.grade(due), world.state(due)) == ("unverifiable/provider_error", ThreadState.PARKED)
    assert world.deletes() == []
    assert len(list(world.sandbox.store.every(ObjectKind.RESPONSE))) == 1


def test_an_opaque_id_of_a_response_that_is_gone_is_not_graded_as_gone(world: World) -> None:
    due = _made(world)
    (own,) = [one.id for one in world.sandbox.store.every(ObjectKind.RESPONSE)]
    assert world.sandbox.store.delete(ObjectKind.RESPONSE, own)
    _work_off(world)
    grade = world.grade(due)
    assert grade is not None
    assert grade.startswith("unverifiable/")
    assert world.state(due) is not ThreadState.DELETED
    assert world.deletes() == []
