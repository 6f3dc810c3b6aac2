"""`tenure db`: migrations of the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from worker.cli.client import refuse_remote
from worker.cli.exits import Ended, Exit
from worker.cli.output import Format, Output, say, show_one

if TYPE_CHECKING:
    from worker.store.engine import Database

app = typer.Typer(no_args_is_help=True, help="Migrate the database, or look at its version.")
_UPGRADE = "Run `tenure db upgrade`."


@contextmanager
def _database(command: str) -> Iterator[Database]:
    from worker.settings import load_settings
    from worker.store.engine import open_database, reachable

    refuse_remote(f"db {command}")
    database = open_database(load_settings().database)
    try:
        with reachable(database):
            yield database
    finally:
        database.dispose()


@app.command("upgrade")
def upgrade(output: Output = Format.TABLE) -> None:
    """Bring the database to this version's schema; safe to run twice and beside running processes.

    Example: tenure db upgrade
    """
    from worker.store import log, migrate, protections

    with _database("upgrade") as database:
        before = migrate.current(database)
        migrate.upgrade(database)
        with database.write() as db:
            log.create_head(db)
            protections.ensure_rows(db, [protections.EVERYTHING])
        after = migrate.current(database)
    say("Nothing to do." if before == after else "Upgraded.")
    show_one({"before": before, "revision": after}, output)


@app.command("current")
def current(output: Output = Format.TABLE) -> None:
    """Show the database's revision and the one that this version needs.

    Example: tenure db current
    """
    from worker.store import migrate

    with _database("current") as database:
        found = migrate.current(database)
    show_one({"revision": found, "needed": migrate.head()}, output)


@app.command("check")
def check(output: Output = Format.TABLE) -> None:
    """Compare the database with what this version needs: exit 3 if it is behind, 1 if it differs.

    Example: tenure db check
    """
    from worker.store import migrate

    with _database("check") as database:
        found, needed = migrate.current(database), migrate.head()
        differences = [str(one) for one in migrate.drift(database)] if found == needed else []
    show_one({"revision": found, "needed": needed, "differences": differences}, output)
    if found != needed:
        problem = f"The database is at revision {found or 'none'}, this version needs {needed}."
        raise Ended(problem, repair=_UPGRADE, exit_code=Exit.PENDING)
    if differences:
        raise Ended(
            "The database differs from its revision.", repair="Somebody changed it by hand; undo that."
        )
