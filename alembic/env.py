"""Alembic's entry: Tenure hands its own connection in; a checkout may also run `alembic` itself."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from worker.settings import load_settings
from worker.store.engine import open_database
from worker.store.tables import metadata

# Two upgrades at once wait for each other instead of racing; the number is only a name.
_ADVISORY_LOCK = 7_301_846_512


def _run(connection: Connection) -> None:
    postgresql = connection.dialect.name == "postgresql"
    if postgresql:
        # Both end with the transaction: behind a pooler a session's own would stay with somebody else.
        # A migration that cannot get its lock gives up instead of queueing every other statement behind it.
        connection.execute(text("set local lock_timeout = '10s'"))
        connection.execute(text(f"select pg_advisory_xact_lock({_ADVISORY_LOCK})"))
    # One transaction over all of them, which is begun already on PostgreSQL; on SQLite it is a BEGIN
    # IMMEDIATE, and so the lock between two upgrades. Whoever handed the connection in commits.
    context.configure(
        connection=connection, target_metadata=metadata, render_as_batch=not postgresql, compare_type=True
    )
    with context.begin_transaction():
        context.run_migrations()


def _own_connection() -> None:
    with open_database(load_settings().database).engine.connect() as connection:
        _run(connection)
        connection.commit()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    _own_connection()
