"""Every filter of a list of threads has an index in the list's own order; tags have a table of their own.

Triggers keep `thread_tag`: whoever writes a thread's tags, in whichever way, cannot leave it behind. They go
with the table `thread` where SQLite makes that one anew (a batch that recreates it), so such a step makes
them anew too; `tests/store/test_filters.py` holds that they stand at the head.

Revision: 0015
Before: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0010"
branch_labels = None
depends_on = None

_WITH_ID = ("project", "owner", "kind", "state")
_SQLITE = (
    (
        "CREATE TRIGGER thread_tag_added AFTER INSERT ON thread BEGIN "
        "INSERT INTO thread_tag (key, value, thread_id) "
        "SELECT key, value, new.id FROM json_each(new.tags); END"
    ),
    (
        "CREATE TRIGGER thread_tag_changed AFTER UPDATE OF tags ON thread BEGIN "
        "DELETE FROM thread_tag WHERE thread_id = new.id; "
        "INSERT INTO thread_tag (key, value, thread_id) "
        "SELECT key, value, new.id FROM json_each(new.tags); END"
    ),
)
_INTO = (
    "INSERT INTO thread_tag (key, value, thread_id) "
    "SELECT one.key, one.value, rows.id FROM {rows} AS rows, jsonb_each_text(rows.tags) AS one;"
)
_POSTGRESQL = (
    "CREATE FUNCTION thread_tag_added() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    + _INTO.format(rows="added")
    + " RETURN NULL; END $$",
    # Row by row, so that an UPDATE of other columns costs nothing: tags are seldom changed.
    (
        "CREATE FUNCTION thread_tag_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "DELETE FROM thread_tag WHERE thread_id = new.id; "
        "INSERT INTO thread_tag (key, value, thread_id) "
        "SELECT one.key, one.value, new.id FROM jsonb_each_text(new.tags) AS one; RETURN NULL; END $$"
    ),
    (
        "CREATE TRIGGER thread_tag_added AFTER INSERT ON thread REFERENCING NEW TABLE AS added "
        "FOR EACH STATEMENT EXECUTE FUNCTION thread_tag_added()"
    ),
    (
        "CREATE TRIGGER thread_tag_changed AFTER UPDATE OF tags ON thread "
        "FOR EACH ROW EXECUTE FUNCTION thread_tag_changed()"
    ),
)


def upgrade() -> None:
    """Apply this step."""
    op.drop_index("ix_thread_owner", table_name="thread")
    for column in _WITH_ID:
        op.create_index(f"ix_thread_{column}_id", "thread", [column, "id"])
    op.create_index("ix_thread_evaluate_at", "thread", ["state", "evaluate_at", "id"])
    op.create_table(
        "thread_tag",
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("value", sa.String(200), nullable=False),
        sa.Column("thread_id", sa.String(40), nullable=False),
        sa.ForeignKeyConstraint(["thread_id"], ["thread.id"], name=op.f("fk_thread_tag_thread_id")),
        sa.PrimaryKeyConstraint("key", "value", "thread_id", name=op.f("pk_thread_tag")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_thread_tag_thread_id", "thread_tag", ["thread_id"])
    sqlite = op.get_bind().dialect.name == "sqlite"
    each = "json_each" if sqlite else "jsonb_each_text"
    op.execute(
        "INSERT INTO thread_tag (key, value, thread_id) "  # noqa: S608 - one of two words of our own
        f"SELECT one.key, one.value, thread.id FROM thread, {each}(thread.tags) AS one"
    )
    for statement in _SQLITE if sqlite else _POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    """Take this step back."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    for name in ("thread_tag_added", "thread_tag_changed"):
        op.execute(f"DROP TRIGGER {name}" if sqlite else f"DROP TRIGGER {name} ON thread")
        if not sqlite:
            op.execute(f"DROP FUNCTION {name}()")
    op.drop_table("thread_tag")
    op.drop_index("ix_thread_evaluate_at", table_name="thread")
    for column in _WITH_ID:
        op.drop_index(f"ix_thread_{column}_id", table_name="thread")
    op.create_index("ix_thread_owner", "thread", ["owner"])
