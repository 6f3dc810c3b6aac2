"""Erasures keep what they reach, so that a registration that was on its way is covered too.

Revision: 0002
Before: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column(
        "erasure",
        sa.Column("projects", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
    )
    op.create_index(op.f("ix_erasure_at"), "erasure", ["at"])


def downgrade() -> None:
    """Take this step back."""
    op.drop_index(op.f("ix_erasure_at"), table_name="erasure")
    op.drop_column("erasure", "projects")
