"""One suite over both databases: what a store promises does not depend on which one it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.postgres import Postgres
from tests.world.databases import database_url, emptied_postgres, sqlite_template
from worker.store import log, protections
from worker.store.engine import Database, open_database

__all__ = ["database_url", "emptied_postgres", "sqlite_template"]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database of each kind without a table."""
    if request.param == "sqlite":
        database = open_database(f"sqlite:///{tmp_path / 'tenure.db'}")
        yield database
        database.dispose()
        return
    server: Postgres = request.getfixturevalue("postgres_server")
    name = server.create()
    database = open_database(server.url(name))
    yield database
    database.dispose()
    server.drop(name)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database with an empty log."""
    database = open_database(database_url)
    with database.write() as db:
        log.create_head(db)
        protections.ensure_rows(db, [protections.EVERYTHING])
    yield database
    database.dispose()
