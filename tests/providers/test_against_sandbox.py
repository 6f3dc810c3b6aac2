"""The adapter against a provider that keeps and deletes objects for real."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from worker.model.evidence import Class, Step
from worker.model.thread import Kind
from worker.providers.openai import OpenAIProvider
from worker.sandbox.options import parse_faults
from worker.sandbox.server import SandboxServer

Connect = Callable[..., AbstractAsyncContextManager[OpenAIProvider]]


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


def _create(sandbox: SandboxServer, kind: Kind) -> str:
    if kind is Kind.FILE:
        return _upload(sandbox)
    paths = {Kind.THREAD: "threads", Kind.CONVERSATION: "conversations", Kind.RESPONSE: "responses"}
    body: dict[str, Any] = {"model": "m", "input": "hello"} if kind is Kind.RESPONSE else {}
    return _post(f"{sandbox.base_url}/{paths[kind]}", body)


def _post(url: str, body: object) -> str:
    return _send(url, json.dumps(body).encode(), "application/json")


def _upload(sandbox: SandboxServer) -> str:
    part = 'Content-Disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'
    parts = [part.format("purpose", "", "assistants"), part.format("file", '; filename="a.txt"', "hello")]
    body = "".join(f"--line\r\n{one}" for one in parts) + "--line--\r\n"
    return _send(f"{sandbox.base_url}/files", body.encode(), "multipart/form-data; boundary=line")


def _send(url: str, body: bytes, content_type: str) -> str:
    headers = {"Authorization": "Bearer sk-own", "Content-Type": content_type}
    with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers)) as response:
        answered = json.load(response)
    return str(answered["id"] if "id" in answered else answered["data"][0]["id"])


OFFERED = [Kind.THREAD, Kind.CONVERSATION, Kind.RESPONSE, Kind.FILE]


@pytest.mark.parametrize("kind", OFFERED)
def test_an_object_is_seen_present_then_acknowledged_then_absent(
    sandbox: SandboxServer, connect: Connect, kind: Kind
) -> None:
    external_id = _create(sandbox, kind)

    async def scenario() -> list[Class]:
        async with connect(sandbox.base_url) as provider:
            return [
                (await provider.read(kind, external_id, step=Step.BEFORE, timeout=5)).seen,
                (await provider.delete(kind, external_id, timeout=5)).seen,
                (await provider.read(kind, external_id, step=Step.AFTER, timeout=5)).seen,
                (await provider.delete(kind, external_id, timeout=5)).seen,
            ]

    assert asyncio.run(scenario()) == [
        Class.PRESENT,
        Class.ACKNOWLEDGED,
        Class.OBJECT_ABSENT,
        Class.OBJECT_ABSENT,
    ]


@pytest.mark.parametrize("kind", OFFERED)
@pytest.mark.parametrize(
    ("fault", "read", "delete", "still_there"),
    [
        ("endpoint-retired", Class.ROUTE_ABSENT, Class.ROUTE_ABSENT, True),
        ("lost-reply", Class.PRESENT, Class.LOST, False),
        ("lost-request", Class.ERROR, Class.LOST, True),
        ("lying-200", Class.PRESENT, Class.ACKNOWLEDGED, True),
        ("deleted-false", Class.PRESENT, Class.MALFORMED, True),
        ("error-500", Class.ERROR, Class.ERROR, True),
        ("error-after", Class.PRESENT, Class.ERROR, False),
        ("refused-key", Class.DENIED, Class.DENIED, True),
        ("forbidden", Class.DENIED, Class.DENIED, True),
        ("throttled", Class.THROTTLED, Class.THROTTLED, True),
        ("redirect", Class.ERROR, Class.MALFORMED, True),
        ("html-200", Class.ERROR, Class.MALFORMED, True),
    ],
)
def test_each_way_to_fail_has_its_class(
    *,
    sandbox: SandboxServer,
    connect: Connect,
    kind: Kind,
    fault: str,
    read: Class,
    delete: Class,
    still_there: bool,
) -> None:
    external_id = _create(sandbox, kind)
    sandbox.set_faults(parse_faults([fault]))
    asked_before = len(sandbox.requests())

    async def scenario() -> tuple[Class, Class]:
        async with connect(sandbox.base_url) as provider:
            seen = await provider.read(kind, external_id, step=Step.BEFORE, timeout=5)
            answered = await provider.delete(kind, external_id, timeout=5)
            return seen.seen, answered.seen

    assert asyncio.run(scenario()) == (read, delete)
    assert [one.method for one in sandbox.requests()[asked_before:]] == ["GET", "DELETE"]
    sandbox.set_faults(())

    async def look() -> Class:
        async with connect(sandbox.base_url) as provider:
            return (await provider.read(kind, external_id, step=Step.AFTER, timeout=5)).seen

    assert asyncio.run(look()) is (Class.PRESENT if still_there else Class.OBJECT_ABSENT)


def test_a_conversations_items_are_listed_deleted_and_gone(sandbox: SandboxServer, connect: Connect) -> None:
    conversation = _create(sandbox, Kind.CONVERSATION)
    url = f"{sandbox.base_url}/conversations/{conversation}/items"
    items = [
        _post(url, {"items": [{"type": "message", "role": "user", "content": f"no. {n}"}]}) for n in range(3)
    ]

    async def scenario() -> None:
        async with connect(sandbox.base_url) as provider:
            page = await provider.list_children(Kind.CONVERSATION, conversation, after=None, timeout=5)
            assert (page.observation.seen, page.ids, page.has_more) == (Class.PRESENT, tuple(items), False)
            for item in items:
                gone = await provider.delete_child(Kind.CONVERSATION, conversation, item, timeout=5)
                assert (gone.seen, gone.child, gone.subject) == (Class.ACKNOWLEDGED, item, conversation)
            again = await provider.delete_child(Kind.CONVERSATION, conversation, items[0], timeout=5)
            assert again.seen is Class.OBJECT_ABSENT
            page = await provider.list_children(Kind.CONVERSATION, conversation, after=None, timeout=5)
            assert (page.observation.seen, page.ids) == (Class.PRESENT, ())

    asyncio.run(scenario())


def test_a_long_conversation_is_listed_in_pages(sandbox: SandboxServer, connect: Connect) -> None:
    conversation = _create(sandbox, Kind.CONVERSATION)
    url = f"{sandbox.base_url}/conversations/{conversation}/items"
    for _ in range(13):
        _post(url, {"items": [{"type": "message", "role": "user", "content": "x"}] * 20})

    async def scenario() -> None:
        async with connect(sandbox.base_url) as provider:
            ids: list[str] = []
            after: str | None = None
            sizes = []
            while True:
                page = await provider.list_children(Kind.CONVERSATION, conversation, after=after, timeout=5)
                ids, after = [*ids, *page.ids], page.last
                sizes.append(len(page.ids))
                if not page.has_more:
                    break
            assert sizes == [100, 100, 60]
            assert len(set(ids)) == 260

    asyncio.run(scenario())


def test_the_items_of_a_deleted_conversation_cannot_be_listed(
    sandbox: SandboxServer, connect: Connect
) -> None:
    conversation = _create(sandbox, Kind.CONVERSATION)

    async def scenario() -> None:
        async with connect(sandbox.base_url) as provider:
            await provider.delete(Kind.CONVERSATION, conversation, timeout=5)
            page = await provider.list_children(Kind.CONVERSATION, conversation, after=None, timeout=5)
            assert (page.observation.seen, page.ids) == (Class.OBJECT_ABSENT, ())

    asyncio.run(scenario())
