"""The git repository: its own commits and nobody else's, pushed again until they are there."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.anchors.conftest import ORIGIN, git, note
from worker.anchors.base import AnchorFailed, path_of
from worker.anchors.git import GitAnchor


@pytest.fixture
def remote(clone: Path, tmp_path: Path) -> Path:
    """A bare repository that the clone pushes to."""
    folder = tmp_path / "remote.git"
    folder.mkdir()
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main")
    git(clone, "remote", "add", "origin", str(folder))
    git(clone, "push", "--quiet", "--set-upstream", "origin", "main")
    return folder


def committed(folder: Path, commit: str = "HEAD") -> set[str]:
    return set(git(folder, "ls-tree", "-r", "--name-only", commit).splitlines())


def test_a_round_is_one_commit_that_holds_checkpoints_only(clone: Path) -> None:
    (clone / "README").write_text("being edited\n")
    (clone / "staged").write_text("not ours\n")
    git(clone, "add", "staged")
    GitAnchor(clone).publish([note(1), note(2)])
    assert committed(clone) == {"README", path_of(ORIGIN, 1), path_of(ORIGIN, 2)}
    assert git(clone, "show", "HEAD:README") == "checkpoints"
    assert git(clone, "diff", "--cached", "--name-only") == "staged"
    assert git(clone, "log", "--format=%an %s") == "Tenure Checkpoint 2 and 1 before it\nPerson begin"
    GitAnchor(clone).publish([note(2)])
    assert git(clone, "rev-list", "--count", "HEAD") == "2"


def test_a_clone_without_a_commit_gets_its_first(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    assert GitAnchor(tmp_path).newest() == []
    GitAnchor(tmp_path).publish([note(1)])
    assert committed(tmp_path) == {path_of(ORIGIN, 1)}


def test_a_file_that_a_crash_left_uncommitted_is_committed_by_the_next_round(clone: Path) -> None:
    from worker.anchors.folder import write_once

    write_once(clone, note(1))
    assert GitAnchor(clone).newest() == []
    GitAnchor(clone).publish([note(1)])
    assert [one.checkpoint.size for one in GitAnchor(clone).newest()] == [1]


def test_a_checkpoint_counts_once_it_is_pushed_and_a_failed_push_is_tried_again(
    clone: Path, remote: Path
) -> None:
    GitAnchor(clone).publish([note(1)])
    assert path_of(ORIGIN, 1) in committed(remote, "main")
    aside = remote.rename(remote.with_name("gone.git"))
    with pytest.raises(AnchorFailed, match="git push"):
        GitAnchor(clone).publish([note(2)])
    # What is here already counts for comparing, though not as delivered.
    assert [one.checkpoint.size for one in GitAnchor(clone).newest()] == [2]
    aside.rename(remote)
    GitAnchor(clone).publish([note(2)])
    assert path_of(ORIGIN, 2) in committed(remote, "main")


def test_what_only_the_remote_is_known_to_hold_counts_too(clone: Path, remote: Path) -> None:
    GitAnchor(clone).publish([note(1), note(2)])
    git(clone, "reset", "--quiet", "--hard", "HEAD~1")
    assert [one.checkpoint.size for one in GitAnchor(clone).newest()] == [2]


def test_a_push_that_hangs_ends_with_everything_that_it_started(clone: Path, remote: Path) -> None:
    # What git runs to receive, a child of its own: it would hold the pipes open for ever.
    marker = remote / "started"
    script = remote / "hang.sh"
    script.write_text(f"#!/bin/sh\necho $$ > {marker}\nexec sleep 600\n")
    script.chmod(0o755)
    git(clone, "config", "remote.origin.receivepack", str(script))
    with pytest.raises(AnchorFailed, match="did not end within"):
        GitAnchor(clone, push_seconds=2.0).publish([note(1)])
    child = Path("/proc") / marker.read_text().strip()
    deadline = time.monotonic() + 10
    while child.exists() and "sleep" in (child / "cmdline").read_text(errors="replace"):
        assert time.monotonic() < deadline, "the child of git still runs"


def test_variables_and_hooks_change_neither_target_nor_content(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet", "--initial-branch=main")
    trace = tmp_path / "trace"
    for hook in ("pre-commit", "post-commit"):
        (clone / ".git" / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {trace}\nexit 1\n")
        (clone / ".git" / "hooks" / hook).chmod(0o755)
    git(clone, "config", "commit.gpgSign", "true")
    (clone / ".gitignore").write_text("checkpoint/\n")
    hostile = {
        "GIT_DIR": str(other / ".git"),
        "GIT_WORK_TREE": str(other),
        "GIT_INDEX_FILE": str(other / "index"),
        "GIT_AUTHOR_NAME": "Somebody",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": str(clone / ".git" / "hooks"),
        "GIT_SSH_COMMAND": f"touch {trace}",
        "GIT_TRACE": str(trace),
    }
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    GitAnchor(clone).publish([note(1)])
    assert [one.checkpoint.size for one in GitAnchor(clone).newest()] == [1]
    for name in hostile:
        monkeypatch.delenv(name)
    assert git(clone, "log", "-1", "--format=%an") == "Tenure"
    assert not trace.exists()
    assert not (other / "checkpoint").exists()


def test_a_folder_inside_of_somebody_elses_work_tree_is_refused(clone: Path, tmp_path: Path) -> None:
    inside = clone / "inside"
    inside.mkdir()
    for folder in (inside, tmp_path / "nowhere", tmp_path):
        with pytest.raises(AnchorFailed, match=r"not the top of a git clone|cannot be run"):
            GitAnchor(folder).publish([note(1)])
        with pytest.raises(AnchorFailed):
            GitAnchor(folder).newest()
    assert committed(clone) == {"README"}


def test_without_git_the_repair_says_so(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(clone))
    with pytest.raises(AnchorFailed) as told:
        GitAnchor(clone).publish([note(1)])
    assert "Install git" in told.value.repair
