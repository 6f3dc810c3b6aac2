from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from worker.model.clock import SystemClock
from worker.model.thread import Account
from worker.providers.openai import OpenAIProvider
from worker.providers.profiles import profile

Connect = Callable[..., AbstractAsyncContextManager[OpenAIProvider]]


@pytest.fixture
def connect() -> Connect:
    """``async with connect(base_url) as provider``."""

    @asynccontextmanager
    async def opened(
        base_url: str, *, profile_name: str = "openai", organization: str = "", provider_project: str = ""
    ) -> AsyncIterator[OpenAIProvider]:
        account = Account(
            provider="openai",
            base_url=base_url,
            organization=organization,
            provider_project=provider_project,
        )
        provider = OpenAIProvider(account, "sk-own", profile(profile_name), SystemClock())
        try:
            yield provider
        finally:
            await provider.aclose()

    return opened
