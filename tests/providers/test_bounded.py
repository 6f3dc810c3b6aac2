"""No answer fills a worker's memory: it is read only so far, and then says nothing."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from tests.providers.wire import Wire, answer, present
from worker.model.evidence import Class, Observation, Step
from worker.model.thread import Kind
from worker.providers import bounded
from worker.providers.openai import OpenAIProvider

Connect = Callable[..., AbstractAsyncContextManager[OpenAIProvider]]
CONV = "conv_1"
MOST = 1024 * 1024
ABSENT = {"id": CONV, "object": "conversation", "created_at": 1764000000}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LARGEST_ANSWER", MOST)


def packed(body: bytes, encoding: str = "gzip") -> bytes:
    return answer(200, gzip.compress(body), headers={"Content-Encoding": encoding})


def bomb(size: int) -> bytes:
    """Write an answer that is a thousand times longer when it is unpacked."""
    return packed(json.dumps(ABSENT).encode() + b" " * size)


def ask(connect: Connect, *script: bytes) -> Sequence[Observation]:
    """Read once for each answer but the last, which is one to a DELETE."""

    async def scenario() -> Sequence[Observation]:
        async with Wire(script) as wire, connect(wire.base_url) as asked:
            seen = [
                await asked.read(Kind.CONVERSATION, CONV, step=Step.BEFORE, timeout=20) for _ in script[1:]
            ]
            seen.append(await asked.delete(Kind.CONVERSATION, CONV, timeout=20))
            assert len(wire.seen) == len(script)
            return seen

    return asyncio.run(scenario())


def test_a_packed_answer_is_unpacked_and_asked_for(connect: Connect) -> None:
    async def scenario() -> None:
        async with Wire([packed(json.dumps(ABSENT).encode())]) as wire, connect(wire.base_url) as asked:
            seen = await asked.read(Kind.CONVERSATION, CONV, step=Step.BEFORE, timeout=20)
            assert seen.seen is Class.PRESENT
            assert wire.seen[0].headers["accept-encoding"] == "gzip"

    asyncio.run(scenario())


def test_a_bomb_takes_no_memory_and_says_nothing(connect: Connect) -> None:
    script = bomb(200 * MOST), bomb(200 * MOST)
    tracemalloc.start()
    read, delete = ask(connect, *script)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * MOST
    assert (read.seen, read.detail) == (Class.ERROR, "AnswerTooLarge")
    assert (delete.seen, delete.detail) == (Class.LOST, "AnswerTooLarge")


def test_a_long_answer_is_read_no_further_and_the_next_one_is_sound(connect: Connect) -> None:
    long = answer(200, json.dumps(ABSENT) + " " * MOST)
    read, again, _ = ask(connect, long, present(CONV), long)
    assert (read.seen, again.seen) == (Class.ERROR, Class.PRESENT)


def test_an_answer_of_just_the_allowed_length_counts(connect: Connect) -> None:
    text = json.dumps(ABSENT).encode()
    whole = text + b" " * (MOST - len(text))
    assert [one.seen for one in ask(connect, answer(200, whole), packed(whole), present(CONV))][:2] == [
        Class.PRESENT,
        Class.PRESENT,
    ]


@pytest.mark.parametrize(
    "broken",
    [
        answer(200, b"\x1f\x8bnothing", headers={"Content-Encoding": "gzip"}),
        answer(200, gzip.compress(json.dumps(ABSENT).encode())[:-20], headers={"Content-Encoding": "gzip"}),
        answer(200, zlib.compress(json.dumps(ABSENT).encode()), headers={"Content-Encoding": "deflate"}),
        answer(200, b"\x0b\x02\x80{}\x03", headers={"Content-Encoding": "br"}),
    ],
    ids=["no gzip", "cut off", "not offered", "not known"],
)
def test_what_cannot_be_unpacked_certifies_nothing(connect: Connect, broken: bytes) -> None:
    read, delete = ask(connect, broken, broken)
    assert read.seen is Class.ERROR
    assert delete.seen in {Class.LOST, Class.MALFORMED}
