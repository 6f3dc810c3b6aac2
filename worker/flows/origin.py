"""Origin: which git commit the policies folder stands at, and whether it was changed since."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_GIT_SECONDS = 10
# What a bundle is made of: files of the folder itself, the tests beside them aside.
_OF_A_BUNDLE = (
    *(f":(glob)*.{suffix}" for suffix in ("yaml", "yml")),
    *(f":(exclude,glob)*.test.{suffix}" for suffix in ("yaml", "yml")),
)
_MAX_AUTHOR = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The commit, its author and whether the folder differs from it; all empty outside of git."""

    commit: str | None = None
    author: str | None = None
    dirty: bool = False
    descends: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return what is stored with the bundle."""
        return asdict(self)

    def refusal(self, before: Mapping[str, Any]) -> str | None:
        """Return why TENURE_POLICIES_CLEAN refuses this state, or None."""
        if self.commit is None:
            return (
                "git tells no commit of the policies folder, which TENURE_POLICIES_CLEAN wants: it is no work"
                " tree, or git is not installed, or refuses a folder of another owner (safe.directory)."
            )
        if self.dirty:
            return "The policies folder has changes that are not committed."
        if before.get("commit") and not self.descends:
            return f"Commit {self.commit[:12]} does not descend from {str(before['commit'])[:12]}."
        return None


def origin_of(folder: Path, *, after: str | None = None) -> Origin:
    """Ask git about the folder; no git, or no work tree, is an empty origin."""
    commit = _git(folder, "log", "-1", "--format=%H%x00%an", "--", ".")
    if not commit:
        return Origin()
    digest, _, author = commit.partition("\0")
    # Whatever the work tree's own settings hide: a file that git was told to ignore is part of the bundle.
    status = _git(folder, "status", "--porcelain", "--untracked-files=all", "--", ".")
    ignored = _git(folder, "ls-files", "--others", "--ignored", "--exclude-standard", "--", *_OF_A_BUNDLE)
    descends = after is None or _git(folder, "merge-base", "--is-ancestor", after, digest) is not None
    # Anybody may call themselves anything: what is recorded stays short and on one line.
    named = "".join(char for char in author if char.isprintable())[:_MAX_AUTHOR] or None
    return Origin(commit=digest, author=named, dirty=status != "" or ignored != "", descends=descends)


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git printed, or None when it failed or is missing."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed program, no shell
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - found on PATH like any tool
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
