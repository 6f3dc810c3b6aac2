"""How often in a row an item was claimed and left without a word.

Revision: 0021
Before: 0020
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_LEFT = sa.text("state = 'claimed' and abandoned > 0")


def upgrade() -> None:
    """Apply this step."""
    op.add_column("work_item", sa.Column("abandoned", sa.Integer(), server_default="0", nullable=False))
    op.create_index(
        "ix_work_item_abandoned", "work_item", ["credential"], postgresql_where=_LEFT, sqlite_where=_LEFT
    )


def downgrade() -> None:
    """Take this step back."""
    op.drop_index("ix_work_item_abandoned", table_name="work_item")
    op.drop_column("work_item", "abandoned")
