"""Tiles of the log's tree, and the keys that sign it.

A log that exists already gets its tiles from beat, some thousand leaves at a time, and its key's row when it
is next sealed: no migration reads every leaf in one transaction.

Revision: 0009
Before: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "audit_tile",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("n", _BIG, autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "n", name=op.f("pk_audit_tile")),
    )
    op.create_table(
        "audit_key",
        sa.Column("origin", sa.String(length=200), nullable=False),
        sa.Column("since", _BIG, autoincrement=False, nullable=False),
        sa.Column("vkey", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("origin", "since", name=op.f("pk_audit_key")),
    )


def downgrade() -> None:
    """Take this step back."""
    op.drop_table("audit_key")
    op.drop_table("audit_tile")
