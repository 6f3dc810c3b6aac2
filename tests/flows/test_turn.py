"""A part of a turn that is impossible now never stops the rest, and is not forgotten."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select

from tests.world.world import PROJECT, World
from worker.flows.turn import turn
from worker.model.thread import Kind
from worker.policy.document import Project
from worker.providers.base import Provider
from worker.providers.keys import KeyMissing
from worker.store import canaries
from worker.store.canaries import Canary
from worker.store.tables import canary

_LATER = timedelta(hours=25)


def _without_a_key(_project: Project) -> Provider:
    raise KeyMissing("The variable holds no provider key.", repair="Set it.")


def _turn_without_a_key(world: World) -> Counter[str]:
    return asyncio.run(turn(replace(world.tools(), provider_for=_without_a_key), world.credential))


def test_without_a_key_a_turn_ends_quietly_and_all_of_it_is_done_once_the_key_is_there(world: World) -> None:
    due = world.register(kind=Kind.RESPONSE)
    world.register(kind=Kind.RESPONSE, age=timedelta(days=1))
    world.sweep()
    world.drain()
    left = world.make(Kind.CONVERSATION)
    with world.database.write() as db:
        bird = Canary(project=PROJECT, kind=Kind.CONVERSATION, external_id=left)
        canaries.keep(db, bird, world.clock.now())
    world.clock.move(_LATER)

    assert _turn_without_a_key(world).total() == 0
    assert world.grade(due) == "confirmed"
    with world.database.read() as db:
        assert len(db.execute(select(canary)).all()) == 1

    world.clock.move(timedelta(hours=1))
    world.drain()
    assert world.grade(due) == "sustained"
    with world.database.read() as db:
        assert db.execute(select(canary)).all() == []
