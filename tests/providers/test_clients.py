"""A client belongs to one key: a changed key makes a new one, and the old ends when no batch can use it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from worker.model.clock import SystemClock
from worker.model.thread import Account
from worker.policy.document import KeyRef, OnPartial, OwnProfile, Project, Rate
from worker.providers.base import Provider
from worker.providers.clients import Clients
from worker.providers.keys import KeyMissing, resolve_key

LEASE = 300.0


class Hands(SystemClock):
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@dataclass(slots=True)
class Fake:
    """What was made with one key; closing notes the loop it happened on."""

    key: str
    profile: str | OwnProfile
    closed_on: list[asyncio.AbstractEventLoop] = field(default_factory=list)

    async def aclose(self) -> None:
        self.closed_on.append(asyncio.get_running_loop())


@dataclass(slots=True)
class Scene:
    clients: Clients
    file: Path
    clock: Hands
    project: Callable[..., Project]

    def get(self, **changed: Any) -> Fake:
        return cast("Fake", self.clients.client_for(self.project(**changed)))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    file, clock = tmp_path / "token", Hands()
    file.write_text("first")

    def project(**changed: Any) -> Project:
        facts: dict[str, Any] = {
            "name": "p",
            "owner": "o",
            "account": Account(provider="openai", base_url="http://127.0.0.1:9/v1"),
            "api_key": KeyRef(file=str(file)),
            "rate": Rate(limit=1.0),
            "concurrency": 1,
            "controls": (),
            "on_partial": OnPartial.KEEP,
            "profile": "openai",
        }
        return Project(**{**facts, **changed})

    clients = Clients(
        make=lambda project, key: cast("Provider", Fake(key, project.profile)),
        key_of=lambda ref: resolve_key(ref, allowed=[f"{tmp_path}/*"]),
        longest_use=LEASE,
        clock=clock,
    )
    return Scene(clients, file, clock, project)


def test_one_client_serves_every_batch_while_its_key_stays(scene: Scene) -> None:
    first = scene.get()
    scene.file.write_text("first\n")
    assert scene.get() is first
    assert scene.get(name="another project on the credential") is first


def test_a_key_of_the_same_length_written_at_once_is_seen(scene: Scene) -> None:
    old = scene.get()
    scene.file.write_text("other")
    new = scene.get()
    assert (old.key, new.key) == ("first", "other")


def test_the_old_client_is_open_for_one_lease_and_then_closed_on_its_loop(scene: Scene) -> None:
    async def scenario() -> None:
        old = scene.get()
        scene.file.write_text("other")
        new = scene.get()
        scene.clock.seconds = LEASE - 1
        assert scene.get() is new
        await asyncio.sleep(0)
        assert old.closed_on == []
        scene.clock.seconds = LEASE
        assert scene.get() is new
        await scene.clients.aclose()
        assert old.closed_on == [asyncio.get_running_loop()]
        assert new.closed_on == [asyncio.get_running_loop()]

    asyncio.run(scenario())


def test_closing_ends_the_replaced_ones_too_and_each_once(scene: Scene) -> None:
    async def scenario() -> None:
        old = scene.get()
        scene.file.write_text("other")
        new = scene.get()
        await scene.clients.aclose()
        await scene.clients.aclose()
        assert [len(one.closed_on) for one in (old, new)] == [1, 1]

    asyncio.run(scenario())


@pytest.mark.parametrize("gone", ["missing", "empty"])
def test_without_a_key_there_is_no_client_and_the_one_at_hand_serves_again(scene: Scene, gone: str) -> None:
    first = scene.get()
    if gone == "missing":
        scene.file.unlink()
    else:
        scene.file.write_text(" \n")
    with pytest.raises(KeyMissing):
        scene.get()
    scene.file.write_text("first")
    assert scene.get() is first


def test_a_changed_profile_is_read_with_from_the_next_batch_on(scene: Scene) -> None:
    assert scene.get().profile == "openai"
    assert scene.get(profile="generic").profile == "generic"


def test_a_key_appears_in_no_representation(scene: Scene) -> None:
    scene.get()
    assert "first" not in repr(vars(scene.clients)).replace(repr(scene.get()), "")
