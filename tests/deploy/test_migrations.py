"""The schema goes up and down on both databases and ends as the tables of the code say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from worker.store import migrate
from worker.store.engine import Database, open_database


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind."""
    here = f"sqlite:///{tmp_path / 'tenure.db'}"
    url = here if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    opened = open_database(url)
    try:
        yield opened
    finally:
        opened.dispose()


def test_every_migration_follows_one_line_with_one_head(root: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(root / "alembic"))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.head()]


def test_the_newest_schema_is_the_one_that_the_code_describes(database: Database) -> None:
    migrate.upgrade(database)
    assert migrate.current(database) == migrate.head()
    assert migrate.drift(database) == []


def test_the_schema_can_be_taken_back_and_brought_up_again(database: Database) -> None:
    migrate.upgrade(database)
    migrate.downgrade(database, "base")
    assert migrate.current(database) is None
    migrate.upgrade(database)
    assert migrate.drift(database) == []


def test_upgrading_twice_changes_nothing(database: Database) -> None:
    migrate.upgrade(database)
    migrate.upgrade(database)
    migrate.require_current(database)


def test_code_refuses_a_database_that_was_not_upgraded(database: Database) -> None:
    with pytest.raises(migrate.SchemaOutdated, match="revision none"):
        migrate.require_current(database)
