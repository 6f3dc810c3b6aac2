"""A key that is replaced between two batches: the next carries the new one, and nothing is lost meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.world.databases import database_url, emptied_postgres, sqlite_template
from tests.world.world import ACTOR, POLICIES, World, make_world, project_document
from worker.flows.activate import activate, recompute
from worker.flows.turn import turn
from worker.model.thread import Kind, ThreadState
from worker.providers.clients import Clients
from worker.providers.keys import resolve_key
from worker.providers.openai import OpenAIProvider
from worker.providers.profiles import profile
from worker.sandbox.options import SandboxOptions
from worker.store import work

__all__ = ["database_url", "emptied_postgres", "sqlite_template"]

OLD, NEW = "token-old", "token-new"


@pytest.fixture
def token(world: World, tmp_path: Path) -> Path:
    """Let the project find its key in a file, which holds the old one."""
    return _key_in_file(world, tmp_path / "token")


def _key_in_file(world: World, file: Path) -> Path:
    file.write_text(OLD)
    document = project_document(world.sandbox.base_url)
    document = document.replace("{env: TENURE_KEY_TEST}", f"{{file: {file}}}")
    (world.folder / "policies.yaml").write_text(POLICIES + document)
    source = replace(world.source, key_globs=(str(file),))
    activate(world.database, source, actor=ACTOR, clock=world.clock)
    recompute(world.database, clock=world.clock)
    assert world.bundle.projects["demo-support"].api_key.file == str(file)
    return file


@contextmanager
def _worker(world: World) -> Iterator[Callable[[], Counter[str]]]:
    """Take turns as one worker process does: on one loop and with the same tools."""
    clients = Clients(
        make=lambda project, key: world.wrap(
            OpenAIProvider(project.account, key, profile(project.profile), world.clock)
        ),
        key_of=lambda ref: resolve_key(ref, allowed=["*"]),
        longest_use=world.lease.length.total_seconds(),
        clock=world.clock,
    )
    tools = replace(world.tools(), provider_for=clients.client_for, close=clients.aclose)
    with asyncio.Runner() as runner:
        try:
            yield lambda: runner.run(turn(tools, world.credential))
        finally:
            runner.run(tools.close())


def _bearers(world: World, since: int = 0) -> set[str]:
    return {one.headers["authorization"].removeprefix("Bearer ") for one in world.sandbox.requests(since)}


def test_the_next_batch_carries_the_new_key_under_the_same_credential(world: World, token: Path) -> None:
    credential = world.credential
    with _worker(world) as take_turn:
        world.register(kind=Kind.RESPONSE, age=timedelta(days=1))
        first = world.register(kind=Kind.RESPONSE)
        world.sweep()
        take_turn()
        so_far = len(world.sandbox.requests())
        assert _bearers(world) == {OLD}

        token.write_text(NEW)
        second = world.register(kind=Kind.RESPONSE)
        world.sweep()
        take_turn()
    assert _bearers(world, so_far) == {NEW}
    assert [world.grade(one) for one in (first, second)] == ["confirmed", "confirmed"]
    assert world.credential == credential
    assert {one["credential"] for one in world.entries("thread.graded")} == {f"file:{token}"}


def test_a_batch_under_way_keeps_its_key_to_the_end(world: World, token: Path) -> None:
    world.register(age=timedelta(days=1))
    due = [world.register(children=1) for _ in range(2)]
    world.before_first_child_delete(lambda: token.write_text(NEW))
    world.sweep()
    with _worker(world) as take_turn:
        take_turn()
    assert token.read_text() == NEW
    assert _bearers(world) == {OLD}
    assert [world.grade(one) for one in due] == ["confirmed"] * 2


@pytest.mark.parametrize("gone", ["missing", "empty"])
def test_while_the_file_holds_no_key_work_waits_and_goes_on_afterwards(
    world: World, token: Path, gone: str
) -> None:
    with _worker(world) as take_turn:
        world.register(kind=Kind.RESPONSE, age=timedelta(days=1))
        due = world.register(kind=Kind.RESPONSE)
        world.sweep()
        if gone == "missing":
            token.unlink()
        else:
            token.write_text("")
        assert take_turn()["waiting"] == 1
        assert not world.sandbox.requests()
        assert world.state(due) is ThreadState.LIVE

        token.write_text(NEW)
        world.clock.move(timedelta(minutes=2))
        take_turn()
    assert world.grade(due) == "confirmed"
    assert _bearers(world) == {NEW}


def test_with_an_expired_key_nothing_is_certified_and_with_the_next_one_it_goes_on(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = SandboxOptions(api_keys=frozenset({NEW}))
    with make_world(database_url, tmp_path / "policies", options) as world:
        monkeypatch.setattr(work, "lease_clock", world.clock.lease_clock)
        file = _key_in_file(world, tmp_path / "token")
        with _worker(world) as take_turn:
            world.register(kind=Kind.RESPONSE, age=timedelta(days=1))
            refused = world.register(kind=Kind.RESPONSE)
            world.sweep()
            take_turn()
            assert world.grade(refused) == "unverifiable/forbidden"
            assert not world.deletes()

            file.write_text(NEW)
            due = world.register(kind=Kind.RESPONSE)
            world.sweep()
            world.clock.move(timedelta(hours=2))
            take_turn()
        assert world.grade(due) == "confirmed"
        # What was refused keeps its id and its reason; it is still there, and a person looks at it.
        assert world.state(refused) is ThreadState.PARKED
        assert world.exists(refused)
