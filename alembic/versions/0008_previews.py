"""Previews of bundles, and approvals of those that loosen.

Revision: 0008
Before: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "preview",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("head_digest", sa.String(length=80), nullable=False),
        sa.Column("base_digest", sa.String(length=80), nullable=True),
        sa.Column("canonical", sa.Text(), nullable=False),
        sa.Column("result", _JSON, nullable=False),
        sa.Column("origin", _JSON, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_by", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preview")),
    )
    op.create_index("ix_preview_head_digest", "preview", ["head_digest"], unique=False)
    op.create_table(
        "bundle_approval",
        sa.Column("preview_id", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("base_digest", sa.String(length=80), nullable=False),
        sa.Column("approved_by", sa.String(length=200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["preview_id"], ["preview.id"], name=op.f("fk_bundle_approval_preview_id")),
        sa.PrimaryKeyConstraint("preview_id", name=op.f("pk_bundle_approval")),
    )
    op.create_index("ix_bundle_approval_digest", "bundle_approval", ["digest", "base_digest"], unique=False)


def downgrade() -> None:
    """Take this step back."""
    op.drop_index("ix_bundle_approval_digest", table_name="bundle_approval")
    op.drop_table("bundle_approval")
    op.drop_index("ix_preview_head_digest", table_name="preview")
    op.drop_table("preview")
