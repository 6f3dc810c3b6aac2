"""Bundles and threads for the tests of the rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from ruamel.yaml import YAML

from worker.model.clock import parse_rfc3339
from worker.model.ids import ThreadId
from worker.model.thread import Kind, Thread, ThreadState
from worker.policy.canonical import make_bundle
from worker.policy.document import Bundle, Match, Mode, Policy

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


def _instant(value: Any) -> datetime | None:
    return None if value is None else parse_rfc3339(value)


@pytest.fixture(scope="session")
def thread_from() -> Callable[[Mapping[str, Any]], Thread]:
    """Make a thread from a row of a YAML table, as the tests beside policies do."""

    def make(row: Mapping[str, Any]) -> Thread:
        created_at = _instant(row.get("created_at"))
        registered_at = _instant(row.get("registered_at")) or created_at
        assert registered_at is not None
        return Thread(
            id=ThreadId(row["id"]),
            kind=Kind(row["kind"]),
            external_id=row.get("external_id", row["id"]),
            project=row["project"],
            owner=row["owner"],
            registered_at=registered_at,
            tags=dict(row.get("tags") or {}),
            ttl=row.get("ttl"),
            created_at=created_at,
            last_activity_at=_instant(row.get("last_activity_at")),
            state=ThreadState(row.get("state", "live")),
        )

    return make


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
