"""The organisation's setting is asked for with an admin key, where there is one and it can be asked for."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.world.world import PROJECT, World
from worker.flows.inquire import inquire
from worker.policy.document import KeyRef, Project
from worker.providers.organization import RetentionSetting

_ADMIN = KeyRef(env="TENURE_KEY_ADMIN")


def _inquire(world: World, project: Project) -> RetentionSetting | None:
    tools = world.tools()

    async def run() -> RetentionSetting | None:
        try:
            return await inquire(tools, project, allowed=["TENURE_KEY_*"])
        finally:
            await tools.close()

    return asyncio.run(run())


@pytest.fixture
def project(world: World, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("TENURE_KEY_ADMIN", "sk-admin-1")
    return replace(world.bundle.projects[PROJECT], admin_key=_ADMIN)


def test_an_admin_key_is_told_the_setting(world: World, project: Project) -> None:
    assert _inquire(world, project) == RetentionSetting(type="modified_abuse_monitoring")


def test_without_an_admin_key_nothing_is_asked(world: World, project: Project) -> None:
    assert _inquire(world, replace(project, admin_key=None)) is None
    assert not world.sandbox.requests()


def test_an_admin_key_is_sent_to_no_provider_but_openai(world: World, project: Project) -> None:
    account = replace(project.account, provider="openai_compatible")
    told = _inquire(world, replace(project, account=account))
    assert told is not None
    assert "nothing was asked" in told.why
    assert not world.sandbox.requests()


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "TENURE_KEY_UNSET"])
def test_an_admin_key_that_is_not_allowed_or_not_there_is_a_reason(
    world: World, project: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-value")
    told = _inquire(world, replace(project, admin_key=KeyRef(env=name)))
    assert told is not None
    assert told.type is None
    assert name in told.why
    assert "secret-value" not in told.why
    assert not world.sandbox.requests()


def test_asking_writes_no_entry(world: World, project: Project) -> None:
    before = world.entries()
    _inquire(world, project)
    assert world.entries() == before
