"""An anchor that is a git repository: each round of checkpoints is a commit, pushed where there is a remote.

The operator provides the clone. Only files below ``checkpoint/`` are added and committed there; what else
the clone holds, staged or not, is left alone. Hooks, signing and every variable that git obeys are off.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from worker.anchors.base import AnchorFailed, Mark, mark_at, newest_paths, path_of
from worker.anchors.folder import write_once

_LOCAL_SECONDS = 20.0
_PUSH_SECONDS = 60.0
_SAID = 300
_OPTIONS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.autocrlf=false",
    "commit.gpgSign=false",
    "push.gpgSign=false",
    "gc.auto=0",
    "user.name=Tenure",
    "user.email=tenure@localhost",
)
_REPAIR = "TENURE_ANCHOR_GIT names the top of a git clone that this user may commit and push in."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remote:
    name: str
    branch: str
    tracking: str


@dataclass(frozen=True, slots=True)
class GitAnchor:
    """Keeps checkpoints as commits in the clone ``folder``; with a remote, they count once pushed."""

    folder: Path
    push_seconds: float = _PUSH_SECONDS

    @property
    def name(self) -> str:
        """Its kind."""
        return "git"

    @property
    def place(self) -> str:
        """The clone's path."""
        return str(self.folder.absolute())

    def publish(self, notes: Sequence[str]) -> None:
        """Commit what is new, and push what the remote does not have; raises AnchorFailed, AnchorForked."""
        self._require_clone()
        paths = [write_once(self.folder, note) for note in notes]
        held = set(self._git("ls-tree", "-r", "--name-only", "-z", "HEAD", "--", *paths).split("\0"))
        new = [path for path in paths if path not in held]
        if new:
            # By name and nothing else: whatever the operator has staged is not ours to commit.
            self._run("add", "--force", "--", *new)
            self._run("commit", "--quiet", "--message", _subject(new), "--only", "--", *new)
        self._push()

    def newest(self) -> list[Mark]:
        """Return the largest committed checkpoint of every origin, here or as last known of the remote."""
        self._require_clone()
        found: dict[str, Mark] = {}
        for commit in self._commits():
            for path in newest_paths(partial(self._names, commit)):
                mark = self._mark(commit, path)
                before = found.get(mark.checkpoint.origin)
                if before is None or before.checkpoint.size < mark.checkpoint.size:
                    found[mark.checkpoint.origin] = mark
        return list(found.values())

    def holds(self, origin: str, size: int) -> Mark | None:
        """Return the committed checkpoint of that size, if there is one; raises AnchorFailed."""
        self._require_clone()
        path = path_of(origin, size)
        for commit in self._commits():
            if self._git("ls-tree", "--name-only", commit, "--", path):
                return self._mark(commit, path)
        return None

    def _require_clone(self) -> None:
        # A folder inside of another work tree would be committed there.
        top = self._git("rev-parse", "--show-toplevel")
        if not top or Path(top).resolve() != self.folder.resolve():
            raise AnchorFailed(f"{self.place} is not the top of a git clone.", repair=_REPAIR)

    def _commits(self) -> list[str]:
        remote = self._remote()
        names = ["HEAD"] if remote is None else ["HEAD", remote.tracking]
        found = (self._git("rev-parse", "--quiet", "--verify", f"{name}^{{commit}}") for name in names)
        return list(dict.fromkeys(filter(None, found)))

    def _remote(self) -> _Remote | None:
        """Return the branch's own remote, else the first one; None where there is none."""
        names = self._git("remote").split()
        if not names:
            return None
        branch = self._git("symbolic-ref", "--quiet", "--short", "HEAD")
        if not branch:
            raise AnchorFailed(f"{self.place} has no branch checked out.", repair="`git switch` to one.")
        own = self._git("config", f"branch.{branch}.remote")
        name = own if own in names else names[0]
        merge = self._git("config", f"branch.{branch}.merge") if name == own else ""
        there = merge.removeprefix("refs/heads/") or branch
        return _Remote(name=name, branch=there, tracking=f"refs/remotes/{name}/{there}")

    def _push(self) -> None:
        remote = self._remote()
        if remote is None:
            return
        here = self._git("rev-parse", "--quiet", "--verify", "HEAD^{commit}")
        if not here or here == self._git("rev-parse", "--quiet", "--verify", f"{remote.tracking}^{{commit}}"):
            return
        self._run(
            "push", "--quiet", remote.name, f"HEAD:refs/heads/{remote.branch}", seconds=self.push_seconds
        )
        # Also where the clone fetches nothing by itself: the next round then knows that it was delivered.
        self._run("update-ref", remote.tracking, here)

    def _names(self, commit: str, folder: str) -> list[str]:
        listed = self._git("ls-tree", "--name-only", "-z", commit, "--", f"{folder}/")
        return [path.rpartition("/")[2] for path in listed.split("\0") if path]

    def _mark(self, commit: str, path: str) -> Mark:
        held = self._run("cat-file", "blob", f"{commit}:{path}")
        return mark_at(held, f"{self.place} at {commit[:12]}:{path}", path)

    def _git(self, *arguments: str) -> str:
        """Return what git told, stripped; empty where it said no."""
        code, told, _ = self._call(arguments, _LOCAL_SECONDS)
        return told.strip().strip("\0") if code == 0 else ""

    def _run(self, *arguments: str, seconds: float = _LOCAL_SECONDS) -> str:
        """Return what git told as it is; raises AnchorFailed where it fails."""
        code, told, complaint = self._call(arguments, seconds)
        if code != 0:
            said = " ".join(complaint.split())[:_SAID] or f"exit {code}"
            raise AnchorFailed(f"`git {arguments[0]}` failed in {self.place}: {said}", repair=_REPAIR)
        return told

    def _call(self, arguments: Sequence[str], seconds: float) -> tuple[int, str, str]:
        options = [part for option in _OPTIONS for part in ("-c", option)]
        command = ["git", "-C", str(self.folder), *options, *arguments]
        try:
            child = subprocess.Popen(  # noqa: S603 - fixed program, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env=self._environment(),
                start_new_session=True,
            )
        except OSError as e:
            problem = f"git cannot be run in {self.place}: {e.strerror}."
            raise AnchorFailed(problem, repair="Install git, or unset TENURE_ANCHOR_GIT.") from e
        with child:
            return _answer(child, arguments[0], seconds)

    def _environment(self) -> dict[str, str]:
        """Return this process's variables without any that names git another repository, key or program."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "SSH_ASK"))}
        above = str(self.folder.absolute().parent)
        return {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_CEILING_DIRECTORIES": above, "LC_ALL": "C"}


def _answer(child: subprocess.Popen[str], verb: str, seconds: float) -> tuple[int, str, str]:
    try:
        told, complaint = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as e:
        # The whole group: git's own child (ssh, a credential helper) would keep the pipes open.
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        problem = f"`git {verb}` did not end within {seconds:g} s."
        raise AnchorFailed(problem, repair="See that the remote answers without asking anything.") from e
    return child.returncode, told, complaint


def _subject(paths: Sequence[str]) -> str:
    last = paths[-1].split("/")
    size = int("".join(last[2:]))
    more = f" and {len(paths) - 1} before it" if len(paths) > 1 else ""
    return f"Checkpoint {size}{more}"
