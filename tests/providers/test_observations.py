"""What of an answer is kept: never its content, never a secret."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

from tests.providers.wire import Wire, answer
from worker.model.evidence import Class, Observation, Step
from worker.model.thread import Kind
from worker.providers.openai import OpenAIProvider

Connect = Callable[..., AbstractAsyncContextManager[OpenAIProvider]]
ID = "conv_1"


def _read(connect: Connect, raw: bytes) -> Observation:
    async def scenario() -> Observation:
        async with Wire([raw]) as wire, connect(wire.base_url) as provider:
            return await provider.read(Kind.CONVERSATION, ID, step=Step.AFTER, timeout=5)

    return asyncio.run(scenario())


def test_a_read_keeps_status_request_id_date_digest_and_creation(connect: Connect) -> None:
    body = (
        b'{"id": "conv_1", "object": "conversation", "created_at": 1764000000, "metadata": {"a": "private"}}'
    )
    headers = {"x-request-id": "req_1", "Date": "Sun, 22 Nov 2026 08:00:00 GMT"}
    seen = _read(connect, answer(200, body, headers=headers))
    assert (seen.step, seen.seen, seen.subject, seen.child) == (Step.AFTER, Class.PRESENT, ID, None)
    assert (seen.status, seen.request_id, seen.provider_date) == (
        200,
        "req_1",
        "Sun, 22 Nov 2026 08:00:00 GMT",
    )
    assert seen.body_sha256 == hashlib.sha256(body).hexdigest()
    assert seen.provider_created_at == datetime(2025, 11, 24, 16, 0, tzinfo=UTC)
    assert seen.at.tzinfo is UTC
    assert seen.latency_ms is not None
    assert seen.detail is None
    assert "private" not in repr(seen)


def test_the_detail_of_an_error_is_its_type_and_code_but_never_its_message(connect: Connect) -> None:
    error = {
        "message": "Incorrect API key provided: sk-own",
        "type": "invalid_request_error",
        "code": "invalid_api_key",
    }
    seen = _read(connect, answer(401, {"error": error}))
    assert (seen.seen, seen.detail) == (Class.DENIED, "invalid_request_error/invalid_api_key")
    assert "sk-own" not in repr(seen)


def test_free_text_in_type_or_code_is_dropped(connect: Connect) -> None:
    seen = _read(connect, answer(500, {"error": {"type": "dear Ms Miller, about", "code": 500}}))
    assert (seen.seen, seen.detail) == (Class.ERROR, None)


def test_a_header_that_is_no_plain_text_is_not_recorded(connect: Connect) -> None:
    seen = _read(connect, answer(500, {}, headers={"x-request-id": "r\xe9q", "Date": "D" * 500}))
    assert seen.request_id is None
    assert seen.provider_date == "D" * 128


def test_a_throttled_answer_says_how_long_to_wait(connect: Connect) -> None:
    seen = _read(connect, answer(429, {"error": {"type": "requests"}}, headers={"Retry-After": "7"}))
    assert (seen.seen, seen.retry_after) == (Class.THROTTLED, 7.0)
    assert _read(connect, answer(503, {}, headers={"Retry-After": "9"})).retry_after == 9.0
    assert _read(connect, answer(500, {}, headers={"Retry-After": "9"})).retry_after is None
