from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx2
import openai
import pytest

from worker.model.thread import Kind
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.options import SandboxOptions
from worker.sandbox.request_log import NeverSeen, RequestLog
from worker.sandbox.server import SandboxDown, SandboxServer

ROOT = Path(__file__).parents[2]
BEARER = {"authorization": "Bearer sk-seen"}


@pytest.fixture
def http(sandbox: SandboxServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=sandbox.base_url.removesuffix("/v1"), timeout=10) as client:
        yield client


def test_every_answer_says_that_it_comes_from_a_sandbox(http: httpx2.Client) -> None:
    for path in ("/", "/sandbox/state", "/v1/files", "/v1/nothing"):
        answer = http.get(path, headers=BEARER)
        assert answer.headers["server"] == "tenure-sandbox"
        assert answer.headers["x-tenure-sandbox"] == "true"
    assert "nothing here is a real provider" in http.get("/").text


def test_provider_answers_carry_a_request_id_that_the_log_knows(
    http: httpx2.Client, sandbox: SandboxServer
) -> None:
    answer = http.get("/v1/files", headers=BEARER)
    assert answer.headers["x-request-id"].startswith("req_sandbox_")
    assert int(answer.headers["openai-processing-ms"]) >= 0
    assert sandbox.requests()[-1].request_id == answer.headers["x-request-id"]


def test_an_unknown_address_and_a_wrong_method_are_told_apart(http: httpx2.Client) -> None:
    unknown = http.get("/v1/assistants", headers=BEARER)
    assert (unknown.status_code, unknown.json()["error"]["message"]) == (
        404,
        "Invalid URL (GET /v1/assistants)",
    )
    slashed = http.get("/v1/files/", headers=BEARER)
    assert slashed.status_code == 404
    assert http.get("/v1/conversations", headers=BEARER).status_code == 405
    assert http.delete("/v1/files", headers=BEARER).status_code == 405


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer"}, {"authorization": "Basic eDp5"}])
def test_a_request_without_a_bearer_is_refused(http: httpx2.Client, headers: dict[str, str]) -> None:
    assert http.get("/v1/files", headers=headers).status_code == 401


def test_with_named_keys_no_other_is_accepted(
    start: Callable[..., SandboxServer], client_of: Callable[..., openai.OpenAI]
) -> None:
    server = start(api_keys=frozenset({"sk-good"}))
    assert client_of(server, api_key="sk-good").files.list().data == []
    with pytest.raises(openai.AuthenticationError) as refused:
        client_of(server, api_key="sk-bad").files.list()
    assert refused.value.code == "invalid_api_key"


@pytest.mark.parametrize("body", ["{", "[]", '{"items": 1}', '{"items": ["x"]}'])
def test_a_body_that_cannot_be_read_is_a_bad_request(http: httpx2.Client, body: str) -> None:
    answer = http.post("/v1/conversations", content=body, headers=BEARER)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_an_upload_without_a_file_is_a_bad_request(http: httpx2.Client) -> None:
    parts = {"purpose": (None, "user_data")}
    assert http.post("/v1/files", files=parts, headers=BEARER).status_code == 400


def test_the_state_tells_what_is_there_and_what_was_left_behind(http: httpx2.Client) -> None:
    seeded = http.post("/sandbox/seed", json={"kind": "conversation", "count": 2, "children": 3}).json()[
        "ids"
    ]
    http.delete(f"/v1/conversations/{seeded[0]}", headers=BEARER)
    state = http.get("/sandbox/state").json()
    assert {kind: number for kind, number in state["live"].items() if number} == {"conversation": 1}
    assert set(state["live"]) == {kind.value for kind in Kind}
    assert state["ids"]["conversation"] == [seeded[1]]
    assert (state["children"], state["orphaned_items"], len(state["orphaned_item_ids"])) == (3, 3, 3)


@pytest.mark.parametrize("kind", ["thread", "conversation", "response", "file"])
def test_seeds_of_every_kind_read_like_any_other(http: httpx2.Client, kind: str) -> None:
    body = {"kind": kind, "created_at": "2026-01-02T03:04:05Z", "project": "proj_a", "children": 1}
    [made] = http.post("/sandbox/seed", json=body).json()["ids"]
    read = http.get(f"/v1/{kind}s/{made}", headers=BEARER | {"openai-project": "proj_a"})
    assert (read.json()["id"], read.json()["object"], read.json()["created_at"]) == (
        made,
        kind,
        1_767_323_045,
    )
    assert http.get(f"/v1/{kind}s/{made}", headers=BEARER).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "item"},
        {"kind": "file", "count": -1},
        {"kind": "file", "count": True},
        {"kind": "file", "fields": []},
    ],
)
def test_a_seed_that_cannot_be_made_is_a_bad_request(http: httpx2.Client, body: dict[str, object]) -> None:
    assert http.post("/sandbox/seed", json=body).status_code == 400


def test_the_log_over_http_shows_no_key(http: httpx2.Client) -> None:
    http.get("/v1/files", headers=BEARER)
    http.get(
        "/v1/files?limit=3", headers=BEARER | {"openai-project": "proj_a", "openai-organization": "org-1"}
    )
    seen = http.get("/sandbox/requests", params={"since": 1})
    assert "sk-seen" not in seen.text
    [entry] = seen.json()["data"]
    assert (entry["n"], entry["method"], entry["path"], entry["query"]) == (2, "GET", "/v1/files", "limit=3")
    assert (entry["status"], entry["project"], entry["organization"]) == (200, "proj_a", "org-1")
    assert len(entry["authorization_sha256"]) == 64
    assert http.get("/sandbox/requests?since=x").status_code == 400


def test_the_log_in_process_shows_all_headers(http: httpx2.Client, sandbox: SandboxServer) -> None:
    http.get("/v1/files", headers=BEARER | {"X-Odd": "1"})
    assert sandbox.requests()[0].headers["x-odd"] == "1"
    assert sandbox.requests()[0].headers["authorization"] == "Bearer sk-seen"
    assert sandbox.requests(since=1) == ()


def test_a_test_can_wait_for_a_request_while_it_is_under_way(
    start: Callable[..., SandboxServer], client_of: Callable[..., openai.OpenAI]
) -> None:
    server = start("slow", slow_by=timedelta(minutes=1))
    client = client_of(server)
    caller = threading.Thread(target=client.files.list)
    caller.start()
    arrived = server.wait_for(lambda seen: len(seen) == 1)
    server.stop()
    answered = server.wait_for(lambda seen: seen[-1].status == 200)
    caller.join()
    assert (arrived[0].status, answered[0].status) == (None, 200)


def test_waiting_in_vain_says_what_was_seen_instead(sandbox: SandboxServer, client: openai.OpenAI) -> None:
    client.files.list()
    with pytest.raises(NeverSeen, match="GET /v1/files 200"):
        sandbox.wait_for(lambda seen: len(seen) == 2, timeout=0.01)


def test_a_full_log_forgets_the_oldest_and_keeps_the_numbers() -> None:
    log = RequestLog(2)
    numbers = [
        log.arrived(method="GET", path=f"/v1/{n}", query="", headers={}, request_id="r") for n in range(3)
    ]
    for number in numbers:
        log.answered(number, 200 + number)
    assert [(entry.n, entry.status) for entry in log.since()] == [(2, 202), (3, 203)]


def test_latency_is_spent_on_every_request(
    start: Callable[..., SandboxServer], client_of: Callable[..., openai.OpenAI]
) -> None:
    answer = client_of(start(latency=timedelta(milliseconds=50))).files.with_raw_response.list()
    assert int(answer.http_response.headers["openai-processing-ms"]) >= 45


def test_answers_on_a_kept_connection_are_not_held_back(http: httpx2.Client) -> None:
    # Nagle's delay costs 40 ms per answer; without it 50 of them take far less than 50 x 40 ms.
    times = [http.get("/v1/files", headers=BEARER).elapsed for _ in range(50)]
    assert sorted(times)[25] < timedelta(milliseconds=30)


def test_a_sandbox_can_go_away_and_come_back_as_it_was(client_of: Callable[..., openai.OpenAI]) -> None:
    server = SandboxServer(SandboxOptions(latency=timedelta(milliseconds=2)))
    with pytest.raises(SandboxDown, match="start"):
        _ = server.base_url
    first = server.start()
    with pytest.raises(SandboxDown, match="already"):
        server.start()
    client = client_of(server)
    conversation = client.conversations.create().id
    server.stop()
    server.stop()
    with pytest.raises(openai.APIConnectionError):
        client.conversations.retrieve(conversation)
    with server:
        assert server.base_url == first
        assert client.conversations.retrieve(conversation).id == conversation
    assert server.store.exists(ObjectKind.CONVERSATION, conversation)


def test_a_taken_port_is_an_error_at_the_start(sandbox: SandboxServer) -> None:
    port = int(sandbox.base_url.split(":")[2].split("/")[0])
    with pytest.raises(OSError, match="in use"):
        SandboxServer(port=port).start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving_announces_the_address_and_ends_cleanly_on_a_signal(number: signal.Signals) -> None:
    program = (
        "from worker.sandbox.server import serve\n"
        "from worker.sandbox.options import SandboxOptions\n"
        "serve(SandboxOptions(), '127.0.0.1', 0, lambda url: print(url, flush=True))\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as served:
        assert served.stdout is not None
        base_url = served.stdout.readline().strip()
        assert httpx2.get(f"{base_url}/files", headers=BEARER).status_code == 200
        served.send_signal(number)
        assert served.wait(10) == 0
