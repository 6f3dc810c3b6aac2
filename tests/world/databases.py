"""Fixtures for fresh databases of both kinds, copied from one that was migrated once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.postgres import Postgres
from worker.store import migrate
from worker.store.engine import open_database


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


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh, migrated database of each kind."""
    if request.param == "sqlite":
        file = tmp_path / "tenure.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), file)
        return f"sqlite:///{file}"
    return str(request.getfixturevalue("postgres_url"))


def _migrate(url: str) -> None:
    database = open_database(url)
    migrate.upgrade(database)
    database.dispose()
