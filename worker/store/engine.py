"""Engines and transactions for SQLite and PostgreSQL, one code path for both.

SQLite writes under BEGIN IMMEDIATE: a hold can then never slip between a read and a claim. Readers
use an engine of their own with BEGIN DEFERRED, so that they look beside an open writer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Any

from psycopg import Connection as PostgresConnection
from psycopg.types.array import ListBinaryDumper
from sqlalchemy import Connection, Engine, UpdateBase, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from worker.model.errors import Invalid, Unavailable
from worker.policy.compile import SQLITE_FUNCTIONS
from worker.store.json_text import write_json
from worker.store.statements import watch
from worker.store.unwritable import cannot_write, unavailable
from worker.telemetry import traces

_BUSY_SECONDS = 30
_AS_JSON: dict[str, Any] = {"json_serializer": write_json}
_A_URL = "Write postgresql://user@host/name or sqlite:///file.db."


@dataclass(frozen=True, slots=True)
class Database:
    """Two doors to one database: ``write()`` commits at its end, ``read()`` never writes."""

    engine: Engine
    readers: Engine

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite."""
        return self.engine.dialect.name == "sqlite"

    @property
    def place(self) -> str:
        """The file that it is, nothing for a server's."""
        return str(self.engine.url.database or "") if self.is_sqlite else ""

    def write(self) -> AbstractContextManager[Connection]:
        """Open one transaction that commits at the end of the block and rolls back on any error.

        On SQLite it waits for the lock here, before the block's first line, and has it until the end: nothing
        but what needs the lock belongs in the block, and no second one is opened inside.
        """
        return self.engine.begin()

    def read(self) -> AbstractContextManager[Connection]:
        """Open one transaction for reading; it begins with its first statement, and nothing commits it."""
        return self.readers.connect()

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Open one transaction for reading in which every statement sees the same instant of the database."""
        with self.readers.connect() as db:
            if not self.is_sqlite:  # whose read transaction is one already, from its first statement on
                db.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield db

    def dispose(self) -> None:
        """Close every connection; needed after a fork and at the end."""
        self.engine.dispose()


def open_database(url: str) -> Database:
    """Make the engines; nothing is connected yet. Raises Invalid for an URL that cannot be one."""
    try:
        parsed = make_url(url)
    except ArgumentError as e:
        problem = "TENURE_DATABASE_URL is not a database URL."
        raise Invalid(problem, repair=_A_URL, code="settings_invalid") from e
    match parsed.get_backend_name():
        case "sqlite":
            return _open_sqlite(url, parsed.database)
        case "postgresql":
            engine = create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_pre_ping=True,
                pool_size=10,
                **_AS_JSON,
                # A pooler gives each transaction another session, so nothing may live in one: no prepared
                # statement, and elsewhere no session's lock or setting.
                connect_args={"connect_timeout": 10, "prepare_threshold": None},
            )
            event.listen(engine, "connect", _set_up_postgres)
            return Database(_watched(engine), engine)
        case other:
            problem = f"Tenure runs on SQLite and PostgreSQL, not on {other}."
            raise Invalid(problem, repair=_A_URL, code="settings_invalid")


def _open_sqlite(url: str, file: str | None) -> Database:
    if file and file != ":memory:":
        folder = Path(file).parent
        try:
            # The database holds the key of all pseudonyms: only its owner looks into a folder made here.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as e:
            problem = f"The data folder {folder} cannot be made: {e.strerror}."
            raise Unavailable(problem, repair="Set TENURE_DATA_DIR to a folder that you may write.") from e
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS}, **_AS_JSON)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return Database(_watched(engine), engine.execution_options(sqlite_begin="DEFERRED"))


def _watched(engine: Engine) -> Engine:
    if traces.tracing() is not None:
        watch(engine)
    return engine


def _set_up_postgres(connection: PostgresConnection[Any], _: object) -> None:
    # Lists are sent in binary: as text a batch of the log takes twice as long.
    connection.adapters.register_dumper(list, ListBinaryDumper)


def _set_up_sqlite(connection: SqliteConnection, _: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; _begin_sqlite does
    # What is freed is overwritten, at every write: a page that is split leaves copies behind, too.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")
    for name, (arguments, function) in SQLITE_FUNCTIONS.items():
        connection.create_function(name, arguments, function, deterministic=True)


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {mode}")


_CLOCK = select(func.clock_timestamp())


def lease_clock(db: Connection, now: datetime) -> datetime:
    """Return the clock that leases run on: the database's on PostgreSQL, the application's on SQLite.

    Workers on several machines then agree on who holds a lease even where their clocks differ.
    """
    if db.dialect.name == "sqlite":
        return now
    told: datetime = db.execute(_CLOCK).scalar_one()
    return told.astimezone(UTC)


def changed(db: Connection, statement: UpdateBase) -> int:
    """Run a write and return how many rows it changed: states move by condition, never by read-then-write."""
    return db.execute(statement).rowcount


@contextmanager
def reachable(database: Database) -> Iterator[None]:
    """Turn a refused or lost connection, and a full or read-only disk, into Unavailable with the repair."""
    try:
        yield
    except DBAPIError as e:
        if isinstance(e, OperationalError) or cannot_write(e):
            raise unavailable(e, database.place) from e
        raise
