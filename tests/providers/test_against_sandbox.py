"""Children against a provider that keeps and deletes objects for real (kinds: see the contract)."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from worker.model.evidence import Class
from worker.model.thread import Kind
from worker.providers.openai import OpenAIProvider
from worker.sandbox.control import make_sample
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.server import SandboxServer

Connect = Callable[..., AbstractAsyncContextManager[OpenAIProvider]]


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


def _create(sandbox: SandboxServer, kind: Kind) -> str:
    return make_sample(sandbox.store, ObjectKind(kind.value))


def _post(url: str, body: object) -> str:
    return _send(url, json.dumps(body).encode(), "application/json")


def _send(url: str, body: bytes, content_type: str) -> str:
    headers = {"Authorization": "Bearer sk-own", "Content-Type": content_type}
    with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers)) as response:
        answered = json.load(response)
    return str(answered["id"] if "id" in answered else answered["data"][0]["id"])


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
