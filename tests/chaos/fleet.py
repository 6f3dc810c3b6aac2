"""The processes of one deployment: each may be killed, frozen, set to a wrong time and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.process import die_with_parent
from worker.model.clock import SystemClock

_ROOT = Path(__file__).resolve().parents[2]
_CLOCK = SystemClock()
_SAYS = "Tenure listens on"
_GOODBYE_SECONDS = 40.0


@dataclass(slots=True, kw_only=True)
class Role:
    """One role as it runs now; ``starts`` numbers its logs."""

    name: str
    command: str
    clock_file: Path
    starts: int = 0
    process: subprocess.Popen[bytes] | None = None
    frozen: bool = False

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass(slots=True, kw_only=True)
class Fleet:
    """Roles by name, in process groups of their own; they die with whoever started them."""

    folder: Path
    environment: dict[str, str]
    roles: dict[str, Role] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)

    def start(self, name: str, command: str) -> None:
        """Start a role under a name; one that has it already is ended."""
        self.retire(name)
        clock_file = self.folder / f"{name}.clock"
        clock_file.write_text("0")
        self.roles[name] = Role(name=name, command=command, clock_file=clock_file)
        self._launch(self.roles[name])

    def named(self, command: str) -> list[str]:
        """The names of the roles of one kind."""
        return [one.name for one in list(self.roles.values()) if one.command == command]

    def kill(self, name: str) -> None:
        """kill -9 of the role and its children, and a new start, as a supervisor would."""
        self._end(self.roles[name])
        self._launch(self.roles[name])

    def kill_child(self, name: str, pick: float) -> bool:
        """kill -9 of one child of the role; False when it has none yet. ``pick`` is from 0 to 1."""
        process = self.roles[name].process
        assert process is not None
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        pids = [int(one) for one in children.read_text().split()] if children.exists() else []
        if not pids:
            return False
        with suppress(ProcessLookupError):
            os.kill(pids[int(pick * len(pids))], signal.SIGKILL)
        return True

    def retire(self, name: str) -> None:
        """kill -9 of a role that is not started again."""
        if name in self.roles:
            self._end(self.roles.pop(name))

    def freeze(self, name: str) -> None:
        """Stop the role in the middle of whatever it does; it knows nothing of it."""
        self.roles[name].frozen = True
        self._signal(self.roles[name], signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a frozen role go on."""
        if name in self.roles:
            self.roles[name].frozen = False
            self._signal(self.roles[name], signal.SIGCONT)

    def set_clock(self, name: str, wrong_by: float) -> None:
        """Set the wall clock of a role wrong by that many seconds."""
        if name not in self.roles:
            return
        file = self.roles[name].clock_file
        beside = file.with_suffix(".new")
        beside.write_text(str(wrong_by))
        beside.replace(file)

    def supervise(self) -> None:
        """Start anew what has ended by itself, and count it."""
        for role in list(self.roles.values()):
            if not role.alive:
                self.ended[role.command] += 1
                self._launch(role)

    @property
    def url(self) -> str:
        """Where the API listens now; empty while it does not."""
        for role in list(self.roles.values()):
            if role.command in {"api", "up"} and role.alive:
                lines = self._log(role).read_text(errors="replace").splitlines()
                return next((one.split()[-1] for one in lines if one.startswith(_SAYS)), "")
        return ""

    @property
    def key(self) -> str:
        """The first admin key; empty before it is made."""
        file = self.folder / "data" / "admin.key"
        return file.read_text().strip() if file.exists() else ""

    def stop(self) -> None:
        """End every role as an operator would, and whoever does not go, for certain."""
        for role in list(self.roles.values()):
            if role.alive:
                self._signal(role, signal.SIGCONT)
                assert role.process is not None
                role.process.terminate()
        until = _CLOCK.monotonic() + _GOODBYE_SECONDS
        for role in list(self.roles.values()):
            assert role.process is not None
            with suppress(subprocess.TimeoutExpired):
                role.process.wait(max(0.1, until - _CLOCK.monotonic()))
            self._end(role)

    def logs(self, lines: int = 12) -> str:
        """The ends of all logs, for a test that fails."""
        return "\n".join(
            f"== {one.name}\n" + "\n".join(one.read_text(errors="replace").splitlines()[-lines:])
            for one in sorted(self.folder.glob("*.log"))
        )

    def _launch(self, role: Role) -> None:
        role.starts += 1
        role.frozen = False
        with self._log(role).open("wb") as out:
            role.process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.clocked", str(role.clock_file), role.command],
                cwd=_ROOT,
                env={**self.environment, "PYTHONPATH": str(_ROOT)},
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - one system call
            )

    def _log(self, role: Role) -> Path:
        return self.folder / f"{role.name}-{role.starts}.log"

    def _signal(self, role: Role, which: signal.Signals) -> None:
        assert role.process is not None
        with suppress(ProcessLookupError):
            os.killpg(role.process.pid, which)

    def _end(self, role: Role) -> None:
        self._signal(role, signal.SIGKILL)
        assert role.process is not None
        role.process.wait()
