"""Scenarios run on both databases: the guarantees are the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.world.databases import database_url, emptied_postgres, sqlite_template
from tests.world.logs import contradictions
from tests.world.world import World, make_world
from worker.flows.grouping import Grouper
from worker.sandbox.options import SandboxOptions
from worker.store import rests, work

__all__ = ["database_url", "emptied_postgres", "sqlite_template"]

SLOW_BY = timedelta(seconds=0.4)


@pytest.fixture
def any_world(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world with one project and one enforced policy, `all-30d`; its log may hold anything."""
    # Groups close sooner than in service; nothing here depends on how many share a transaction.
    monkeypatch.setitem(Grouper.__init__.__kwdefaults__ or {}, "window", 0.01)
    options = SandboxOptions(slow_by=SLOW_BY, retry_after=timedelta(seconds=1))
    with make_world(database_url, tmp_path / "policies", options) as made:
        # When the clock is moved, time passes for PostgreSQL too, whose own clock leases run on.
        for one in (work, rests):
            monkeypatch.setattr(one, "lease_clock", made.clock.lease_clock)
        yield made


@pytest.fixture
def world(any_world: World) -> Iterator[World]:
    """The same; whatever a scenario does in it, a verifier finds each of its deletions followed through."""
    yield any_world
    assert contradictions(any_world.database) == []
