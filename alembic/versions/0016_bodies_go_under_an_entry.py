"""Bodies may be emptied, by one path: under an entry of the log that names their leaves.

A row of `audit_gone` names a range of leaves and the entry that says so; it is refused unless that entry is a
`body.shredded` or a `log.pruned` and its own bytes hold the range. A body may then become empty where such a
row covers it (of the same project, or of all); nothing else of its row may change, it never comes back, and
the bodies of the entries that excuse others, of epochs and of key rotations never go.

On PostgreSQL the service's role still may not UPDATE the table: it calls `tenure_empty_bodies(entry)`, which
runs with the rights of its owner and empties what `audit_gone` names for that entry, and nothing else. It
looks for itself whether the entry holds the range, so that it does no more with the triggers off.

Revision: 0016
Before: 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import ProgrammingError

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_OWNER, _APP, _AUDITOR = "tenure_owner", "tenure_app", "tenure_auditor"
# PostgreSQL: insufficient_privilege.
_INSUFFICIENT_PRIVILEGE = "42501"
_STAY = "('body.shredded', 'log.pruned', 'log.epoch', 'key.rotated')"
# The ranges never overlap, so that the last one that begins at or before a leaf is the only one to ask.
_NAMED = """EXISTS (
    SELECT 1 FROM audit_gone AS g JOIN audit_body AS e ON e.idx = g.entry
    WHERE g.first = (SELECT max(first) FROM audit_gone WHERE first <= OLD.idx) AND g.until > OLD.idx
    AND (e.type = 'log.pruned' OR (e.type = 'body.shredded' AND {same}))
)"""
# PostgreSQL: the entry is one that excuses, and its bytes hold the range.
_HOLDS = """e.type IN ('body.shredded', 'log.pruned') AND
            position(convert_to('[' || {range}.first || ',' || {range}.until || ']', 'UTF8') IN e.body) > 0"""
_FUNCTIONS = ("tenure_refuse_body_change()", "tenure_refuse_unnamed()", "tenure_empty_bodies(bigint)")


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "audit_gone",
        sa.Column(
            "first", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("entry", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("first >= 0", name=op.f("ck_audit_gone_first")),
        sa.CheckConstraint("until > first", name=op.f("ck_audit_gone_range")),
        sa.CheckConstraint("entry >= until", name=op.f("ck_audit_gone_later")),
        sa.PrimaryKeyConstraint("first", name=op.f("pk_audit_gone")),
    )
    op.create_index("ix_audit_gone_entry", "audit_gone", ["entry"])
    if op.get_bind().dialect.name == "sqlite":
        _sqlite()
        return
    _postgresql()
    if _is_role(_APP):
        _grant()
        _give_to_owner()


def downgrade() -> None:
    """Take this step back; refused once bodies are gone, since older code would take them for damage."""
    if op.get_bind().execute(sa.text("SELECT 1 FROM audit_gone LIMIT 1")).first() is not None:
        problem = "Bodies of the log were shredded or pruned: there is no way back to before revision 0016."
        raise RuntimeError(problem)
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER audit_body_no_update")
        _sqlite_refusal("audit_body_no_update", "BEFORE UPDATE ON audit_body", "audit_body")
    else:
        op.execute("DROP TRIGGER audit_body_no_change ON audit_body")
        op.execute(
            "CREATE TRIGGER audit_body_no_change BEFORE UPDATE OR DELETE ON audit_body "
            "FOR EACH ROW EXECUTE FUNCTION tenure_refuse_change()"
        )
        op.execute("ALTER TABLE audit_body ENABLE ALWAYS TRIGGER audit_body_no_change")
    op.drop_table("audit_gone")
    if op.get_bind().dialect.name != "sqlite":
        for function in _FUNCTIONS:
            op.execute(f"DROP FUNCTION {function}")


def _sqlite() -> None:
    _sqlite_refusal("audit_gone_no_update", "BEFORE UPDATE ON audit_gone", "audit_gone")
    _sqlite_refusal("audit_gone_no_delete", "BEFORE DELETE ON audit_gone", "audit_gone")
    there = "WHEN EXISTS (SELECT 1 FROM audit_gone WHERE first = NEW.first)"
    _sqlite_refusal("audit_gone_no_replace", f"BEFORE INSERT ON audit_gone {there}", "audit_gone")
    said = "instr(e.body, CAST('[' || NEW.first || ',' || NEW.until || ']' AS BLOB)) > 0"
    op.execute(
        "CREATE TRIGGER audit_gone_named BEFORE INSERT ON audit_gone WHEN NOT EXISTS "  # noqa: S608
        "(SELECT 1 FROM audit_body AS e WHERE e.idx = NEW.entry "
        f"AND e.type IN ('body.shredded', 'log.pruned') AND {said}) "
        "BEGIN SELECT RAISE(ABORT, 'no entry names this range: audit_gone is append-only'); END"
    )
    op.execute("DROP TRIGGER audit_body_no_update")
    emptied = (
        "length(NEW.body) = 0 AND length(OLD.body) > 0 AND typeof(NEW.body) = 'blob' "
        "AND NEW.idx = OLD.idx AND NEW.type = OLD.type "
        "AND NEW.project IS OLD.project AND NEW.subject IS OLD.subject "
        f"AND OLD.type NOT IN {_STAY} AND {_NAMED.format(same='e.project IS OLD.project')}"
    )
    _sqlite_refusal(
        "audit_body_no_update", f"BEFORE UPDATE ON audit_body WHEN ({emptied}) IS NOT 1", "audit_body"
    )


def _sqlite_refusal(name: str, when: str, table: str) -> None:
    op.execute(f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END")


def _postgresql() -> None:
    # Pinned, and the temporary schema last: nobody puts a table of his own before those of the log.
    schema = op.get_bind().execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
    path = f"SET search_path = {schema}, pg_temp"
    named = _NAMED.format(same="e.project IS NOT DISTINCT FROM OLD.project")
    op.execute(
        f"""
        CREATE FUNCTION tenure_refuse_body_change() RETURNS trigger LANGUAGE plpgsql {path} AS $$
        BEGIN
            IF TG_OP = 'UPDATE' AND length(NEW.body) = 0 AND length(OLD.body) > 0
                AND NEW.idx = OLD.idx AND NEW.type = OLD.type
                AND NEW.project IS NOT DISTINCT FROM OLD.project
                AND NEW.subject IS NOT DISTINCT FROM OLD.subject
                AND OLD.type NOT IN {_STAY} AND {named}
            THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'audit_body is append-only: % is refused', TG_OP
            USING ERRCODE = 'restrict_violation';
        END $$
        """
    )
    op.execute(
        f"""
        CREATE FUNCTION tenure_refuse_unnamed() RETURNS trigger LANGUAGE plpgsql {path} AS $$
        BEGIN
            IF EXISTS (
                SELECT 1 FROM audit_body AS e WHERE e.idx = NEW.entry AND {_HOLDS.format(range="NEW")}
            )
            THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'no entry names this range: audit_gone is append-only'
            USING ERRCODE = 'restrict_violation';
        END $$
        """  # noqa: S608 - names of this file
    )
    op.execute(
        f"""
        CREATE FUNCTION tenure_empty_bodies(told bigint) RETURNS bigint
        LANGUAGE plpgsql SECURITY DEFINER {path} AS $$
        DECLARE emptied bigint;
        BEGIN
            UPDATE audit_body AS b SET body = '' FROM audit_gone AS g, audit_body AS e
            WHERE g.entry = told AND e.idx = told AND b.idx >= g.first AND b.idx < g.until
            AND {_HOLDS.format(range="g")}
            AND (e.type = 'log.pruned' OR e.project IS NOT DISTINCT FROM b.project)
            AND b.type NOT IN {_STAY} AND length(b.body) > 0;
            GET DIAGNOSTICS emptied = ROW_COUNT;
            RETURN emptied;
        END $$
        """  # noqa: S608 - names of this file
    )
    op.execute("REVOKE ALL ON FUNCTION tenure_empty_bodies(bigint) FROM PUBLIC")
    op.execute("DROP TRIGGER audit_body_no_change ON audit_body")
    for table, rest, what, each, function in (
        ("audit_body", "no_change", "UPDATE OR DELETE", "ROW", "tenure_refuse_body_change"),
        ("audit_gone", "no_change", "UPDATE OR DELETE", "ROW", "tenure_refuse_change"),
        ("audit_gone", "no_truncate", "TRUNCATE", "STATEMENT", "tenure_refuse_change"),
        ("audit_gone", "named", "INSERT", "ROW", "tenure_refuse_unnamed"),
    ):
        name = f"{table}_{rest}"
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {what} ON {table} FOR EACH {each} EXECUTE FUNCTION {function}()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")


def _is_role(name: str) -> bool:
    known = sa.text("SELECT 1 FROM pg_roles WHERE rolname = :name").bindparams(name=name)
    return op.get_bind().execute(known).first() is not None


def _grant() -> None:
    for statement in (
        # The default privileges give the service every right on a new table.
        f"REVOKE ALL ON audit_gone FROM {_APP}",
        f"GRANT SELECT, INSERT ON audit_gone TO {_APP}",
        f"GRANT SELECT ON audit_gone TO {_AUDITOR}",
        f"GRANT EXECUTE ON FUNCTION tenure_empty_bodies(bigint) TO {_APP}",
    ):
        op.execute(statement)


def _give_to_owner() -> None:
    """Give the table and the functions to the owner role, where the log's other tables are its own."""
    owner = sa.text(
        "SELECT tableowner FROM pg_tables WHERE tablename = 'audit_body' AND schemaname = current_schema()"
    )
    if op.get_bind().execute(owner).scalar_one() != _OWNER:
        return
    try:
        with op.get_bind().begin_nested():
            op.execute(f"ALTER TABLE audit_gone OWNER TO {_OWNER}")
            for function in _FUNCTIONS:
                op.execute(f"ALTER FUNCTION {function} OWNER TO {_OWNER}")
    except ProgrammingError as e:
        if getattr(e.orig, "sqlstate", "") != _INSUFFICIENT_PRIVILEGE:
            raise
