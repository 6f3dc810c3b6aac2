"""The log is append-only in the database too: triggers, and on PostgreSQL roles and grants; epochs.

These are guard rails. They stop a slip and an intruder with the service's own password; the owner of a
database can take every one of them off, so that only the anchors are evidence against the owner.

Triggers stand on both databases. On PostgreSQL they fire ALWAYS, also under `session_replication_role`. The
roles `tenure_owner`, `tenure_app` and `tenure_auditor` cannot log in; a login gets one of them by GRANT. They
belong to the whole server, so they are made where they are missing and never dropped. A user who may not
make them goes on with the triggers alone, and `tenure doctor` says so.

Until revision 0016 nothing empties a body. A later table whose name begins with `audit_` takes its own grants
and triggers.

Revision: 0010
Before: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import ProgrammingError

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ADDED_TO = ("audit_leaf", "audit_body", "audit_checkpoint", "audit_epoch", "audit_tile", "audit_key")
_LOG = (*_ADDED_TO, "audit_head")
_OWNER, _APP, _AUDITOR = "tenure_owner", "tenure_app", "tenure_auditor"
# PostgreSQL: insufficient_privilege.
_INSUFFICIENT_PRIVILEGE = "42501"
_KEYS = {
    "audit_leaf": ("idx",),
    "audit_body": ("idx",),
    "audit_checkpoint": ("size",),
    "audit_epoch": ("number",),
    "audit_tile": ("level", "n"),
    "audit_key": ("origin", "since"),
}


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "audit_epoch",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("number > 1", name=op.f("ck_audit_epoch_later")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_epoch")),
        sa.UniqueConstraint("first", name=op.f("uq_audit_epoch_first")),
    )
    if op.get_bind().dialect.name == "sqlite":
        _sqlite_triggers()
        return
    _postgresql_triggers()
    if _made_roles():
        _grant()
        _give_to_owner()


def downgrade() -> None:
    """Take this step back; roles and what they were granted stay."""
    if op.get_bind().dialect.name == "sqlite":
        for table in _LOG:
            for rest in ("no_update", "no_delete", "no_replace", "only_grows"):
                op.execute(f"DROP TRIGGER IF EXISTS {table}_{rest}")
    else:
        op.execute("DROP FUNCTION tenure_refuse_change() CASCADE")
    op.drop_table("audit_epoch")


def _sqlite_triggers() -> None:
    for table in _ADDED_TO:
        _sqlite(f"{table}_no_update", f"BEFORE UPDATE ON {table}", table)
        _sqlite(f"{table}_no_delete", f"BEFORE DELETE ON {table}", table)
        # INSERT OR REPLACE deletes a row without asking the trigger above.
        same = " AND ".join(f"{key} = NEW.{key}" for key in _KEYS[table])
        there = f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608 - names of this file
        _sqlite(f"{table}_no_replace", f"BEFORE INSERT ON {table} {there}", table)
    _sqlite("audit_head_no_delete", "BEFORE DELETE ON audit_head", "audit_head")
    there = "WHEN EXISTS (SELECT 1 FROM audit_head WHERE id = NEW.id)"
    _sqlite("audit_head_no_replace", f"BEFORE INSERT ON audit_head {there}", "audit_head")
    grows = "WHEN NEW.size <= OLD.size OR NEW.pseudonym_key <> OLD.pseudonym_key"
    _sqlite("audit_head_only_grows", f"BEFORE UPDATE ON audit_head {grows}", "audit_head")


def _sqlite(name: str, when: str, table: str) -> None:
    op.execute(f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END")


def _postgresql_triggers() -> None:
    op.execute(
        """
        CREATE FUNCTION tenure_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
            USING ERRCODE = 'restrict_violation';
        END $$
        """
    )
    for table in _ADDED_TO:
        _postgresql(table, "no_change", "UPDATE OR DELETE", "ROW")
    _postgresql("audit_head", "no_delete", "DELETE", "ROW")
    grows = "ROW WHEN (NEW.size <= OLD.size OR NEW.pseudonym_key <> OLD.pseudonym_key)"
    _postgresql("audit_head", "only_grows", "UPDATE", grows)
    for table in _LOG:
        _postgresql(table, "no_truncate", "TRUNCATE", "STATEMENT")


def _postgresql(table: str, rest: str, what: str, each: str) -> None:
    name = f"{table}_{rest}"
    op.execute(
        f"CREATE TRIGGER {name} BEFORE {what} ON {table} FOR EACH {each} "
        "EXECUTE FUNCTION tenure_refuse_change()"
    )
    op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")


def _made_roles() -> bool:
    """Make the roles that are missing; False where this user may not."""
    for role in (_OWNER, _APP, _AUDITOR):
        known = sa.text("SELECT 1 FROM pg_roles WHERE rolname = :name").bindparams(name=role)
        # Another database of this server may be making it just now: then it is there all the same.
        made = _tried(
            f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN; "
            "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        )
        if not made and op.get_bind().execute(known).first() is None:
            return False
    return True


def _grant() -> None:
    schema = op.get_bind().execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
    every = "SELECT, INSERT, UPDATE, DELETE"
    for statement in (
        f"GRANT USAGE ON SCHEMA {schema} TO {_OWNER}, {_APP}, {_AUDITOR}",
        f"GRANT {every} ON ALL TABLES IN SCHEMA {schema} TO {_APP}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {_APP}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT {every} ON TABLES TO {_APP}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE ON SEQUENCES TO {_APP}",
        f"REVOKE ALL ON alembic_version, {', '.join(_LOG)} FROM {_APP}",
        f"GRANT SELECT ON alembic_version, audit_head TO {_APP}",
        f"GRANT SELECT, INSERT ON {', '.join(_ADDED_TO)} TO {_APP}",
        # Not the key of all pseudonyms: whoever changes it splits every later entry from the earlier ones.
        f"GRANT UPDATE (size, news, frontier) ON audit_head TO {_APP}",
        f"GRANT SELECT ON {', '.join(_ADDED_TO)} TO {_AUDITOR}",
        f"GRANT SELECT (id, size, news, frontier) ON audit_head TO {_AUDITOR}",
    ):
        op.execute(statement)


def _give_to_owner() -> None:
    """Give the log's tables to the owner role where this user may; else they stay this user's own."""
    schema = op.get_bind().execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
    is_super = sa.text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    member = [] if op.get_bind().execute(is_super).scalar_one() else [f"GRANT {_OWNER} TO CURRENT_USER"]
    _tried(
        *member,
        f"GRANT CREATE ON SCHEMA {schema} TO {_OWNER}",
        *(f"ALTER TABLE {table} OWNER TO {_OWNER}" for table in _LOG),
        f"ALTER FUNCTION tenure_refuse_change() OWNER TO {_OWNER}",
    )


def _tried(*statements: str) -> bool:
    """Run the statements, all or none; False where this user has not the right to."""
    try:
        with op.get_bind().begin_nested():
            for statement in statements:
                op.execute(statement)
    except ProgrammingError as e:
        if getattr(e.orig, "sqlstate", "") != _INSUFFICIENT_PRIVILEGE:
            raise
        return False
    return True
