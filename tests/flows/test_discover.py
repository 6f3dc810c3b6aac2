"""What the provider holds and nobody registered is found, told, and adopted only on request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.world.world import ACTOR, PROJECT, World
from worker.flows.discover import Coverage, adopt, discover
from worker.model.errors import Invalid
from worker.model.thread import Kind
from worker.sandbox.options import parse_faults
from worker.store.listing import Filter, page


def _discover(world: World, *, project: str = PROJECT, kinds: Sequence[Kind] | None = None) -> list[Coverage]:
    async def look() -> list[Coverage]:
        tools = world.tools()
        try:
            return await discover(tools, project, kinds=kinds, progress=lambda _seen: None)
        finally:
            await tools.close()

    return asyncio.run(look())


def test_unregistered_files_are_named_and_registered_ones_counted(world: World) -> None:
    known, strange = world.register(kind=Kind.FILE), world.make(Kind.FILE)
    found = {one.kind: one for one in _discover(world)}
    files = found[Kind.FILE]
    assert (files.found, files.registered) == (2, 1)
    assert [one.id for one in files.unregistered] == [strange]
    assert known.thread.external_id not in {one.id for one in files.unregistered}
    assert Kind.CONVERSATION not in found


def test_a_list_of_many_pages_is_read_whole(world: World) -> None:
    made = {world.make(Kind.FILE) for _ in range(230)}
    (files,) = _discover(world, kinds=[Kind.FILE])
    assert {one.id for one in files.unregistered} == made


def test_what_is_adopted_has_its_owner_and_twice_is_once(world: World) -> None:
    strange = world.make(Kind.FILE)
    for expected in (1, 0):
        coverage = _discover(world, kinds=[Kind.FILE])
        made = adopt(world.tools(), PROJECT, coverage, owner="finder", ttl="7d", now=world.clock.now())
        assert made == expected
    with world.database.read() as db:
        (adopted,) = page(db, Filter(project=PROJECT), limit=10)
    assert (adopted.thread.external_id, adopted.thread.owner, adopted.thread.ttl) == (
        strange,
        "finder",
        "P7D",
    )
    assert adopted.thread.created_at is not None
    assert [one["actor"] for one in world.entries("thread.registered")] != [ACTOR]


def test_a_kind_without_a_list_says_why(world: World) -> None:
    (told,) = _discover(world, kinds=[Kind.CONVERSATION])
    assert told.found == 0
    assert told.problem


def test_a_list_that_fails_is_told_and_nothing_is_called_covered(world: World) -> None:
    world.make(Kind.FILE)
    world.sandbox.set_faults(parse_faults(["error-500:file"]))
    (told,) = _discover(world, kinds=[Kind.FILE])
    assert told.problem == "the list answered 500"


def test_an_unknown_project_is_refused(world: World) -> None:
    with pytest.raises(Invalid):
        _discover(world, project="nobody")
