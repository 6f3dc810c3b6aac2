"""Over real sockets, as clients come."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest
import uvicorn
from fastapi import FastAPI
from openai.pagination import SyncCursorPage

Register = Callable[..., dict[str, Any]]

PLAIN = {"external_id": "conv_1", "project": "support-eu", "owner": "team-support"}


class Listed(openai.BaseModel):
    id: str
    external_id: str
    state: str


@pytest.fixture
def url(app: FastAPI, eventually: Any) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
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
