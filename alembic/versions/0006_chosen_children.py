"""Chosen children in a table of their own, so that who else refers to one is found by an index.

Revision: 0006
Before: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_FILES = ("file-", "file_")
_PREFIXES = {"thread": (*_FILES, "vs_"), "vector_store": _FILES}


def upgrade() -> None:
    """Apply this step."""
    made = op.create_table(
        "thread_child",
        sa.Column("thread_id", sa.String(length=40), nullable=False),
        sa.Column("child", sa.String(length=160), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=24), nullable=True),
        sa.Column("armed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answer", sa.String(length=16), nullable=True),
        sa.Column("detached", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["thread_id"], ["thread.id"], name=op.f("fk_thread_child_thread_id")),
        sa.PrimaryKeyConstraint("thread_id", "child", name=op.f("pk_thread_child")),
    )
    op.create_index("ix_thread_child_child", "thread_child", ["child"], unique=False)
    _copy(made)


def _copy(made: sa.Table) -> None:
    """Take over what producers chose before; what no thread can have as a child stays where it is."""
    thread = sa.table("thread", sa.column("id"), sa.column("kind"), sa.column("children", _JSON))
    query = sa.select(thread.c.id, thread.c.kind, thread.c.children)
    db = op.get_bind()
    for thread_id, kind, children in db.execute(query.where(thread.c.kind.in_(sorted(_PREFIXES)))).all():
        rows = [
            {"thread_id": thread_id, "child": child, "place": place, "state": "chosen", "detached": False}
            for place, child in enumerate(dict.fromkeys(children))
            if child.startswith(_PREFIXES[kind])
        ]
        if rows:
            db.execute(made.insert(), rows)


def downgrade() -> None:
    """Take this step back."""
    op.drop_index("ix_thread_child_child", table_name="thread_child")
    op.drop_table("thread_child")
