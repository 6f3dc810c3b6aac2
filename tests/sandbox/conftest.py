from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import openai
import pytest

from worker.sandbox.options import SandboxOptions, parse_faults
from worker.sandbox.server import SandboxServer

Start = Callable[..., SandboxServer]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start sandboxes with options; ``faults`` are given as they are written."""
    with ExitStack() as running:

        def started(*faults: str, **options: Any) -> SandboxServer:
            server = SandboxServer(SandboxOptions(faults=parse_faults(faults), **options))
            return running.enter_context(server)

        yield started


@pytest.fixture
def sandbox(start: Start) -> SandboxServer:
    return start()


@pytest.fixture
def client_of() -> Iterator[Callable[..., openai.OpenAI]]:
    """Make real SDK clients that send every request once."""
    with ExitStack() as opened:

        def client(server: SandboxServer, **settings: Any) -> openai.OpenAI:
            made_with: dict[str, Any] = {
                "api_key": "sk-sandbox-test",
                "max_retries": 0,
                "timeout": 10.0,
                **settings,
            }
            return opened.enter_context(openai.OpenAI(base_url=server.base_url, **made_with))

        yield client


@pytest.fixture
def client(sandbox: SandboxServer, client_of: Callable[..., openai.OpenAI]) -> openai.OpenAI:
    return client_of(sandbox)
