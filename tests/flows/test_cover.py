"""The coverage sweep counts what nobody registered, gives way to deletions, and tells of it once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import structlog

from tests.world.stepping import Passing
from tests.world.world import ACTOR, POLICIES, PROJECT, World, project_document
from worker.flows.cover import cover
from worker.flows.tick import Ticker, tick
from worker.flows.tools import Tools
from worker.model.thread import Kind
from worker.policy.document import Project
from worker.providers.base import ListPage, Provider
from worker.providers.keys import KeyMissing
from worker.store import canaries, coverages
from worker.store.canaries import Canary
from worker.store.coverages import KindCoverage, Look

_DAY = timedelta(hours=24)


class _SamePage(Passing):
    """A server that takes no cursor: it answers the first page for ever."""

    async def list_page(self, kind: Kind, *, after: str | None, timeout: float) -> ListPage:
        del after
        page = await self.inner.list_page(kind, after=None, timeout=timeout)
        return replace(page, has_more=bool(page.objects))


def _look(world: World, *, tools: Tools | None = None, project: str = PROJECT, rounds: int = 1) -> bool:
    used = replace(tools or world.tools(), look_every=_DAY)

    async def run() -> bool:
        try:
            return [await cover(used, project) for _ in range(rounds)][-1]
        finally:
            await used.close()

    return asyncio.run(run())


def _found(world: World, project: str = PROJECT) -> dict[Kind, KindCoverage]:
    with world.database.read() as db:
        return {one.kind: one for one in coverages.of_projects(db, [project]).get(project, ())}


def _look_of(world: World, until: timedelta) -> Look | None:
    now = world.clock.now()
    with world.database.write() as db:
        return coverages.take(db, PROJECT, now=now, until=now + until)


def _alerts(told: list[Any]) -> list[int]:
    return [one["unregistered"] for one in told if one.get("alert") == "coverage.unregistered"]


def _tick(world: World) -> list[str]:
    looked: list[str] = []
    ticker = Ticker(
        database=world.database,
        clock=world.clock,
        every=timedelta(seconds=15),
        actor=ACTOR,
        wake=lambda _credential: None,
        look=looked.append,
    )
    tick(ticker)
    return looked


def test_found_and_registered_are_counted_for_each_kind_that_can_be_listed(world: World) -> None:
    world.register(kind=Kind.FILE)
    for _ in range(2):
        world.make(Kind.FILE)
    world.make(Kind.CHATKIT_THREAD)
    assert _look(world)
    found = _found(world)
    numbers = {kind: (one.found, one.registered, one.unregistered) for kind, one in found.items()}
    assert numbers[Kind.FILE] == (3, 1, 2)
    assert numbers[Kind.CHATKIT_THREAD] == (1, 0, 1)
    assert {Kind.VECTOR_STORE, Kind.CONTAINER, Kind.CHAT_COMPLETION} <= set(found)
    assert not {Kind.CONVERSATION, Kind.RESPONSE, Kind.THREAD} & set(found)
    assert all(one.problem is None for one in found.values())


def test_nothing_is_changed_at_the_provider_and_nothing_is_written_to_the_log(world: World) -> None:
    world.make(Kind.FILE)
    before = world.entries()
    _look(world)
    assert {one.method for one in world.sandbox.requests()} == {"GET"}
    assert world.entries() == before


def test_foundry_threads_are_looked_at_where_the_profile_can_list_them(world: World) -> None:
    made = world.make(Kind.THREAD)
    foundry = world.sandbox.base_url.removesuffix("/v1") + "/api/projects/p"
    world.policies(POLICIES + project_document(foundry, extra="profile: azure_foundry"))
    world.register(world.make(Kind.THREAD), kind=Kind.THREAD)
    assert _look(world)
    threads = _found(world)[Kind.THREAD]
    assert (threads.found, threads.registered, threads.problem) == (2, 1, None), made


def test_a_look_that_ended_is_not_due_again_before_its_time(world: World) -> None:
    assert _look(world)
    asked = len(world.sandbox.requests())
    assert not _look(world)
    assert (len(world.sandbox.requests()), _tick(world)) == (asked, [])
    world.clock.move(_DAY + timedelta(minutes=1))
    assert _tick(world) == [PROJECT]
    assert _look(world)


def test_a_project_that_nobody_looked_at_is_due_and_zero_hours_is_never(world: World) -> None:
    assert _tick(world) == [PROJECT]
    assert not asyncio.run(cover(world.tools(), PROJECT))
    assert not world.sandbox.requests()


def test_two_workers_at_once_look_once(world: World) -> None:
    world.make(Kind.FILE)

    async def both() -> list[bool]:
        tools = [replace(world.tools(name), look_every=_DAY) for name in ("worker-1", "worker-2")]
        try:
            return list(await asyncio.gather(*(cover(one, PROJECT) for one in tools)))
        finally:
            for one in tools:
                await one.close()

    assert sorted(asyncio.run(both())) == [False, True]
    lists = [one.path for one in world.sandbox.requests()]
    assert len(lists) == len(set(lists))


def test_a_long_list_gives_way_to_deletions_after_each_page_and_goes_on_where_it_was(world: World) -> None:
    for _ in range(230):
        world.make(Kind.FILE)
    world.register()
    world.sweep()
    assert not _look(world)
    assert Kind.FILE not in _found(world)
    slices = 1
    while not _look(world):
        slices += 1
        assert slices < 20
    assert _found(world)[Kind.FILE].found == 230
    pages = [one for one in world.sandbox.requests() if one.path.endswith("/files")]
    assert (len(pages), slices >= 3) == (3, True)


def test_a_look_that_crashed_goes_on_once_its_lease_is_over(world: World) -> None:
    assert _look_of(world, timedelta(minutes=5)) is not None
    assert not _look(world)
    world.clock.move(timedelta(minutes=6))
    assert _look(world)


def test_a_worker_that_lost_its_look_writes_nothing(world: World) -> None:
    mine = _look_of(world, timedelta())
    assert mine is not None
    assert _look_of(world, timedelta(minutes=5)) is not None
    with world.database.write() as db:
        assert not coverages.keep(db, mine, next_at=world.clock.now())


def test_people_are_told_once_and_again_only_when_it_grows(world: World) -> None:
    world.make(Kind.FILE)

    def days(*before: Callable[[], object]) -> list[int]:
        with structlog.testing.capture_logs() as told:
            for change in before:
                change()
                assert _look(world)
                world.clock.move(_DAY + timedelta(minutes=1))
        return _alerts(told)

    same = lambda: None  # noqa: E731 - a day without news
    assert days(same, same) == [1]
    assert days(lambda: world.make(Kind.CONTAINER), same) == [2]


def test_a_list_that_fails_for_a_day_is_no_news_when_it_is_back(world: World) -> None:
    world.make(Kind.FILE)
    with structlog.testing.capture_logs() as told:
        for fault in ([], ["error-500:file"], []):
            world.faults(*fault)
            assert _look(world)
            if fault:
                assert _found(world)[Kind.FILE].problem == "the list answered 500"
            world.clock.move(_DAY + timedelta(minutes=1))
    assert _alerts(told) == [1]
    assert _found(world)[Kind.FILE].problem is None


def test_a_list_that_never_ends_is_told_and_counted_once(world: World) -> None:
    world.make(Kind.FILE)
    world.wrap = lambda provider: _SamePage(provider).provider
    assert _look(world)
    files = _found(world)[Kind.FILE]
    assert (files.found, files.problem) == (1, "the list repeats a page instead of going on")


def test_a_throttled_list_waits_and_stops_nothing_else(world: World) -> None:
    world.faults("throttled:file")
    assert not _look(world)
    assert Kind.FILE not in _found(world)
    world.faults()
    world.forget_cooldown()
    world.clock.move(timedelta(minutes=2))
    while not _look(world):
        world.clock.move(timedelta(minutes=2))
    assert _found(world)[Kind.FILE].problem is None


def test_without_a_key_each_kind_says_so_and_it_is_tried_within_the_hour(world: World) -> None:
    def without_a_key(_project: Project) -> Provider:
        raise KeyMissing("The variable holds no provider key.", repair="Set it.")

    assert not _look(world, tools=replace(world.tools(), provider_for=without_a_key))
    assert {one.problem for one in _found(world).values()} == {"The variable holds no provider key."}
    world.clock.move(timedelta(minutes=61))
    assert _look(world)
    assert {one.problem for one in _found(world).values()} == {None}


def test_what_another_project_of_the_account_registered_is_no_stranger(world: World) -> None:
    base_url = world.sandbox.base_url
    world.policies(POLICIES + project_document(base_url) + project_document(base_url, name="second"))
    world.register(kind=Kind.FILE)
    _look(world, project="second")
    assert _found(world, "second")[Kind.FILE].unregistered == 0


def test_what_is_registered_at_another_account_is_a_stranger_at_this_one(world: World) -> None:
    base_url = world.sandbox.base_url
    other = project_document(base_url, name="second", extra="provider_project: proj_other")
    world.policies(POLICIES + project_document(base_url) + other)
    world.register(kind=Kind.FILE)
    _look(world, project="second")
    assert _found(world, "second")[Kind.FILE].unregistered == 1


def test_a_canary_of_ours_is_not_counted(world: World) -> None:
    bird = Canary(project=PROJECT, kind=Kind.FILE, external_id=world.make(Kind.FILE))
    with world.database.write() as db:
        canaries.keep(db, bird, world.clock.now())
    _look(world)
    assert _found(world)[Kind.FILE].found == 0


def test_a_kind_that_is_no_longer_listed_leaves_no_old_number(world: World) -> None:
    world.rules(POLICIES, extra="profile: azure_foundry")
    _look(world)
    world.rules(POLICIES)
    world.clock.move(_DAY + timedelta(minutes=1))
    _look(world)
    assert Kind.THREAD not in _found(world)


@pytest.mark.parametrize("name", ["nobody", ""])
def test_a_project_that_is_gone_is_not_looked_at(world: World, name: str) -> None:
    assert not _look(world, project=name)
    assert not world.sandbox.requests()
