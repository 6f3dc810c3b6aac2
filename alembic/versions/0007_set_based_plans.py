"""Set-based plans: an index in their order, the instant of their cursor, and lines without row checks.

Revision: 0007
Before: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_CHECKS = (("sweep_id", "sweep"), ("thread_id", "thread"))


def upgrade() -> None:
    """Apply this step."""
    with op.batch_alter_table("thread", schema=None) as batch_op:
        batch_op.drop_index("ix_thread_due")
        batch_op.create_index("ix_thread_due", ["state", "due_policy", "evaluate_at", "id"])
    op.add_column("sweep", sa.Column("cursor_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table(
        "sweep_plan", schema=None, table_kwargs={"sqlite_with_rowid": False}
    ) as batch_op:
        for column, _ in _CHECKS:
            batch_op.drop_constraint(op.f(f"fk_sweep_plan_{column}"), type_="foreignkey")


def downgrade() -> None:
    """Take this step back."""
    with op.batch_alter_table("sweep_plan", schema=None) as batch_op:
        for column, table in _CHECKS:
            batch_op.create_foreign_key(op.f(f"fk_sweep_plan_{column}"), table, [column], ["id"])
    op.drop_column("sweep", "cursor_at")
    with op.batch_alter_table("thread", schema=None) as batch_op:
        batch_op.drop_index("ix_thread_due")
        batch_op.create_index("ix_thread_due", ["state", "evaluate_at", "due_policy"])
