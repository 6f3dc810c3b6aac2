"""Anchors of both kinds, and checkpoints to keep in them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from worker.anchors.base import Anchor
from worker.anchors.folder import FolderAnchor
from worker.anchors.git import GitAnchor
from worker.audit.checkpoint import Checkpoint, sign_checkpoint
from worker.audit.note import Ed25519Signer

ORIGIN = "test.local/retention"
SIGNER = Ed25519Signer.from_seed(ORIGIN, b"\7" * 32)


def note(size: int, *, root: int = 1, origin: str = ORIGIN, signer: Ed25519Signer = SIGNER) -> str:
    """Return a signed checkpoint whose root is one byte, repeated."""
    return sign_checkpoint(Checkpoint(origin=origin, size=size, root=bytes([root]) * 32), signer)


def git(folder: Path, *arguments: str) -> str:
    """Run git as a person would and return what it printed."""
    identity = ("-c", "user.name=Person", "-c", "user.email=person@localhost")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository of the operator's own with one commit and no remote."""
    folder = tmp_path / "clone"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "README").write_text("checkpoints\n")
    git(folder, "add", "README")
    git(folder, "commit", "--quiet", "--message", "begin")
    return folder


@pytest.fixture(params=["folder", "git"])
def make(request: pytest.FixtureRequest, tmp_path: Path, clone: Path) -> Callable[[], Anchor]:
    """Return a function that opens the same anchor again, as another process would."""
    if request.param == "folder":
        return lambda: FolderAnchor(tmp_path / "anchors")
    return lambda: GitAnchor(clone)
