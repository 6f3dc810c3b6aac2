"""One permit is one request on the wire: counted at the server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from tests.providers.wire import DROP, Hang, Wire, answer, deleted, present
from worker.model.evidence import Class, Observation, Step
from worker.model.thread import Kind
from worker.providers.openai import OpenAIProvider

ID = "conv_1"
CONVERSATION = Kind.CONVERSATION
Connect = Callable[..., AbstractAsyncContextManager[OpenAIProvider]]


async def _read(provider: OpenAIProvider, timeout: float = 5) -> Observation:
    return await provider.read(CONVERSATION, ID, step=Step.BEFORE, timeout=timeout)


async def _delete(provider: OpenAIProvider, timeout: float = 5) -> Observation:
    return await provider.delete(CONVERSATION, ID, timeout=timeout)


def test_a_delete_whose_kept_alive_connection_drops_is_sent_once_and_is_lost(connect: Connect) -> None:
    async def scenario() -> None:
        async with Wire([present(ID), DROP]) as wire, connect(wire.base_url) as provider:
            assert (await _read(provider)).seen is Class.PRESENT
            lost = await _delete(provider)
            assert wire.methods == ["GET", "DELETE"]
            assert wire.seen[1].connection == wire.seen[0].connection
            assert (lost.seen, lost.status, lost.detail) == (Class.LOST, None, "ServerDisconnectedError")

    asyncio.run(scenario())


def test_a_read_whose_kept_alive_connection_drops_is_sent_once_and_is_an_error(connect: Connect) -> None:
    async def scenario() -> None:
        async with Wire([present(ID), DROP]) as wire, connect(wire.base_url) as provider:
            await _read(provider)
            assert (await _read(provider)).seen is Class.ERROR
            assert wire.methods == ["GET", "GET"]

    asyncio.run(scenario())


def test_a_child_delete_whose_kept_alive_connection_drops_is_sent_once(connect: Connect) -> None:
    async def scenario() -> None:
        async with Wire([present(ID), DROP]) as wire, connect(wire.base_url) as provider:
            await _read(provider)
            lost = await provider.delete_child(CONVERSATION, ID, "msg_1", timeout=5)
            assert wire.methods == ["GET", "DELETE"]
            assert (lost.seen, lost.child, lost.step) == (Class.LOST, "msg_1", Step.DELETE)

    asyncio.run(scenario())


def test_the_next_request_after_a_drop_works_on_a_new_connection(connect: Connect) -> None:
    async def scenario() -> None:
        async with Wire([present(ID), DROP, deleted(ID)]) as wire, connect(wire.base_url) as provider:
            await _read(provider)
            await _delete(provider)
            assert (await _delete(provider)).seen is Class.ACKNOWLEDGED
            assert [one.connection for one in wire.seen] == [1, 1, 2]

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirected_delete_is_not_followed_and_acknowledges_nothing(connect: Connect, status: int) -> None:
    async def scenario() -> None:
        redirect = answer(
            status,
            {"id": ID, "object": "conversation.deleted", "deleted": True},
            headers={"Location": "/v1/else"},
        )
        async with Wire([redirect]) as wire, connect(wire.base_url) as provider:
            seen = await _delete(provider)
            assert (wire.methods, seen.seen, seen.status) == (["DELETE"], Class.MALFORMED, status)

    asyncio.run(scenario())


def test_a_redirected_read_is_an_error(connect: Connect) -> None:
    async def scenario() -> None:
        async with (
            Wire([answer(302, "", headers={"Location": "/v1/else"})]) as wire,
            connect(wire.base_url) as provider,
        ):
            seen = await _read(provider)
            assert (wire.methods, seen.seen, seen.detail) == (["GET"], Class.ERROR, "redirect")

    asyncio.run(scenario())


def test_a_redirect_to_nowhere_is_survived(connect: Connect) -> None:
    async def scenario() -> None:
        async with (
            Wire([answer(302, "", headers={"Location": "http://[::bad/"})]) as wire,
            connect(wire.base_url) as provider,
        ):
            assert (await _delete(provider)).seen in {Class.LOST, Class.MALFORMED}
            assert wire.methods == ["DELETE"]

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [404, 408, 409, 429, 500, 503])
def test_nothing_is_sent_again_even_when_the_server_asks_for_it(connect: Connect, status: int) -> None:
    async def scenario() -> None:
        asking = answer(status, {}, headers={"x-should-retry": "true", "retry-after-ms": "1"})
        async with Wire([asking]) as wire, connect(wire.base_url) as provider:
            await _delete(provider)
            assert wire.methods == ["DELETE"]

    asyncio.run(scenario())


def test_a_refused_connection_proves_that_nothing_was_sent(connect: Connect) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"

    async def scenario() -> None:
        async with connect(base_url) as provider:
            assert (await _delete(provider)).seen is Class.UNSENT
            assert (await provider.delete_child(CONVERSATION, ID, "msg_1", timeout=5)).seen is Class.UNSENT
            assert (await _read(provider)).seen is Class.ERROR

    asyncio.run(scenario())


def test_a_host_that_does_not_exist_proves_that_nothing_was_sent(connect: Connect) -> None:
    async def scenario() -> None:
        async with connect("http://tenure.invalid/v1") as provider:
            assert (await _delete(provider)).seen is Class.UNSENT

    asyncio.run(scenario())


def test_a_connection_that_never_comes_to_be_proves_that_nothing_was_sent(connect: Connect) -> None:
    async def scenario(base_url: str) -> None:
        async with connect(base_url) as provider:
            seen = await _delete(provider, timeout=0.6)
            assert (seen.seen, seen.status) == (Class.UNSENT, None)

    # With a full backlog that nobody empties, further connections hang.
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        asyncio.run(scenario(f"http://127.0.0.1:{listener.getsockname()[1]}/v1"))


def test_a_failed_tls_handshake_proves_that_nothing_was_sent(connect: Connect) -> None:
    async def scenario() -> None:
        async with Wire([]) as wire, connect(wire.base_url.replace("http://", "https://")) as provider:
            assert (await _delete(provider, timeout=2)).seen is Class.UNSENT
            assert wire.methods == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(Hang(), id="no answer in time"),
        pytest.param(Hang(after=b"HTTP/1.1 200 OK\r\nContent-Le"), id="headers break off"),
        pytest.param(Hang(after=deleted(ID)[:-3]), id="body breaks off"),
        pytest.param(DROP, id="closed"),
        pytest.param(b"220 mail.example ESMTP\r\n\r\n", id="not HTTP"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", id="not gzip"
        ),
    ],
)
def test_a_delete_without_a_readable_answer_is_lost_and_not_repeated(
    connect: Connect, script: bytes | Hang
) -> None:
    async def scenario() -> None:
        async with Wire([script]) as wire, connect(wire.base_url) as provider:
            assert (await _delete(provider, timeout=0.4)).seen is Class.LOST
            assert wire.methods == ["DELETE"]

    asyncio.run(scenario())


def test_the_given_seconds_bound_the_whole_call_although_the_server_trickles(connect: Connect) -> None:
    async def scenario() -> None:
        trickling = Hang(after=b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", trickle=True)
        async with Wire([trickling]) as wire, connect(wire.base_url) as provider:
            seen = await asyncio.wait_for(_delete(provider, timeout=0.4), 10)
            assert seen.seen is Class.LOST
            assert seen.latency_ms is not None
            assert 300 <= seen.latency_ms < 5000

    asyncio.run(scenario())


def test_a_cancelled_call_is_cancelled_and_becomes_no_observation(connect: Connect) -> None:
    async def scenario() -> None:
        async with Wire([Hang()]) as wire, connect(wire.base_url) as provider:
            call = asyncio.create_task(_delete(provider))
            while not wire.seen:
                await asyncio.wait({call}, timeout=0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(scenario())


def test_many_calls_at_once_are_as_many_requests(connect: Connect) -> None:
    async def scenario() -> None:
        async with Wire([deleted(ID)] * 200) as wire, connect(wire.base_url) as provider:
            seen = await asyncio.gather(*(_delete(provider, timeout=20) for _ in range(200)))
            assert {one.seen for one in seen} == {Class.ACKNOWLEDGED}
            assert len(wire.seen) == 200

    asyncio.run(scenario())
