"""SIGTERM of the API under load: whoever was heard is answered, and nobody who sends slowly keeps it up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx2
import pytest
from sqlalchemy import select

from tests.end_to_end.conftest import Fleet
from tests.world.world import PROJECT
from worker.store.tables import thread

_CLIENTS = 8
_ENOUGH = 100
_GRACE = 40
_CREATED = 201


class _Load:
    """Clients that register threads on connections of their own, until nobody answers any more."""

    def __init__(self, fleet: Fleet) -> None:
        key = (fleet.folder / "data" / "admin.key").read_text().strip()
        self._url, self._key = fleet.url, key
        self.answered: set[str] = set()
        self.enough = threading.Event()

    def send(self, client_number: int) -> int:
        """Register one thread after the other; returns how many answers were anything but 201."""
        others = 0
        headers = {"Authorization": f"Bearer {self._key}"}
        with httpx2.Client(base_url=self._url, headers=headers, timeout=60, trust_env=False) as client:
            for number in range(1_000_000):
                external_id = f"resp_{client_number}x{number}"
                body = {"external_id": external_id, "project": PROJECT, "owner": "team"}
                try:
                    answer = client.post("/v1/threads", json=body)
                except httpx2.TransportError:
                    return others
                if answer.status_code == _CREATED:
                    self.answered.add(external_id)
                else:
                    others += 1
                if len(self.answered) >= _ENOUGH:
                    self.enough.set()
        return others


@contextmanager
def _loaded(fleet: Fleet) -> Iterator[tuple[_Load, list[Future[int]]]]:
    load = _Load(fleet)
    with ThreadPoolExecutor(_CLIENTS) as pool:
        yield load, [pool.submit(load.send, number) for number in range(_CLIENTS)]


@contextmanager
def _one_that_never_ends(fleet: Fleet) -> Iterator[socket.socket]:
    """A client that announces a body, sends the half of it and then nothing; and one that says nothing."""
    place = urlsplit(fleet.url)
    address = (str(place.hostname), int(place.port or 0))
    key = (fleet.folder / "data" / "admin.key").read_text().strip()
    with socket.create_connection(address) as half, socket.create_connection(address):
        head = (
            f"POST /v1/threads HTTP/1.1\r\nHost: tenure\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        half.sendall(head.encode())
        yield half


@pytest.mark.timeout(180)
def test_an_api_that_is_told_to_stop_answers_whom_it_heard_and_writes_nothing_else(fleet: Fleet) -> None:
    process = fleet.start("beat"), fleet.start("api")
    fleet.eventually(lambda: fleet.call("GET", "/v1/policies").get("digest"), within=60)
    with _loaded(fleet) as (load, clients):
        assert load.enough.wait(60), fleet.logs()
        assert fleet.stop_one(process[1], within=_GRACE) == 0, fleet.logs()
        assert [one.result(30) for one in clients] == [0] * _CLIENTS
    with fleet.database.read() as db:
        written = set(db.execute(select(thread.c.external_id)).scalars())
    assert written == load.answered


@pytest.mark.timeout(180)
def test_a_client_that_sends_half_a_request_keeps_no_api_from_ending(fleet: Fleet) -> None:
    process = fleet.start("api")
    with _one_that_never_ends(fleet):
        # Its turn came before this one's, on the same loop.
        fleet.call("GET", "/v1/threads")
        assert fleet.stop_one(process, within=_GRACE) == 0, fleet.logs()
