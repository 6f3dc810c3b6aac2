"""Where a request goes, with which headers: nothing ambient decides it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from tests.providers.wire import Seen, Wire, answer, present
from worker.model.errors import Invalid
from worker.model.evidence import Class, Step
from worker.model.thread import Kind
from worker.providers.openai import OpenAIProvider
from worker.providers.table import KindNotOffered

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
            Wire([present(external_id, kind.value)]) as wire,
            connect(wire.base_url, **account) as provider,
        ):
            seen = await provider.read(kind, external_id, step=Step.BEFORE, timeout=5)
            assert seen.seen is Class.PRESENT
            return wire.seen[0]

    return asyncio.run(scenario())


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
            with pytest.raises(KindNotOffered, match="vector_store"):
                await provider.delete(Kind.VECTOR_STORE, "vs_1", timeout=5)
            assert wire.seen == []

    asyncio.run(scenario())
