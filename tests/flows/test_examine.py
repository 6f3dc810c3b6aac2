"""Examining a project reads one live thread per kind, names what does not answer, and changes nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from tests.world.world import PROJECT, World
from worker.flows.examine import Examined, KindExamined, examine
from worker.flows.tools import Tools
from worker.model.evidence import Class
from worker.model.thread import Kind
from worker.policy.document import Project
from worker.providers.base import Provider
from worker.providers.keys import KeyMissing


def _examine(world: World, tools: Tools | None = None) -> Examined:
    used = tools or world.tools()

    async def run() -> Examined:
        try:
            return await examine(used, world.bundle.projects[PROJECT])
        finally:
            await used.close()

    return asyncio.run(run())


def _kinds(found: Examined) -> dict[Kind, Class | None]:
    return {one.kind: one.seen.seen if one.seen else None for one in found.kinds}


def _only(found: Examined) -> KindExamined:
    (one,) = found.kinds
    return one


def test_each_kind_with_live_threads_is_read_once_and_nothing_else_is_sent(world: World) -> None:
    for kind in (Kind.CONVERSATION, Kind.CONVERSATION, Kind.FILE):
        world.register(kind=kind)
    found = _examine(world)
    assert found.failure is None
    assert _kinds(found) == {Kind.CONVERSATION: Class.PRESENT, Kind.FILE: Class.PRESENT}
    assert [one.method for one in world.sandbox.requests()] == ["GET", "GET"]
    assert found.ahead is not None
    assert abs(found.ahead) < timedelta(seconds=60)


def test_a_project_without_live_threads_is_asked_nothing(world: World) -> None:
    found = _examine(world)
    assert (found.kinds, found.ahead, found.failure) == ((), None, None)
    assert not world.sandbox.requests()


def test_a_refused_key_is_seen_as_denied(world: World) -> None:
    world.register()
    world.faults("refused-key")
    assert _kinds(_examine(world)) == {Kind.CONVERSATION: Class.DENIED}


def test_a_key_that_does_not_resolve_is_a_finding_and_nothing_is_sent(world: World) -> None:
    def without_key(_project: Project) -> Provider:
        raise KeyMissing("There is none.", repair="Set it.")

    world.register()
    found = _examine(world, replace(world.tools(), provider_for=without_key))
    assert isinstance(found.failure, KeyMissing)
    assert not world.sandbox.requests()


def test_a_retired_endpoint_is_told_apart_and_its_end_date_named(world: World) -> None:
    world.register(kind=Kind.THREAD)
    world.register(kind=Kind.FILE)
    world.faults("endpoint-retired:thread")
    found = _examine(world)
    assert _kinds(found) == {Kind.THREAD: Class.ROUTE_ABSENT, Kind.FILE: Class.PRESENT}
    ends = {one.kind: one.end_warning for one in found.kinds}
    assert ends[Kind.FILE] is None
    assert "2026-08-26" in (ends[Kind.THREAD] or "")


def test_one_thread_that_somebody_else_deleted_says_nothing_about_its_kind(world: World) -> None:
    world.register()
    world.vanish(world.register())
    seen = _only(_examine(world))
    assert (seen.seen.seen if seen.seen else None, seen.reads) == (Class.PRESENT, 2)


def test_threads_that_are_all_gone_are_told_as_absent(world: World) -> None:
    world.vanish(world.register())
    world.vanish(world.register())
    seen = _only(_examine(world))
    assert (seen.seen.seen if seen.seen else None, seen.reads) == (Class.OBJECT_ABSENT, 2)


def test_a_clock_that_is_set_wrong_shows_against_the_providers_date(world: World) -> None:
    world.register()
    world.clock.step(timedelta(minutes=5))
    ahead = _examine(world).ahead
    assert ahead is not None
    assert timedelta(minutes=4) < ahead < timedelta(minutes=6)


def test_nothing_is_written_by_examining(world: World) -> None:
    world.register()
    before = world.entries()
    _examine(world)
    assert world.entries() == before
