"""Workers take a project's own profile from the bundle in the database; they have no policies folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world.world import POLICIES, PROJECT, World, make_world
from worker.model.thread import Kind, ThreadState
from worker.sandbox.options import Dialect, SandboxOptions

_OWN = """profile:
    extends: openai
    absent:
      every_kind: {at: [detail], begins: ["{noun} {id} not found"]}
    kinds:
      conversation: {deletion_semantics: Our own server keeps backups for a week.}"""


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    """A world whose provider is a server of its own: it writes `detail` and has no OpenAI envelope."""
    with make_world(database_url, tmp_path / "policies", SandboxOptions(dialect=Dialect.DETAIL)) as made:
        yield made


def _delete(world: World) -> tuple[str | None, ThreadState]:
    due = world.register(kind=Kind.CONVERSATION)
    world.register(kind=Kind.CONVERSATION, tags={"keep": "x"})
    world.sweep()
    world.drain()
    return world.grade(due), world.state(due)


def test_a_server_whose_words_nobody_knows_is_never_believed(world: World) -> None:
    grade, state = _delete(world)
    assert grade != "confirmed"
    assert state is not ThreadState.DELETED


def test_its_own_words_in_the_bundle_make_the_same_deletion_confirmed(world: World) -> None:
    world.rules(POLICIES, extra=_OWN)
    for file in world.folder.iterdir():
        file.unlink()
    assert _delete(world) == ("confirmed", ThreadState.DELETED)
    told = world.entries("thread.graded")
    assert any("Our own server keeps backups" in str(one) for one in told)
    assert world.bundle.projects[PROJECT].profile != "openai"


def test_a_folder_whose_profile_is_unsafe_is_refused_and_the_last_good_one_stays(world: World) -> None:
    before = world.bundle.digest
    unsafe = _OWN.replace("{noun} {id} not found", "{noun} {id}")
    document = (world.folder / "policies.yaml").read_text()
    done = world.look_at(document.replace("concurrency: 16", f"concurrency: 16\n  {unsafe}"))
    assert done.loaded.bundle is None
    assert [one.code for one in done.loaded.findings if one.line] == ["RP040"]
    assert world.bundle.digest == before
