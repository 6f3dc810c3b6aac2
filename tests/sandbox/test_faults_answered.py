"""Faults of keys, gateways and bodies, and objects that come back, as the real SDK sees them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import openai
import pytest

from worker.sandbox.control import make_sample
from worker.sandbox.kinds import CONTAINERS, FACTS, ObjectKind
from worker.sandbox.options import Fault, parse_faults
from worker.sandbox.server import SandboxServer
from worker.sandbox.store import SandboxStore

Start = Callable[..., SandboxServer]
ClientOf = Callable[..., openai.OpenAI]

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated.*:DeprecationWarning")

UNTOUCHED = [
    Fault.OBJECT_404,
    Fault.EVERYTHING_404,
    Fault.ROUTE_404,
    Fault.ENDPOINT_RETIRED,
    Fault.WRONG_KEY_404,
    Fault.WRONG_KEY_401,
    Fault.REFUSED_KEY,
    Fault.FORBIDDEN,
    Fault.READ_ONLY_KEY,
    Fault.THROTTLED,
    Fault.THROTTLED_SILENT,
    Fault.ERROR_500,
    Fault.LOST_REQUEST,
    Fault.REDIRECT,
    Fault.REDIRECT_307,
    Fault.HTML_200,
    Fault.LYING_200,
    Fault.DELETED_FALSE,
    Fault.WRONG_ID,
]
DONE = [Fault.ERROR_AFTER, Fault.LOST_REPLY, Fault.REAPPEARS, Fault.SLOW_BODY, Fault.TRUNCATED_JSON]


def one_conversation(server: SandboxServer) -> str:
    return make_sample(server.store, ObjectKind.CONVERSATION, children=1)


@pytest.mark.parametrize("fault", [*UNTOUCHED, *DONE])
def test_no_fault_leaves_in_doubt_what_became_of_the_object(start: Start, fault: Fault) -> None:
    """The truth is in the store for every kind, whatever was answered."""
    server = start(f"{fault}@delete", slow_by=timedelta())
    with httpx2.Client(base_url=server.base_url, headers={"authorization": "Bearer k"}) as client:
        for kind in CONTAINERS:
            made = make_sample(server.store, kind)
            try:
                client.delete(f"/{FACTS[kind].path}/{made}")
            except httpx2.RemoteProtocolError:
                assert fault in {Fault.LOST_REPLY, Fault.LOST_REQUEST}
            assert server.store.exists(kind, made) is (fault in UNTOUCHED)
            assert server.requests()[-1].fault is fault


def test_an_absent_object_looks_as_if_it_never_was(start: Start, client_of: ClientOf) -> None:
    server = start("object-404")
    client = client_of(server)
    conversation = client.conversations.create().id
    for attempt in (
        client.conversations.retrieve,
        client.conversations.delete,
        client.conversations.items.list,
    ):
        with pytest.raises(
            openai.NotFoundError, match=f"Conversation with id '{conversation}' not found"
        ) as absent:
            attempt(conversation)
        assert absent.value.type == "invalid_request_error"


def test_a_404_to_everything_stops_making_too(start: Start, client_of: ClientOf) -> None:
    client = client_of(start("everything-404"))
    with pytest.raises(openai.NotFoundError, match="Conversation with id 'conv_1' not found"):
        client.conversations.retrieve("conv_1")
    for attempt in (client.conversations.create, client.files.list):
        with pytest.raises(openai.NotFoundError, match="Not found"):
            attempt()


def test_a_gateway_without_the_route_names_nothing(start: Start, client_of: ClientOf) -> None:
    server = start("route-404:conversation")
    client = client_of(server)
    for attempt in (client.conversations.create, lambda: client.conversations.delete("conv_1")):
        with pytest.raises(openai.NotFoundError) as absent:
            attempt()
        assert absent.value.response.json() == {"detail": "Not Found"}
    assert client.files.list().data == []


def test_the_key_of_another_project_sees_only_what_it_made(start: Start, client_of: ClientOf) -> None:
    server = start()
    client = client_of(server)
    mine = one_conversation(server)
    server.set_faults(parse_faults(["wrong-key-404"]))
    for attempt in (client.conversations.retrieve, client.conversations.delete):
        with pytest.raises(openai.NotFoundError, match=f"'{mine}' not found"):
            attempt(mine)
    theirs = client.conversations.create().id
    assert client.conversations.retrieve(theirs).id == theirs
    assert client.files.list().data == []
    server.set_faults(())
    assert client.conversations.retrieve(mine).id == mine
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(theirs)


def test_a_key_that_may_only_read_reads(start: Start, client_of: ClientOf) -> None:
    server = start("read-only-key")
    client = client_of(server)
    conversation = one_conversation(server)
    assert client.conversations.retrieve(conversation).id == conversation
    assert len(client.conversations.items.list(conversation).data) == 1
    for attempt in (lambda: client.conversations.delete(conversation), client.conversations.create):
        with pytest.raises(openai.PermissionDeniedError, match="Missing scopes"):
            attempt()


def test_a_silent_throttle_names_no_time(start: Start, client_of: ClientOf) -> None:
    with pytest.raises(openai.RateLimitError) as throttled:
        client_of(start("throttled-silent")).files.list()
    names = {name for name in throttled.value.response.headers if "retry" in name or "ratelimit" in name}
    assert names == set()


@pytest.mark.parametrize(("fault", "stays"), [("timeout@delete", True), ("timeout-after", False)])
def test_a_request_that_is_never_answered_ends_when_the_client_goes(
    start: Start, client_of: ClientOf, fault: str, stays: bool
) -> None:
    server = start(fault, hang_for=timedelta(minutes=5))
    conversation = one_conversation(server)
    with pytest.raises(openai.APITimeoutError):
        client_of(server, timeout=0.2).conversations.delete(conversation)
    assert server.store.exists(ObjectKind.CONVERSATION, conversation) is stays
    assert server.requests()[-1].status is None
    server.stop()


def test_a_request_that_is_never_answered_is_hung_up_in_the_end(start: Start, client_of: ClientOf) -> None:
    server = start("timeout", hang_for=timedelta(milliseconds=50))
    with pytest.raises(openai.APIConnectionError) as lost:
        client_of(server).files.list()
    assert not isinstance(lost.value, openai.APITimeoutError)


@pytest.mark.parametrize(("fault", "status"), [("redirect", 302), ("redirect-307", 307)])
def test_a_redirect_leads_to_a_perfect_false_deletion(start: Start, fault: str, status: int) -> None:
    server = start(f"{fault}@delete")
    conversation = one_conversation(server)
    with httpx2.Client(base_url=server.base_url, headers={"authorization": "Bearer k"}) as client:
        seen = client.delete(f"/conversations/{conversation}")
        followed = client.delete(f"/conversations/{conversation}", follow_redirects=True)
    assert seen.status_code == status
    assert followed.json() == {"id": conversation, "object": "conversation.deleted", "deleted": True}
    assert server.requests()[-1].method == ("GET" if status == 302 else "DELETE")
    assert server.store.exists(ObjectKind.CONVERSATION, conversation)


def test_another_id_is_echoed_and_nothing_is_deleted(start: Start, client_of: ClientOf) -> None:
    server = start("wrong-id")
    client = client_of(server)
    conversation = one_conversation(server)
    [item] = server.store.children(conversation)
    answers: list[Any] = [
        client.conversations.retrieve(conversation),
        client.conversations.delete(conversation),
        client.conversations.items.delete(item.id, conversation_id=conversation),
    ]
    assert all(one.id.startswith("conv_") and one.id != conversation for one in answers)
    assert server.store.child(conversation, item.id) == item


def test_a_truncated_body_is_complete_for_http_and_broken_as_json(start: Start) -> None:
    server = start("truncated-json")
    conversation = one_conversation(server)
    answer = httpx2.delete(
        f"{server.base_url}/conversations/{conversation}", headers={"authorization": "Bearer k"}
    )
    assert (answer.status_code, len(answer.content)) == (200, int(answer.headers["content-length"]))
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_a_slow_body_comes_in_pieces_and_whole(start: Start, client_of: ClientOf) -> None:
    server = start("slow-body", slow_by=timedelta(milliseconds=100))
    conversation = one_conversation(server)
    address = f"{server.base_url}/conversations/{conversation}"
    with httpx2.stream("GET", address, headers={"authorization": "Bearer k"}) as answer:
        pieces = list(answer.iter_raw())
    assert len(pieces) > 3
    assert json.loads(b"".join(pieces))["id"] == conversation


def test_a_slow_body_outlasts_a_client_that_waits_for_each_piece(start: Start, client_of: ClientOf) -> None:
    server = start("slow-body@delete", slow_by=timedelta(minutes=5))
    conversation = one_conversation(server)
    with pytest.raises(openai.APITimeoutError):
        client_of(server, timeout=0.2).conversations.delete(conversation)
    assert not server.store.exists(ObjectKind.CONVERSATION, conversation)


def test_what_was_deleted_reappears_on_demand(start: Start, client_of: ClientOf) -> None:
    server = start("reappears", reappears_after=None)
    client = client_of(server)
    conversation = one_conversation(server)
    [item] = server.store.children(conversation)
    assert client.conversations.delete(conversation).deleted is True
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(conversation)
    state = httpx2.get(server.base_url.replace("/v1", "/sandbox/state")).json()
    assert state["reappearing_ids"] == [conversation]
    back = httpx2.post(server.base_url.replace("/v1", "/sandbox/reappear")).json()
    assert back == {"ids": [conversation]}
    assert client.conversations.items.retrieve(item.id, conversation_id=conversation).id == item.id
    assert server.store.state().orphaned_items == ()


def test_what_was_deleted_reappears_when_its_time_has_come() -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    store = SandboxStore(now=lambda: now[0], reappears_after=timedelta(seconds=30))
    conversation = store.create(ObjectKind.CONVERSATION, children=[{"type": "message"}] * 2)
    [first, second] = store.children(conversation.id)
    store.delete_child(conversation.id, first.id, reappears=True)
    store.delete_child(conversation.id, second.id)
    assert store.children(conversation.id) == []
    now[0] += timedelta(seconds=31)
    assert store.children(conversation.id) == [first]
    store.delete(ObjectKind.CONVERSATION, conversation.id, reappears=True)
    now[0] += timedelta(seconds=29)
    assert not store.exists(ObjectKind.CONVERSATION, conversation.id)
    now[0] += timedelta(seconds=1)
    assert store.exists(ObjectKind.CONVERSATION, conversation.id)
    assert store.children(conversation.id) == [first]


def test_a_deleted_object_can_be_restored_as_it_was() -> None:
    store = SandboxStore()
    conversation = store.create(ObjectKind.CONVERSATION, children=[{"type": "message"}])
    children = store.children(conversation.id)
    store.delete(ObjectKind.CONVERSATION, conversation.id)
    for _ in range(2):
        store.restore(ObjectKind.CONVERSATION, conversation.id)
    assert store.get(ObjectKind.CONVERSATION, conversation.id) == conversation
    assert store.children(conversation.id) == children
    assert store.state().orphaned_items == ()
    with pytest.raises(KeyError):
        store.restore(ObjectKind.FILE, "file-never")
