"""An admin key is used for one GET, and whatever comes back is a setting or a reason."""

from __future__ import annotations

import asyncio

import openai
import pytest

from tests.providers.wire import DROP, Hang, Seen, Wire, answer
from worker.model.clock import SystemClock
from worker.model.thread import Account
from worker.providers.organization import PATH, RetentionSetting, read_retention_setting
from worker.sandbox.options import SandboxOptions
from worker.sandbox.server import SandboxServer

TOLD = {"object": "organization.data_retention", "type": "zero_data_retention"}


def _ask(*script: bytes | Hang, seconds: float = 5) -> tuple[RetentionSetting, list[Seen]]:
    async def scenario() -> tuple[RetentionSetting, list[Seen]]:
        async with Wire(list(script)) as wire:
            account = Account(
                provider="openai", base_url=wire.base_url, organization="org-own", provider_project="proj_own"
            )
            found = await read_retention_setting(account, "sk-admin-1", SystemClock(), timeout=seconds)
            return found, wire.seen

    return asyncio.run(scenario())


def test_the_type_is_told_as_it_is_configured_and_one_get_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "foreign")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer foreign")
    found, (seen,) = _ask(answer(200, TOLD))
    assert found == RetentionSetting(type="zero_data_retention")
    assert (seen.method, seen.path) == ("GET", "/v1/organization/data_retention")
    assert seen.headers["authorization"] == "Bearer sk-admin-1"
    assert seen.headers["openai-organization"] == "org-own"
    assert "openai-project" not in seen.headers
    assert "foreign" not in str(seen.headers)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (answer(401, {}), "refused (401)"),
        (answer(403, {}), "no right to see it (403)"),
        (answer(404, {}), "no such endpoint"),
        (answer(429, {}), "a pause (429)"),
        (answer(500, {}), "cannot be read (500)"),
        (answer(302, {}, headers={"Location": "/v1/elsewhere"}), "cannot be read (302)"),
        (answer(200, "<html>"), "does not name it"),
        (answer(200, {**TOLD, "object": "project.data_retention"}), "does not name it"),
        (answer(200, {**TOLD, "type": "\x1b[31mred"}), "does not name it"),
        (answer(200, {**TOLD, "type": None}), "does not name it"),
        (DROP, "no answer (ServerDisconnectedError)"),
    ],
)
def test_anything_else_is_a_reason_and_is_not_asked_again(line: bytes, why: str) -> None:
    found, seen = _ask(line)
    assert found.type is None
    assert why in found.why
    assert len(seen) == 1


def test_an_answer_that_does_not_come_is_a_reason() -> None:
    found, _ = _ask(Hang(), seconds=0.2)
    assert "no answer (TimeoutError)" in found.why


def test_the_endpoint_is_the_one_that_the_sdk_asks() -> None:
    with SandboxServer(SandboxOptions(data_retention="enhanced_zero_data_retention")) as server:
        with openai.OpenAI(base_url=server.base_url, api_key="sk-1", admin_api_key="sk-admin-1") as client:
            told = client.admin.organization.data_retention.retrieve()
        (request,) = server.requests()
        assert (request.method, request.path) == ("GET", f"/v1{PATH}")
        assert (told.object, told.type) == ("organization.data_retention", "enhanced_zero_data_retention")
        with (
            openai.OpenAI(
                base_url=server.base_url, api_key="sk-1", admin_api_key="sk-of-a-project"
            ) as client,
            pytest.raises(openai.PermissionDeniedError, match=r"api\.management\.read"),
        ):
            client.admin.organization.data_retention.retrieve()
