"""The log's guard rails in the database: which of them stand, and what this user could do all the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

APP = "tenure_app"
ADDED_TO = (
    "audit_leaf",
    "audit_body",
    "audit_gone",
    "audit_checkpoint",
    "audit_epoch",
    "audit_tile",
    "audit_key",
)
LOG = (*ADDED_TO, "audit_head")
_SQLITE = frozenset(
    {f"{table}_{rest}" for table in ADDED_TO for rest in ("no_update", "no_delete", "no_replace")}
    | {"audit_gone_named", "audit_head_no_delete", "audit_head_no_replace", "audit_head_only_grows"}
)
_POSTGRESQL = frozenset(
    {f"{table}_no_change" for table in ADDED_TO}
    | {f"{table}_no_truncate" for table in LOG}
    | {"audit_gone_named", "audit_head_no_delete", "audit_head_only_grows"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rails:
    """What was found. ``missing`` triggers are gone or switched off; without roles ``has_roles`` is False.

    ``open_to_app`` and ``open_to_us`` name the tables in which the role of the service, and the user of this
    connection, could change or remove rows if there were no trigger.
    """

    missing: Sequence[str]
    has_roles: bool = False
    open_to_app: Sequence[str] = ()
    open_to_us: Sequence[str] = ()
    user: str = ""


def look(db: Connection) -> Rails:
    """Look at triggers, and on PostgreSQL at roles and grants; changes nothing."""
    if db.dialect.name == "sqlite":
        names = db.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars()
        return Rails(missing=sorted(_SQLITE - set(names)))
    # A fires always, also for a session that plays the replica.
    query = text(
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'A' "
        "AND tgrelid = ANY (SELECT to_regclass(one) FROM unnest(CAST(:tables AS text[])) AS one)"
    )
    standing = set(db.execute(query, {"tables": list(LOG)}).scalars())
    known = db.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": APP}).first()
    user = str(db.execute(text("SELECT current_user")).scalar_one())
    return Rails(
        missing=sorted(_POSTGRESQL - standing),
        has_roles=known is not None,
        open_to_app=_open_to(db, APP) if known is not None else (),
        open_to_us=_open_to(db, user),
        user=user,
    )


def _open_to(db: Connection, role: str) -> list[str]:
    """Return the tables of the log in which a role may do more than add rows."""
    may = "has_table_privilege(:role, :table, :what)"
    found = []
    for table in LOG:
        what = "DELETE, TRUNCATE" if table == "audit_head" else "UPDATE, DELETE, TRUNCATE"
        asked = {"role": role, "table": table, "what": what}
        if db.execute(text(f"SELECT {may}"), asked).scalar_one():
            found.append(table)
    return found
