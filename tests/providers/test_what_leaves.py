"""Where a request goes, with which headers: nothing ambient decides it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

import pytest

from tests.providers.wire import DROP, Seen, Wire, answer, deleted, present
from worker.model.errors import Invalid
from worker.model.evidence import Class, Step
from worker.model.thread import Kind
from worker.providers.base import Listed
from worker.providers.openai import OpenAIProvider
from worker.providers.table import KINDS, KindNotOffered, NotListable, facts

Connect = Callable[..., AbstractAsyncContextManager[OpenAIProvider]]
ID = "conv_1"
HOSTILE = {
    "OPENAI_API_KEY": "sk-foreign",
    "OPENAI_ADMIN_KEY": "sk-admin-foreign",
    "OPENAI_ORG_ID": "org-foreign",
    "OPENAI_PROJECT_ID": "proj_foreign",
    "OPENAI_BASE_URL": "http://127.0.0.1:1/foreign",
    "OPENAI_CUSTOM_HEADERS": (
        "Authorization: Bearer sk-foreign\nOpenAI-Project: proj_foreign\nOpenAI-Organization: org-foreign\n"
        "X-Foreign: yes\nHost: foreign.example\nopenai-beta: foreign"
    ),
    "HTTP_PROXY": "http://127.0.0.1:1",
    "http_proxy": "http://127.0.0.1:1",
    "ALL_PROXY": "http://127.0.0.1:1",
}
OWN = {
    "host",
    "accept",
    "accept-encoding",
    "connection",
    "user-agent",
    "authorization",
    "x-stainless-retry-count",
    "x-stainless-read-timeout",
}


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)


def _one_read(
    connect: Connect, kind: Kind = Kind.CONVERSATION, external_id: str = ID, **account: str
) -> Seen:
    async def scenario() -> Seen:
        async with (
            Wire([present(external_id, facts(kind).read_object)]) as wire,
            connect(wire.base_url, **account) as provider,
        ):
            seen = await provider.read(kind, external_id, step=Step.BEFORE, timeout=5)
            assert seen.seen is Class.PRESENT
            return wire.seen[0]

    return asyncio.run(scenario())


def test_a_first_request_asks_nothing_of_a_thread(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its slot by then: the SDK would look for the platform first, for a header that is not sent."""

    def asked() -> str:
        raise AssertionError

    monkeypatch.setattr("openai._base_client.get_platform", asked)
    assert {name.lower() for name in _one_read(connect).headers} >= {"authorization"}


def test_hostile_variables_change_neither_target_nor_key_nor_headers(connect: Connect, hostile: None) -> None:
    seen = _one_read(connect, organization="org-own", provider_project="proj_own")
    assert seen.path == "/v1/conversations/conv_1"
    assert seen.headers["authorization"] == "Bearer sk-own"
    assert seen.headers["openai-organization"] == "org-own"
    assert seen.headers["openai-project"] == "proj_own"
    assert seen.headers.keys() - OWN == {"openai-organization", "openai-project"}
    assert "foreign" not in str(seen.headers)


def test_an_account_without_organisation_and_project_sends_neither_header(
    connect: Connect, hostile: None
) -> None:
    assert _one_read(connect).headers.keys() <= OWN


def test_the_assistants_endpoints_get_their_beta_header(connect: Connect, hostile: None) -> None:
    seen = _one_read(connect, Kind.THREAD, "thread_1")
    assert (seen.path, seen.headers["openai-beta"]) == ("/v1/threads/thread_1", "assistants=v2")


@pytest.mark.parametrize(
    ("kind", "external_id", "path"),
    [
        (Kind.THREAD, "thread_1", "/v1/threads/thread_1"),
        (Kind.CONVERSATION, "conv_1", "/v1/conversations/conv_1"),
        (Kind.RESPONSE, "resp_1", "/v1/responses/resp_1"),
        (Kind.FILE, "file-1", "/v1/files/file-1"),
        (Kind.CHAT_COMPLETION, "chatcmpl-1", "/v1/chat/completions/chatcmpl-1"),
        (Kind.CHATKIT_THREAD, "cthr_1", "/v1/chatkit/threads/cthr_1"),
        (Kind.VECTOR_STORE, "vs_1", "/v1/vector_stores/vs_1"),
        (Kind.CONTAINER, "cntr_1", "/v1/containers/cntr_1"),
        (Kind.AGENT_SESSION, "a-1", "/v1/agents/sessions/a-1"),
    ],
)
def test_each_kind_is_read_at_its_own_path(connect: Connect, kind: Kind, external_id: str, path: str) -> None:
    assert _one_read(connect, kind, external_id).path == path


def test_a_cookie_of_the_provider_is_never_sent_back(connect: Connect) -> None:
    async def scenario() -> None:
        cookie = answer(200, {"id": ID, "object": "conversation"}, headers={"Set-Cookie": "a=b; Path=/"})
        async with Wire([cookie, present(ID)]) as wire, connect(wire.base_url) as provider:
            for _ in range(2):
                await provider.read(Kind.CONVERSATION, ID, step=Step.BEFORE, timeout=5)
            assert [("cookie" in one.headers) for one in wire.seen] == [False, False]

    asyncio.run(scenario())


def test_children_are_asked_for_page_by_page_oldest_first(connect: Connect) -> None:
    async def scenario() -> None:
        page = answer(200, {"object": "list", "data": [{"id": "msg_2"}], "has_more": False})
        async with Wire([page, page]) as wire, connect(wire.base_url) as provider:
            await provider.list_children(Kind.CONVERSATION, ID, after=None, timeout=5)
            await provider.list_children(Kind.CONVERSATION, ID, after="msg_1", timeout=5)
            assert [one.path for one in wire.seen] == [
                "/v1/conversations/conv_1/items?limit=100&order=asc",
                "/v1/conversations/conv_1/items?limit=100&order=asc&after=msg_1",
            ]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "external_id", ["", "..", "conv_1/../../files/file-1", "conv_1?x=1", "conv_1#", "conv 1"]
)
def test_an_id_that_would_change_the_path_is_refused_before_anything_is_sent(
    connect: Connect, external_id: str
) -> None:
    async def scenario() -> None:
        async with Wire([]) as wire, connect(wire.base_url) as provider:
            with pytest.raises(Invalid, match="nothing was sent"):
                await provider.delete(Kind.CONVERSATION, external_id, timeout=5)
            with pytest.raises(Invalid, match="nothing was sent"):
                await provider.delete_child(Kind.CONVERSATION, ID, external_id, timeout=5)
            assert wire.seen == []

    asyncio.run(scenario())


def test_a_kind_without_children_is_not_asked_for_them(connect: Connect) -> None:
    async def scenario() -> None:
        async with Wire([]) as wire, connect(wire.base_url) as provider:
            with pytest.raises(KindNotOffered):
                await provider.list_children(Kind.FILE, "file-1", after=None, timeout=5)
            assert wire.seen == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        (Kind.THREAD, "assistants=v2"),
        (Kind.VECTOR_STORE, "assistants=v2"),
        (Kind.CHATKIT_THREAD, "chatkit_beta=v1"),
        (Kind.AGENT_SESSION, "agents=v1"),
        (Kind.FILE, None),
        (Kind.CONTAINER, None),
    ],
)
def test_each_beta_surface_gets_its_own_header(connect: Connect, kind: Kind, header: str | None) -> None:
    assert _one_read(connect, kind, "x-1").headers.get("openai-beta") == header


def test_a_canary_is_one_post_that_bears_its_mark(connect: Connect, hostile: None) -> None:
    async def scenario() -> None:
        async with Wire([present("conv_9")]) as wire, connect(wire.base_url) as provider:
            seen, made = await provider.create_canary(Kind.CONVERSATION, timeout=5)
            assert (seen.seen, seen.step, seen.subject, made) == (
                Class.PRESENT,
                Step.CONTROL,
                "conv_9",
                "conv_9",
            )
            [sent] = wire.seen
            assert (sent.method, sent.path) == ("POST", "/v1/conversations")
            assert json.loads(sent.body) == {"metadata": {"tenure": "tenure-canary"}}
            assert "foreign" not in str(sent.headers)

    asyncio.run(scenario())


def test_a_canary_file_is_uploaded_with_a_purpose_and_an_end(connect: Connect) -> None:
    async def scenario() -> None:
        async with Wire([present("file-9", "file")]) as wire, connect(wire.base_url) as provider:
            _, made = await provider.create_canary(Kind.FILE, timeout=5)
            assert made == "file-9"
            [sent] = wire.seen
            assert sent.headers["content-type"].startswith("multipart/form-data; boundary=")
            for part in (
                b'filename="tenure-canary.txt"',
                b'name="purpose"',
                b"expires_after[anchor]",
                b"3600",
            ):
                assert part in sent.body

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        (answer(200, {"id": "conv_9", "object": "thread"}), Class.ERROR),
        (answer(200, {"id": "../conv_9", "object": "conversation"}), Class.ERROR),
        (answer(200, {"object": "conversation"}), Class.ERROR),
        (answer(200, "<html></html>"), Class.ERROR),
        (answer(302, "", headers={"Location": "/v1/else"}), Class.ERROR),
        (answer(401, {}), Class.DENIED),
        (
            answer(404, {"error": {"type": "invalid_request_error", "message": "not found"}}),
            Class.ROUTE_ABSENT,
        ),
        (answer(429, {}), Class.THROTTLED),
        (answer(500, {}), Class.ERROR),
        (DROP, Class.ERROR),
    ],
)
def test_a_canary_that_was_not_seen_made_has_no_id(connect: Connect, raw: bytes, seen: Class) -> None:
    async def scenario() -> None:
        async with Wire([raw]) as wire, connect(wire.base_url) as provider:
            got, made = await provider.create_canary(Kind.CONVERSATION, timeout=5)
            assert (got.seen, made, wire.methods) == (seen, None, ["POST"])

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if facts(kind).canary is None])
def test_what_costs_something_to_make_is_no_canary(connect: Connect, kind: Kind) -> None:
    async def scenario() -> None:
        async with Wire([]) as wire, connect(wire.base_url) as provider:
            with pytest.raises(KindNotOffered, match="no canary"):
                await provider.create_canary(kind, timeout=5)
            assert wire.seen == []

    asyncio.run(scenario())


def test_a_list_is_asked_for_page_by_page_oldest_first(connect: Connect) -> None:
    page = {"object": "list", "data": [{"id": "vs_1", "object": "vector_store", "created_at": 1764000000}]}

    async def scenario() -> None:
        script = [answer(200, {**page, "has_more": True}), answer(200, {**page, "has_more": False})]
        async with Wire(script) as wire, connect(wire.base_url) as provider:
            first = await provider.list_page(Kind.VECTOR_STORE, after=None, timeout=5)
            assert (first.observation.seen, first.has_more, first.last) == (Class.PRESENT, True, "vs_1")
            assert first.objects == (Listed(id="vs_1", created_at=datetime(2025, 11, 24, 16, 0, tzinfo=UTC)),)
            last = await provider.list_page(Kind.VECTOR_STORE, after="vs_1", timeout=5)
            assert not last.has_more
            assert [one.path for one in wire.seen] == [
                "/v1/vector_stores?limit=100&order=asc",
                "/v1/vector_stores?limit=100&order=asc&after=vs_1",
            ]

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not facts(kind).listable])
def test_a_list_that_no_key_gets_is_not_asked_for(connect: Connect, kind: Kind) -> None:
    async def scenario() -> None:
        async with Wire([]) as wire, connect(wire.base_url) as provider:
            with pytest.raises(NotListable):
                await provider.list_page(kind, after=None, timeout=5)
            assert wire.seen == []

    asyncio.run(scenario())


def test_foundry_threads_are_asked_for_with_their_api_version(connect: Connect) -> None:
    page = {"object": "list", "data": [{"id": "thread_1", "object": "thread"}], "has_more": False}

    async def scenario() -> None:
        script = [
            answer(200, page),
            present("thread_1", "thread"),
            deleted("thread_1", "thread.deleted"),
            answer(404, {"error": {"code": "404", "message": "No thread found with id 'thread_1'."}}),
            answer(404, {"error": {"code": "404", "message": "Resource not found"}}),
        ]
        async with Wire(script) as wire, connect(wire.base_url, profile_name="azure_foundry") as provider:
            listed = await provider.list_page(Kind.THREAD, after=None, timeout=5)
            assert [one.id for one in listed.objects] == ["thread_1"]
            before = await provider.read(Kind.THREAD, "thread_1", step=Step.BEFORE, timeout=5)
            gone = await provider.delete(Kind.THREAD, "thread_1", timeout=5)
            after = await provider.read(Kind.THREAD, "thread_1", step=Step.AFTER, timeout=5)
            route = await provider.read(Kind.THREAD, "thread_1", step=Step.AFTER, timeout=5)
            assert [before.seen, gone.seen, after.seen, route.seen] == [
                Class.PRESENT,
                Class.ACKNOWLEDGED,
                Class.OBJECT_ABSENT,
                Class.ROUTE_ABSENT,
            ]
            assert [one.path for one in wire.seen] == [
                "/v1/threads?api-version=v1&limit=100&order=asc",
                *["/v1/threads/thread_1?api-version=v1"] * 4,
            ]
            assert wire.seen[0].headers["authorization"] == "Bearer sk-own"

    asyncio.run(scenario())


def test_what_a_thread_names_is_told_from_the_same_single_read(connect: Connect) -> None:
    tools = {
        "code_interpreter": {"file_ids": ["file-1", "file-1", "../x", 7]},
        "file_search": {"vector_store_ids": ["vs_1"]},
        "other": {"file_ids": ["file-2"]},
    }
    body = {"id": "thread_1", "object": "thread", "tool_resources": tools}

    async def scenario() -> None:
        script = [answer(200, body), answer(200, {**body, "tool_resources": ["x"]}), answer(500, body)]
        async with Wire(script) as wire, connect(wire.base_url) as provider:
            named = [
                await provider.named_children(Kind.THREAD, "thread_1", step=Step.BEFORE, timeout=5)
                for _ in script
            ]
            assert [one.observation.seen for one in named] == [Class.PRESENT, Class.PRESENT, Class.ERROR]
            assert [one.ids for one in named] == [
                ((Kind.FILE, "file-1"), (Kind.VECTOR_STORE, "vs_1")),
                (),
                (),
            ]
            assert wire.methods == ["GET"] * 3

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("raw", "seen", "detail"),
    [
        (answer(202, ""), Class.NONE, "cancel_accepted"),
        (answer(401, {}), Class.DENIED, None),
        (
            answer(404, {"error": {"type": "invalid_request_error", "message": "a-1 not found"}}),
            Class.ROUTE_ABSENT,
            None,
        ),
        (answer(409, {}), Class.ERROR, None),
        (DROP, Class.ERROR, "ServerDisconnectedError"),
    ],
)
def test_a_running_session_is_told_to_stop_and_that_is_no_sight_of_it(
    connect: Connect, raw: bytes, seen: Class, detail: str | None
) -> None:
    async def scenario() -> None:
        async with Wire([raw]) as wire, connect(wire.base_url) as provider:
            told = await provider.prepare_delete(Kind.AGENT_SESSION, "a-1", timeout=5)
            assert told is not None
            assert (told.seen, told.step, told.subject) == (seen, Step.BEFORE, "a-1")
            assert detail is None or told.detail == detail
            [sent] = wire.seen
            assert (sent.method, sent.path) == ("POST", "/v1/agents/sessions/a-1/events")
            assert json.loads(sent.body) == {"events": [{"type": "agent.session.input.cancel"}]}
            assert sent.headers["openai-beta"] == "agents=v1"

    asyncio.run(scenario())


def test_a_kind_in_which_nothing_runs_needs_no_preparation(connect: Connect) -> None:
    async def scenario() -> None:
        async with Wire([]) as wire, connect(wire.base_url) as provider:
            assert await provider.prepare_delete(Kind.CONVERSATION, ID, timeout=5) is None
            assert wire.seen == []

    asyncio.run(scenario())


def test_the_files_of_a_vector_store_are_listed_and_detached_below_it(connect: Connect) -> None:
    page = {"object": "list", "data": [{"id": "file-1", "object": "vector_store.file"}], "has_more": False}

    async def scenario() -> None:
        script = [answer(200, page), deleted("file-1", "vector_store.file.deleted")]
        async with Wire(script) as wire, connect(wire.base_url) as provider:
            listed = await provider.list_children(Kind.VECTOR_STORE, "vs_1", after=None, timeout=5)
            assert (listed.observation.seen, listed.ids) == (Class.PRESENT, ("file-1",))
            detached = await provider.delete_child(Kind.VECTOR_STORE, "vs_1", "file-1", timeout=5)
            assert detached.seen is Class.ACKNOWLEDGED
            assert [f"{one.method} {one.path}" for one in wire.seen] == [
                "GET /v1/vector_stores/vs_1/files?limit=100&order=asc",
                "DELETE /v1/vector_stores/vs_1/files/file-1",
            ]

    asyncio.run(scenario())
