from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest

from worker.sandbox.acting import ConnectionStays
from worker.sandbox.app import create_app
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.options import Fault, FaultRule, SandboxOptions, parse_fault, parse_rate
from worker.sandbox.server import SandboxServer

Start = Callable[..., SandboxServer]
ClientOf = Callable[..., openai.OpenAI]

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated.*:DeprecationWarning")


def one_conversation(server: SandboxServer) -> str:
    return server.store.create(ObjectKind.CONVERSATION, children=[{"type": "message"}]).id


def still_there(server: SandboxServer, conversation: str) -> bool:
    return server.store.exists(ObjectKind.CONVERSATION, conversation)


def raw_exchange(server: SandboxServer, request: bytes) -> bytes:
    """Send bytes and read until the other side closes."""
    address = urlsplit(server.base_url)
    received = b""
    with socket.create_connection((address.hostname, address.port), timeout=5) as wire:
        wire.sendall(request)
        while chunk := wire.recv(65536):
            received += chunk
    return received


def raw_delete(path: str) -> bytes:
    return f"DELETE {path} HTTP/1.1\r\nhost: sandbox\r\nauthorization: Bearer k\r\n\r\n".encode()


def test_a_lost_reply_has_deleted_and_sends_not_one_byte(start: Start) -> None:
    server = start("lost-reply:conversation*1")
    first, second = one_conversation(server), one_conversation(server)
    assert raw_exchange(server, raw_delete(f"/v1/conversations/{first}")) == b""
    assert not still_there(server, first)
    assert still_there(server, second)


def test_a_lost_request_has_done_nothing_and_sends_not_one_byte(start: Start) -> None:
    server = start("lost-request*1")
    conversation = one_conversation(server)
    assert raw_exchange(server, raw_delete(f"/v1/conversations/{conversation}")) == b""
    assert still_there(server, conversation)


def test_only_the_struck_request_of_a_kept_connection_goes_unanswered(start: Start) -> None:
    server = start("lost-reply:conversation")
    conversation = one_conversation(server)
    read = f"GET /v1/conversations/{conversation} HTTP/1.1\r\nhost: s\r\nauthorization: Bearer k\r\n\r\n"
    received = raw_exchange(server, read.encode() + raw_delete(f"/v1/conversations/{conversation}"))
    assert received.startswith(b"HTTP/1.1 200")
    assert received.count(b"HTTP/1.1") == 1
    assert not still_there(server, conversation)


@pytest.mark.parametrize(("fault", "stays"), [("lost-reply", False), ("lost-request@delete", True)])
def test_the_sdk_sees_a_lost_connection_as_no_answer(
    start: Start, client_of: ClientOf, fault: str, stays: bool
) -> None:
    server = start(fault)
    conversation = one_conversation(server)
    client = client_of(server)
    client.conversations.retrieve(conversation)
    with pytest.raises(openai.APIConnectionError):
        client.conversations.delete(conversation)
    assert still_there(server, conversation) is stays
    assert [(seen.method, seen.status) for seen in server.requests()] == [("GET", 200), ("DELETE", None)]
    assert server.requests()[-1].fault == parse_fault(fault).fault


def test_an_app_without_a_reachable_connection_refuses_to_pretend() -> None:
    app = create_app(SandboxOptions(faults=(FaultRule(fault=Fault.LOST_REQUEST),)))

    async def read() -> None:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app)) as client:
            await client.get("http://sandbox/v1/files", headers={"authorization": "Bearer k"})

    with pytest.raises(ConnectionStays, match="SandboxServer"):
        asyncio.run(read())


def test_a_lying_200_looks_like_a_deletion_and_keeps_everything(start: Start, client_of: ClientOf) -> None:
    server = start("lying-200")
    client = client_of(server)
    conversation = one_conversation(server)
    [item] = server.store.children(conversation)
    assert client.conversations.items.delete(item.id, conversation_id=conversation).id == conversation
    assert client.conversations.delete(conversation).deleted is True
    assert client.conversations.retrieve(conversation).id == conversation
    assert client.conversations.items.retrieve(item.id, conversation_id=conversation).id == item.id


def test_a_lying_200_does_not_invent_what_never_was(start: Start, client_of: ClientOf) -> None:
    with pytest.raises(openai.NotFoundError):
        client_of(start("lying-200")).conversations.delete("conv_unknown")


def test_deleted_false_says_so_and_keeps_everything(start: Start, client_of: ClientOf) -> None:
    server = start("deleted-false")
    client = client_of(server)
    conversation = one_conversation(server)
    [item] = server.store.children(conversation)
    answer = client.conversations.items.with_raw_response.delete(item.id, conversation_id=conversation)
    assert answer.http_response.json() == {"id": item.id, "object": "conversation.item", "deleted": False}
    assert client.conversations.delete(conversation).deleted is False
    assert still_there(server, conversation)
    assert server.store.child(conversation, item.id) is not None


@pytest.mark.parametrize(("fault", "stays"), [("error-500@delete", True), ("error-after", False)])
def test_a_server_error_may_come_before_or_after_the_deletion(
    start: Start, client_of: ClientOf, fault: str, stays: bool
) -> None:
    server = start(fault)
    conversation = one_conversation(server)
    with pytest.raises(openai.InternalServerError) as failed:
        client_of(server).conversations.delete(conversation)
    assert failed.value.status_code == 500
    assert still_there(server, conversation) is stays


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("refused-key", 401, "invalid_api_key"),
        ("forbidden", 403, None),
        ("throttled", 429, "rate_limit_exceeded"),
    ],
)
def test_a_refusal_strikes_every_method_and_does_nothing(
    start: Start, client_of: ClientOf, fault: str, status: int, code: str | None
) -> None:
    server = start(fault)
    client = client_of(server)
    conversation = one_conversation(server)
    for attempt in (
        client.conversations.retrieve,
        client.conversations.delete,
        client.conversations.items.list,
    ):
        with pytest.raises(openai.APIStatusError) as refused:
            attempt(conversation)
        assert (refused.value.status_code, refused.value.code) == (status, code)
    assert still_there(server, conversation)


def test_throttled_names_a_time_to_come_back(start: Start, client_of: ClientOf) -> None:
    server = start("throttled", retry_after=timedelta(seconds=7))
    with pytest.raises(openai.RateLimitError) as throttled:
        client_of(server).files.list()
    assert throttled.value.response.headers["retry-after"] == "7"


def test_a_retired_endpoint_answers_404_to_that_kind_only(start: Start, client_of: ClientOf) -> None:
    server = start("endpoint-retired:thread")
    client = client_of(server)
    thread = server.store.create(ObjectKind.THREAD).id
    with pytest.raises(openai.NotFoundError) as retired:
        client.beta.threads.delete(thread)
    assert retired.value.response.json()["error"]["message"] == f"Invalid URL (DELETE /v1/threads/{thread})"
    for attempt in (client.beta.threads.create, lambda: client.beta.threads.messages.list(thread)):
        with pytest.raises(openai.NotFoundError, match="Invalid URL"):
            attempt()
    assert client.conversations.create().id
    assert server.store.exists(ObjectKind.THREAD, thread)


def test_a_bare_retired_endpoint_concerns_all_kinds(start: Start, client_of: ClientOf) -> None:
    client = client_of(start("endpoint-retired"))
    for attempt in (client.conversations.create, client.files.list, client.beta.threads.create):
        with pytest.raises(openai.NotFoundError, match="Invalid URL"):
            attempt()


def test_a_redirect_is_visible_and_following_it_shows_in_the_log(start: Start, client_of: ClientOf) -> None:
    server = start("redirect@delete")
    conversation = one_conversation(server)
    with httpx2.Client(follow_redirects=False) as transport:
        client = client_of(server, http_client=transport)
        with pytest.raises(openai.APIStatusError) as moved:
            client.conversations.delete(conversation)
        assert moved.value.status_code == 302
    client_of(server).conversations.delete(conversation)
    assert [(seen.method, seen.path) for seen in server.requests()][-1] == ("GET", "/sandbox/landing")
    assert still_there(server, conversation)


def test_an_html_page_comes_with_200_and_does_nothing(start: Start, client_of: ClientOf) -> None:
    server = start("html-200@delete")
    conversation = one_conversation(server)
    answer = client_of(server).conversations.with_raw_response.delete(conversation).http_response
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert still_there(server, conversation)


def test_a_slow_delete_outlasts_the_client_and_still_happens(start: Start, client_of: ClientOf) -> None:
    server = start("slow@delete", slow_by=timedelta(seconds=60))
    conversation = one_conversation(server)
    with pytest.raises(openai.APITimeoutError):
        client_of(server, timeout=0.2).conversations.delete(conversation)
    assert still_there(server, conversation)
    server.stop()
    assert not still_there(server, conversation)


def test_faults_can_be_changed_while_the_sandbox_runs(sandbox: SandboxServer, client: openai.OpenAI) -> None:
    root = sandbox.base_url.removesuffix("/v1")
    with httpx2.Client(base_url=root) as control:
        changed = control.post("/sandbox/faults", json={"faults": ["error-500:file*1"]})
        assert changed.json() == {"faults": ["error-500:file*1"]}
        with pytest.raises(openai.InternalServerError):
            client.files.list()
        assert client.files.list().data == []
        unknown: Any = control.post("/sandbox/faults", json={"faults": ["no-such"]})
        assert unknown.status_code == 400
        assert "lying-200" in unknown.json()["error"]["message"]
        assert control.post("/sandbox/faults", content=json.dumps({"faults": "slow"})).status_code == 400
        assert control.get("/sandbox/faults").json() == {"faults": ["error-500:file*1"]}


def test_beyond_the_rate_requests_are_throttled_and_nothing_is_done(
    start: Start, client_of: ClientOf
) -> None:
    server = start(rate=parse_rate("3/h"))
    client = client_of(server)
    first = client.conversations.with_raw_response.create().http_response.headers
    assert (first["x-ratelimit-limit-requests"], first["x-ratelimit-remaining-requests"]) == ("3", "0")
    with pytest.raises(openai.RateLimitError) as throttled:
        client.conversations.create()
    headers = throttled.value.response.headers
    assert 1100 < int(headers["retry-after"]) <= 1200
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert len(server.store.every(ObjectKind.CONVERSATION)) == 1


def test_a_rate_by_key_counts_each_key_alone_and_some_keys_get_nothing_but_429(start: Start) -> None:
    server = start(rate=parse_rate("1/h"), rate_by_key=True, throttled_keys=frozenset({"none"}))

    def ask(key: str) -> int:
        headers = {"authorization": f"Bearer {key}"}
        return httpx2.get(f"{server.base_url}/files", headers=headers, trust_env=False).status_code

    assert [ask(key) for key in ("one", "one", "two", "two", "none")] == [200, 429, 200, 429, 429]


def test_a_rate_for_deletions_leaves_reads_alone(start: Start, client_of: ClientOf) -> None:
    server = start(delete_rate=parse_rate("1/h"))
    client = client_of(server)
    conversations = [one_conversation(server) for _ in range(2)]
    client.conversations.delete(conversations[0])
    with pytest.raises(openai.RateLimitError):
        client.conversations.delete(conversations[1])
    assert client.conversations.retrieve(conversations[1]).id == conversations[1]
