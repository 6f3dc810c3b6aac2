"""Scenarios run on both databases: the guarantees are the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.servers.postgres import Postgres
from tests.world.world import World, make_world
from worker.flows.grouping import Grouper
from worker.sandbox.options import SandboxOptions
from worker.store import migrate, work
from worker.store.engine import open_database

SLOW_BY = timedelta(seconds=0.4)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: Postgres) -> Iterator[str]:
    """A migrated database, copied for each test."""
    name = postgres_server.create()
    _migrate(postgres_server.url(name))
    yield name
    postgres_server.drop(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file, copied for each test."""
    file = tmp_path_factory.mktemp("template") / "tenure.db"
    _migrate(f"sqlite:///{file}")
    return file


def _migrate(url: str) -> None:
    database = open_database(url)
    migrate.upgrade(database)
    database.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh database of each kind."""
    if request.param == "sqlite":
        file = tmp_path / "tenure.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), file)
        return f"sqlite:///{file}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def world(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world with one project and one enforced policy, `all-30d`."""
    # Groups close sooner than in service; nothing here depends on how many share a transaction.
    monkeypatch.setitem(Grouper.__init__.__kwdefaults__ or {}, "window", 0.01)
    options = SandboxOptions(slow_by=SLOW_BY, retry_after=timedelta(seconds=1))
    with make_world(database_url, tmp_path / "policies", options) as made:
        # When the clock is moved, time passes for PostgreSQL too, whose own clock leases run on.
        monkeypatch.setattr(work, "lease_clock", made.clock.lease_clock)
        yield made
