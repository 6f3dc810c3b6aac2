"""Bundles and threads for the tests of the rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.world.precedence import thread_of
from worker.model.thread import Thread
from worker.policy.canonical import make_bundle
from worker.policy.document import Bundle, Match, Mode, Policy

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def thread_from() -> Callable[[Mapping[str, Any]], Thread]:
    return thread_of


@pytest.fixture(scope="session")
def read_yaml() -> Callable[[str], Any]:
    def read(text: str) -> Any:
        return YAML(typ="safe", pure=True).load(text)

    return read


@pytest.fixture(scope="session")
def bundle_of() -> Callable[..., Bundle]:
    def make(*policies: Policy) -> Bundle:
        return make_bundle(policies, (), None)

    return make


@pytest.fixture(scope="session")
def policy_with() -> Callable[..., Policy]:
    """Make an enforced policy that matches everything, but for what is given."""

    def make(name: str, **parts: Any) -> Policy:
        given: dict[str, Any] = {"mode": Mode.ENFORCE, "match": Match(all=True), "owner": "tests"}
        return Policy(name=name, **(given | parts))

    return make
