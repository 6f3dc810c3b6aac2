"""The commit that the policies stand at is recorded with them, and named wherever they decide."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.world.world import POLICIES, World, project_document
from worker.flows.explain import explain_thread
from worker.flows.origin import Origin, origin_of
from worker.store import bundles

Git = Callable[..., str]


@pytest.fixture
def git(world: World) -> Git:
    return _git_in(world.folder)


def _git_in(folder: Path) -> Git:
    def run(*args: str, author: str = "Ada Lovelace") -> str:
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": author,
            "GIT_AUTHOR_EMAIL": "ada@example.com",
            "GIT_COMMITTER_NAME": "ci",
            "GIT_COMMITTER_EMAIL": "ci@example.com",
        }
        done = subprocess.run(
            ["git", "-C", str(folder), *args], env=env, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.strip()

    return run


def _commit(git: Git, message: str, author: str = "Ada Lovelace") -> str:
    git("add", "-A")
    git("commit", "-q", "-m", message, author=author)
    return git("rev-parse", "HEAD")


def _text(world: World, after: str) -> str:
    return POLICIES.replace("after: 30d", f"after: {after}") + project_document(world.sandbox.base_url)


def _origin(world: World) -> dict[str, Any]:
    with world.database.read() as db:
        found = bundles.in_force(db)
    assert found is not None
    return dict(found.origin)


def _explained(world: World) -> tuple[tuple[str, ...], str | None]:
    stored = world.register()
    with world.database.read() as db:
        told = explain_thread(db, stored, now=world.clock.now())
    return told.lines, told.commit


def test_commit_author_and_dirtiness_are_recorded_with_the_bundle_and_named_by_explain(
    world: World, git: Git
) -> None:
    git("init", "-q")
    (world.folder / "policies.yaml").write_text(_text(world, "31d"))
    commit = _commit(git, "31 days")
    world.policies(_text(world, "31d"))
    assert _origin(world) == {"commit": commit, "author": "Ada Lovelace", "dirty": False, "descends": True}
    entry = world.entries("bundle.activated")[-1]
    assert (entry["commit"], entry["author"], entry["dirty"]) == (commit, "Ada Lovelace", False)
    lines, told = _explained(world)
    digest = world.bundle.digest[: len("sha256:") + 12]
    assert f"The policies are bundle {digest}, commit {commit[:12]} by Ada Lovelace." in lines
    assert told == commit

    world.policies(_text(world, "32d"))
    assert _origin(world)["dirty"] is True
    assert world.entries("bundle.activated")[-1]["dirty"] is True
    digest = world.bundle.digest[: len("sha256:") + 12]
    assert (
        f"The policies are bundle {digest}, commit {commit[:12]} by Ada Lovelace,"
        " with changes that were not committed."
    ) in _explained(world)[0]


def test_a_folder_outside_of_git_has_no_commit_and_says_so(world: World) -> None:
    assert _origin(world) == Origin().as_dict()
    entry = world.entries("bundle.activated")[-1]
    assert (entry["commit"], entry["author"], entry["dirty"]) == (None, None, None)
    lines, commit = _explained(world)
    assert commit is None
    assert any(line.endswith("whose commit is not known.") for line in lines)


def test_a_commit_outside_of_the_folder_changes_nothing_of_it(tmp_path: Path) -> None:
    git, policies = _git_in(tmp_path), tmp_path / "policies"
    policies.mkdir()
    (policies / "a.yaml").write_text("# a\n")
    git("init", "-q")
    first = _commit(git, "policies")
    (tmp_path / "README").write_text("read me\n")
    _commit(git, "something else", author="Somebody Else")
    (tmp_path / "loose").write_text("not committed\n")
    assert origin_of(policies) == Origin(commit=first, author="Ada Lovelace", dirty=False)
    (policies / "b.yaml").write_text("# b\n")
    assert origin_of(policies).dirty


def test_a_file_of_the_bundle_that_git_was_told_not_to_see_is_a_change_all_the_same(tmp_path: Path) -> None:
    git = _git_in(tmp_path)
    (tmp_path / "a.yaml").write_text("# a\n")
    (tmp_path / ".gitignore").write_text("*.local.yaml\n*.test.yaml\n*.txt\n")
    git("init", "-q")
    _commit(git, "policies")
    for name in ("own.test.yaml", "own.txt"):
        (tmp_path / name).write_text("# no part of the bundle\n")
    assert not origin_of(tmp_path).dirty
    (tmp_path / "own.local.yaml").write_text("# part of the bundle\n")
    assert origin_of(tmp_path).dirty

    (tmp_path / "own.local.yaml").rename(tmp_path / "own.yaml")
    git("config", "status.showUntrackedFiles", "no")
    assert origin_of(tmp_path).dirty


def test_where_git_tells_no_commit_the_refusal_names_what_may_be_the_matter(tmp_path: Path) -> None:
    refusal = str(origin_of(tmp_path).refusal({}))
    assert "no work tree" in refusal
    assert "not installed" in refusal
    assert "safe.directory" in refusal


def test_an_author_cannot_forge_a_line_or_flood_a_record(tmp_path: Path) -> None:
    git = _git_in(tmp_path)
    (tmp_path / "a.yaml").write_text("# a\n")
    git("init", "-q")
    # The lone surrogate becomes a byte that is no UTF-8.
    _commit(git, "a", author="\x1b[2J\udcff" + "A" * 5000)
    author = origin_of(tmp_path).author
    assert author is not None
    assert author.isprintable()
    assert len(author) <= 200


def test_a_history_that_was_rewritten_does_not_descend(tmp_path: Path) -> None:
    git = _git_in(tmp_path)
    (tmp_path / "a.yaml").write_text("# a\n")
    git("init", "-q")
    first = _commit(git, "one")
    git("commit", "-q", "--amend", "-m", "other")
    origin = origin_of(tmp_path, after=first)
    assert not origin.descends
    assert "does not descend" in str(origin.refusal({"commit": first}))


def test_one_bad_document_is_alerted_once_and_the_last_good_bundle_stays(world: World) -> None:
    before = world.bundle.digest
    with _alerts() as alerts:
        for _ in range(2):
            world.look_at(_text(world, "1x"))
    assert world.bundle.digest == before
    (alert,) = alerts
    assert alert["alert"] == "bundle.refused"
    assert any('"1x" is not a duration' in problem for problem in alert["problems"])


@contextmanager
def _alerts() -> Iterator[list[Any]]:
    found: list[Any] = []
    with capture_logs() as logs:
        yield found
    found += [one for one in logs if one["event"] == "alert.raised"]
