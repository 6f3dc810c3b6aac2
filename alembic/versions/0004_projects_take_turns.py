"""Projects on one credential take turns when their work is claimed.

Revision: 0004
Before: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_OPEN = sa.text("state in ('planned', 'claimed', 'waiting')")


def upgrade() -> None:
    """Apply this step."""
    op.create_index(
        op.f("ix_work_item_turn"),
        "work_item",
        ["credential", "project", "next_at"],
        postgresql_where=_OPEN,
        sqlite_where=_OPEN,
    )


def downgrade() -> None:
    """Take this step back."""
    op.drop_index(op.f("ix_work_item_turn"), table_name="work_item")
