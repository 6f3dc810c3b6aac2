"""A stop leaves nothing open, also where a client never reads its answer."""

from __future__ import annotations

import gc
import socket
import warnings
from urllib.parse import urlsplit

import pytest

from worker.sandbox import server as sandbox_server
from worker.sandbox.control import make_sample
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.server import SandboxServer


def test_a_client_that_never_reads_keeps_no_connection_open(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a busy machine left open broke whichever test came next."""
    monkeypatch.setattr(sandbox_server, "_GRACE_SECONDS", 0.1)
    for _ in range(100_000):
        make_sample(sandbox.store, ObjectKind.FILE, created_at=1)
    where = urlsplit(sandbox.base_url)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((where.hostname, where.port))
        client.sendall(b"GET /sandbox/state HTTP/1.1\r\nHost: sandbox\r\n\r\n")
        # The answer has begun, and is far larger than what lies between the two ends.
        assert client.recv(1)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            sandbox.stop()
            gc.collect()
    assert [str(one.message) for one in told if issubclass(one.category, ResourceWarning)] == []
