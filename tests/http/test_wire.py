"""Over real sockets, as clients come."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import httpx2
import openai
import pytest
import uvicorn
from fastapi import FastAPI
from openai.pagination import AsyncCursorPage, SyncCursorPage
from sqlalchemy import delete
from starlette.testclient import TestClient

from worker.flows.register import register_many
from worker.http.app import create_app
from worker.http.protocol import Protocol
from worker.store.engine import Database
from worker.store.tables import thread as threads
from worker.store.tables import thread_tag

Register = Callable[..., dict[str, Any]]

PLAIN = {"external_id": "conv_1", "project": "support-eu", "owner": "team-support"}


class Listed(openai.BaseModel):
    id: str
    external_id: str
    state: str


@pytest.fixture
def served(eventually: Any) -> Callable[[FastAPI], AbstractContextManager[str]]:
    @contextmanager
    def serve(app: FastAPI) -> Iterator[str]:
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, http=Protocol, log_config=None, access_log=False, lifespan="off", ws="none"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            eventually(lambda: server.started)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
            listener.close()

    return serve


@pytest.fixture
def url(app: FastAPI, served: Callable[[FastAPI], AbstractContextManager[str]]) -> Iterator[str]:
    with served(app) as found:
        yield found


def test_the_pager_of_openai_walks_the_threads(url: str, house: Any, registered: Register) -> None:
    made = [registered(f"conv_{number}")["id"] for number in range(7)]

    with openai.OpenAI(base_url=f"{url}/v1", api_key=house.key("threads:read"), max_retries=0) as client:
        page = client.get_api_list(
            "/threads",
            model=Listed,
            page=SyncCursorPage[Listed],
            options={"params": {"limit": 2, "order": "asc"}},
        )
        walked = list(page)

    assert [one.id for one in walked] == made
    assert {one.state for one in walked} == {"live"}


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_the_pager_sees_each_of_1000_threads_once_while_others_come_and_go(
    url: str, house: Any, admin: TestClient, order: str
) -> None:
    lines = [json.dumps({**PLAIN, "external_id": f"conv_{number}"}) for number in range(1000)]
    bulk = {"Content-Type": "application/x-ndjson"}
    admin.post("/v1/threads/bulk", content="\n".join(lines), headers=bulk).raise_for_status()
    key = house.key("threads:read")
    seen: list[str] = []
    gone: set[str] = set()
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        page = client.get_api_list(
            "/threads",
            model=Listed,
            page=SyncCursorPage[Listed],
            options={"params": {"limit": 50, "order": order}},
        )
        for one in page:
            seen.append(one.external_id)
            if len(seen) % 50 == 0:
                # The row that the cursor names goes, and a new thread comes, just before the next page.
                _remove(house.database, one.id)
                gone.add(one.external_id)
                late = {**PLAIN, "external_id": f"conv_late{len(seen)}"}
                admin.post("/v1/threads", json=late).raise_for_status()

    assert len(seen) == len(set(seen))
    assert {one for one in seen if "late" not in one} == {f"conv_{number}" for number in range(1000)}
    assert len(gone) >= 20


def test_the_asynchronous_pager_walks_too(url: str, house: Any, registered: Register) -> None:
    made = [registered(f"conv_{number}")["id"] for number in range(5)]

    async def walk() -> list[str]:
        key = house.key("threads:read")
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
            page = client.get_api_list(
                "/threads",
                model=Listed,
                page=AsyncCursorPage[Listed],
                options={"params": {"limit": 2, "order": "asc"}},
            )
            return [one.id async for one in page]

    assert asyncio.run(walk()) == made


def test_many_who_register_the_same_at_once_make_one_thread(url: str, house: Any, admin: TestClient) -> None:
    headers = {"Authorization": f"Bearer {house.key('threads:write')}"}
    bulk = {**headers, "Content-Type": "application/x-ndjson"}
    rows = [json.dumps({**PLAIN, "external_id": f"conv_{number}"}) for number in range(20)]

    def register(number: int) -> list[tuple[str, str]]:
        with httpx2.Client(base_url=url, timeout=60) as client:
            if number % 2:
                one = client.post("/v1/threads", json={**PLAIN, "external_id": "conv_0"}, headers=headers)
                return [({201: "created", 200: "exists"}[one.status_code], one.json()["id"])]
            # The same lines from both ends: two writers must not wait for each other in a circle.
            lines = rows if number % 4 else rows[::-1]
            answer = client.post("/v1/threads/bulk", content="\n".join(lines), headers=bulk)
            told = [json.loads(line) for line in answer.text.splitlines()][:-1]
            return [(one["status"], one["id"]) for one in told]

    with ThreadPoolExecutor(8) as pool:
        answers = [one for some in pool.map(register, range(8)) for one in some]

    assert Counter(status for status, _ in answers) == {"created": 20, "exists": 64}
    assert len({named for _, named in answers}) == 20
    entries = admin.get("/v1/audit/entries", params={"type": "thread.registered", "limit": 100}).json()
    assert len(entries["data"]) == 20


def _remove(database: Database, thread_id: str) -> None:
    """Take a row out behind Tenure's back, which itself never does."""
    with database.write() as db:
        db.execute(delete(thread_tag).where(thread_tag.c.thread_id == thread_id))
        db.execute(delete(threads).where(threads.c.id == thread_id))


def test_threads_come_and_go_over_http(url: str, house: Any) -> None:
    key = house.key("threads:read", "threads:write")
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client:
        first = client.post("/v1/threads", json=PLAIN)
        again = client.post("/v1/threads", json=PLAIN)
        shown = client.get("/v1/threads/conv_1")

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json() == shown.json()


def test_the_same_registration_from_many_sides_is_one_thread(url: str, house: Any) -> None:
    headers = {"Authorization": f"Bearer {house.key('threads:write')}"}
    answers: list[httpx2.Response] = []

    def send() -> None:
        with httpx2.Client(base_url=url, headers=headers, timeout=60) as client:
            answers.append(client.post("/v1/threads", json=PLAIN))

    senders = [threading.Thread(target=send) for _ in range(8)]
    for one in senders:
        one.start()
    for one in senders:
        one.join()

    assert sorted(one.status_code for one in answers) == [200] * 7 + [201]
    assert len({one.json()["id"] for one in answers}) == 1


def test_a_client_that_sends_all_before_it_reads_is_answered(url: str, house: Any) -> None:
    row = json.dumps({**PLAIN, "external_id": "run_1", "tags": {"k": "v" * 150}}).encode() + b"\n"
    headers = {
        "Authorization": f"Bearer {house.key('threads:write')}",
        "Content-Type": "application/x-ndjson",
    }
    with httpx2.Client(base_url=url, timeout=60) as client:
        answer = client.post("/v1/threads/bulk", content=(row * 100 for _ in range(200)), headers=headers)

    assert answer.status_code == 200
    assert answer.text.count("\n") == 20_001
    assert json.loads(answer.text.splitlines()[-1])["invalid"] == 20_000


def test_an_oversized_body_is_refused_although_it_keeps_coming(url: str, house: Any) -> None:
    key = house.key("threads:write")
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with httpx2.Client(base_url=url, timeout=60) as client:
        answer = client.post("/v1/threads", content=b" " * (2 * 1024 * 1024), headers=headers)

    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"


def test_a_body_that_does_not_go_on_is_answered_and_its_connection_closed(house: Any, served: Any) -> None:
    app = create_app(replace(house.services, body_seconds=0.1))
    head = (
        "POST /v1/threads HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
        f"Authorization: Bearer {house.key('threads:write')}\r\n\r\n{{"
    )
    with served(app) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
            line.sendall(head.encode())
            said = b"".join(iter(lambda: line.recv(65536), b""))

    assert said.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"too_slow"' in said


def test_an_answer_that_takes_longer_than_a_body_may_rest_is_still_given(house: Any, served: Any) -> None:
    app = create_app(replace(house.services, body_seconds=0.05))
    lines = "\n".join(json.dumps({**PLAIN, "external_id": f"conv_{number}"}) for number in range(300))
    headers = {
        "Authorization": f"Bearer {house.key('threads:write')}",
        "Content-Type": "application/x-ndjson",
    }
    with served(app) as url:
        answer = httpx2.post(f"{url}/v1/threads/bulk", content=lines, headers=headers, timeout=30)

    assert answer.status_code == 200
    assert json.loads(answer.text.splitlines()[-1])["created"] == 300


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "head",
    [
        "GET /v1/secret-word HTTP/9.9\r\n\r\n",
        "GET  /secret-word\r\n\r\n",
        "\x16\x03\x01secret-word\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nsecret-word\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: secret-word\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: secret-word\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX: " + "a" * 100_000 + "secret-word\r\n\r\n",
    ],
    ids=range(7),
)
def test_what_is_no_http_is_a_problem_too_and_repeats_nothing(url: str, head: str) -> None:
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(head.encode("latin-1"))
        answer = http.client.HTTPResponse(line)
        answer.begin()
        told = json.loads(answer.read())

    assert 400 <= answer.status < 600
    assert answer.headers["content-type"] == "application/problem+json"
    assert told["request_id"] == answer.headers["x-request-id"]
    assert "secret-word" not in told["detail"]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("method", ["FROBNICATE", "TRACE", "OPTIONS"])
def test_a_method_that_no_route_has_is_a_problem_on_the_wire(url: str, house: Any, method: str) -> None:
    headers = {"Authorization": f"Bearer {house.key('threads:read')}"}
    answer = httpx2.request(method, f"{url}/v1/threads", headers=headers)

    assert answer.status_code == 405
    assert answer.json()["code"] == "method_not_allowed"
    assert {"GET", "POST"} <= {one.strip() for one in answer.headers["allow"].split(",")}


def test_one_order_from_many_sides_under_one_key_is_done_once(
    url: str, house: Any, admin: TestClient
) -> None:
    headers = {"Authorization": f"Bearer {house.key('holds:write')}", "Idempotency-Key": '"one-order"'}
    hold = {"matter": "M", "reason": "case", "scope": {"owners": ["team-support"]}}

    def order(_: int) -> httpx2.Response:
        with httpx2.Client(base_url=url, headers=headers, timeout=60) as client:
            return client.post("/v1/holds", json=hold)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(order, range(16)))

    done = [one for one in answers if one.status_code == 201]
    early = [one for one in answers if one.status_code == 409]
    assert len(done) + len(early) == 16
    assert {one.json()["code"] for one in early} <= {"idempotency_key_in_use"}
    assert len({one.content for one in done}) == 1
    assert len([one for one in done if "idempotency-replayed" not in one.headers]) == 1
    assert len(admin.get("/v1/holds").json()["data"]) == 1


def test_work_goes_on_when_its_client_is_gone_and_the_answer_waits_for_it(
    house: Any, served: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.http.bulk_lines.MOST_AT_ONCE", 2)
    lines = "\n".join(json.dumps({**PLAIN, "external_id": f"conv_{number}"}) for number in range(10))
    headers = {
        "Authorization": f"Bearer {house.key('threads:write')}",
        "Content-Type": "application/x-ndjson",
        "Idempotency-Key": '"part-1"',
    }
    begun, gone = threading.Event(), threading.Event()

    def waiting(*args: Any, **named: Any) -> Any:
        begun.set()
        assert gone.wait(20)
        return register_many(*args, **named)

    monkeypatch.setattr("worker.http.bulk_lines.register_many", waiting)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with served(create_app(house.services)) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
            length = f"Content-Length: {len(lines)}\r\n"
            line.sendall(f"POST /v1/threads/bulk HTTP/1.1\r\nHost: x\r\n{head}{length}\r\n{lines}".encode())
            assert begun.wait(20)
        gone.set()

        def ask() -> httpx2.Response | None:
            answer = httpx2.post(f"{url}/v1/threads/bulk", content=lines, headers=headers, timeout=30)
            return answer if answer.status_code != 409 else None

        answer = eventually(ask)

    assert answer.headers["idempotency-replayed"] == "true"
    assert json.loads(answer.text.splitlines()[-1])["created"] == 10
