"""What both servers need: a free port, a child that dies with its parent, and a start that is tried again."""

from __future__ import annotations

import ctypes
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

TRIES = 5
START_SECONDS = 30.0
STOP_SECONDS = 10.0


class ServerDidNotStart(RuntimeError):
    """The server's process ended or stayed silent; carries the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The user that runs a server, where it may not be the one that runs the tests."""

    uid: int
    gid: int


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago; somebody else may still take it first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def die_with_parent(how: signal.Signals) -> Callable[[], None] | None:
    """A hook for the child: on Linux the kernel sends it `how` when the process that started it is gone."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(1, int(how))


def spawn(  # the hook is one system call on a library that is loaded already, so it is safe after fork
    command: Sequence[str],
    *,
    folder: Path,
    stop: signal.Signals,
    account: Account | None = None,
    feed: str = "",
) -> subprocess.Popen[bytes]:
    """Start a server in its folder, its output in `log` there; `feed` is all that it reads."""
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent(stop),  # noqa: PLW1509 - see above
            start_new_session=True,  # a Ctrl-C at the terminal is for the tests; they stop the server
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    if child.stdin is None:
        raise AssertionError
    with child.stdin as stdin:
        stdin.write(feed.encode())
    return child


def wait_until_ready(child: subprocess.Popen[bytes], *, folder: Path, ready: Callable[[], bool]) -> None:
    """Return when `ready` holds; raises ServerDidNotStart if the child ends first or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        if ready():
            return
        time.sleep(0.02)
    raise ServerDidNotStart((folder / "log").read_text(errors="replace")[-2000:])


def stop_child(child: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """End the child kindly, then for certain."""
    if child.poll() is not None:
        return
    child.send_signal(how)
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
