"""Exports that are asked for over HTTP, and the finished bundles in pieces.

Revision: 0017
Before: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "export",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("asked", _JSON, nullable=False),
        sa.Column("asked_by", sa.String(length=200), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("made", _JSON, nullable=True),
        sa.Column("problem", _JSON, nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_export")),
    )
    op.create_index("ix_export_state", "export", ["state", "asked_at"], unique=False)
    op.create_table(
        "export_piece",
        sa.Column("export_id", sa.String(length=40), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["export_id"], ["export.id"], name=op.f("fk_export_piece_export_id")),
        sa.PrimaryKeyConstraint("export_id", "fence", "n", name=op.f("pk_export_piece")),
    )


def downgrade() -> None:
    """Take this step back."""
    op.drop_table("export_piece")
    op.drop_index("ix_export_state", table_name="export")
    op.drop_table("export")
