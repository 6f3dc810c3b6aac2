"""Fixtures for migrated databases of both kinds, as good as new for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from tests.servers.postgres import Postgres
from worker.store import migrate
from worker.store.engine import open_database
from worker.store.tables import metadata


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file, copied for each test."""
    file = tmp_path_factory.mktemp("template") / "tenure.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def emptied_postgres(postgres_server: Postgres) -> Iterator[str]:
    """The URL of a migrated database that is emptied before each test: quicker than making one."""
    name = postgres_server.create()
    _migrate(postgres_server.url(name))
    yield postgres_server.url(name)
    postgres_server.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated database of each kind without a row."""
    if request.param == "sqlite":
        file = tmp_path / "tenure.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), file)
        return f"sqlite:///{file}"
    url = str(request.getfixturevalue("emptied_postgres"))
    _empty(url)
    return url


def _migrate(url: str) -> None:
    database = open_database(url)
    migrate.upgrade(database)
    database.dispose()


def _empty(url: str) -> None:
    database = open_database(url)
    with database.write() as db, without_triggers(db):
        for table in reversed(metadata.sorted_tables):
            db.execute(table.delete())
    database.dispose()


@contextmanager
def without_triggers(db: Connection) -> Iterator[None]:
    """Take the log's guard rails off for a while, as the owner of a database can."""
    if db.dialect.name == "sqlite":
        made = db.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
        off = [f"DROP TRIGGER {name}" for name, _ in made]
        on = [create for _, create in made]
    else:
        query = text("SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE NOT tgisinternal")
        found = db.execute(query).all()
        off = [f"ALTER TABLE {table} DISABLE TRIGGER {name}" for table, name in found]
        on = [f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}" for table, name in found]
    for statement in off:
        db.execute(text(statement))
    yield
    for statement in on:
        db.execute(text(statement))
