"""Where a thread was registered and a sweep planned, for links between their traces.

Revision: 0020
Before: 0018
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "trace_start",
        sa.Column("subject", sa.String(length=40), nullable=False),
        sa.Column("traceparent", sa.String(length=55), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_trace_start")),
    )


def downgrade() -> None:
    """Take this step back."""
    op.drop_table("trace_start")
