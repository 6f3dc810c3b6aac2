"""Parked threads are taken up again, or accepted, by a person.

Revision: 0003
Before: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column("thread", sa.Column("retried_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("thread", sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Take this step back."""
    op.drop_column("thread", "accepted_at")
    op.drop_column("thread", "retried_at")
