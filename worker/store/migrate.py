"""Migrations, run by Tenure itself: they travel inside the wheel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from worker.model.errors import TenureError
from worker.store.engine import Database
from worker.store.tables import metadata


class SchemaOutdated(TenureError):
    """The database is not at the version that this code was written for."""

    code = "schema_outdated"


def _folder() -> Path:
    inside_wheel = Path(__file__).parent.parent / "_migrations"
    return inside_wheel if inside_wheel.is_dir() else Path(__file__).parent.parent.parent / "alembic"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def head() -> str:
    """Return the newest revision that this code knows; there is exactly one head."""
    found = _scripts().get_current_head()
    if found is None:
        problem = f"No migration was found in {_folder()}."
        raise TenureError(problem, repair="Install Tenure anew: its wheel carries them.")
    return found


def current(database: Database) -> str | None:
    """Return the revision of the database, or None for an empty one."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the database to a revision; safe to run twice and by two processes at once.

    Raises SchemaOutdated for a database that a newer version upgraded: there is no way back from here.
    """
    _require_known(database)
    _run(database, lambda config: command.upgrade(config, revision))


def downgrade(database: Database, revision: str) -> None:
    """Take the database back to a revision; ``base`` empties it."""
    _run(database, lambda config: command.downgrade(config, revision))


def drift(database: Database) -> list[object]:
    """Return what differs between the database and the tables of the code; empty when they agree."""
    with database.engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))


def require_current(database: Database) -> None:
    """Raise SchemaOutdated unless the database is at this code's revision: neither older nor newer."""
    _require_known(database)
    found, wanted = current(database), head()
    if found != wanted:
        problem = f"The database is at revision {found or 'none'}, this code needs {wanted}."
        raise SchemaOutdated(problem, repair="Run `tenure db upgrade`.")


def _require_known(database: Database) -> None:
    found = current(database)
    if found is None or found in {one.revision for one in _scripts().walk_revisions()}:
        return
    problem = f"The database is at revision {found}, which this code does not know; it needs {head()}."
    raise SchemaOutdated(
        problem, repair="A newer Tenure upgraded it: run that version here too. Nothing was changed."
    )


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _run(database: Database, act: Callable[[Config], None]) -> None:
    config = _config()
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        act(config)
        connection.commit()
