"""Why a database takes nothing: full, read-only or gone, by its own codes and with the repair for each."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from worker.model.errors import Unavailable

# SQLite's own names of its result codes. A log that cannot grow shows as an I/O error of its index.
_SQLITE_FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMOPEN")
_SQLITE_READ_ONLY = ("SQLITE_READONLY", "SQLITE_CANTOPEN")
# PostgreSQL's: disk_full, and read_only_sql_transaction, which is a standby after a failover.
_FULL, _READ_ONLY = "53100", "25006"
_KEPT = "What was committed is there."


class Unwritable(Unavailable):
    """The database answers, and cannot write."""


def unavailable(failed: DBAPIError, place: str = "") -> Unavailable:
    """Return what an operator is told of this failure; ``place`` is the database's file, where it is one."""
    told = _lines(failed)
    name, state = getattr(failed.orig, "sqlite_errorname", ""), getattr(failed.orig, "sqlstate", "")
    where = f" at {place}" if place else ""
    if name.startswith(_SQLITE_FULL):
        repair = f"Make room{where or ' for the data folder (TENURE_DATA_DIR)'}. {_KEPT}"
        return Unwritable(f"The disk of the database{where} is full: {told}.", repair=repair)
    if name.startswith(_SQLITE_READ_ONLY):
        repair = f"Give this user the right to write{where}, mount it writable, or set TENURE_DATA_DIR."
        return Unwritable(f"The database{where} cannot be written: {told}.", repair=repair)
    if state == _FULL:
        return Unwritable("The disk of PostgreSQL is full.", repair=f"Make room there. {_KEPT}")
    if state == _READ_ONLY:
        repair = "Point TENURE_DATABASE_URL at the server that may write; this one is a standby."
        return Unwritable("PostgreSQL is read-only.", repair=repair)
    return Unavailable(
        f"The database does not answer: {told}", repair="Start it, or mend TENURE_DATABASE_URL."
    )


def cannot_write(failed: DBAPIError) -> bool:
    """Whether this is a failure that room or a right mends."""
    return isinstance(unavailable(failed), Unwritable)


def _lines(failed: DBAPIError) -> str:
    said = str(failed.orig).strip() if failed.orig else ""
    return said.splitlines()[0] if said else "no answer"
