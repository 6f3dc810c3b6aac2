"""An erasure has a deadline, and how it stood when it was last looked at is kept beside it.

Orders of before get the deadline that the law gives them: one month from their instant. All of them are
looked at anew, so that how they stand becomes known.

Revision: 0019
Before: 0017
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0017"
branch_labels = None
depends_on = None

_AT = sa.DateTime(timezone=True)
_ERASURE = sa.table("erasure", sa.column("id", sa.String), sa.column("at", _AT), sa.column("deadline", _AT))
_DECEMBER = 12


def upgrade() -> None:
    """Apply this step."""
    for column in (
        sa.Column("deadline", _AT, nullable=True),
        sa.Column("status", sa.String(length=16), server_default=sa.text("'open'"), nullable=False),
        sa.Column("looked_at", _AT, nullable=True),
        sa.Column("closed_at", _AT, nullable=True),
    ):
        op.add_column("erasure", column)
    bind = op.get_bind()
    for row in bind.execute(sa.select(_ERASURE.c.id, _ERASURE.c.at)).all():
        dated = sa.update(_ERASURE).where(_ERASURE.c.id == row.id)
        bind.execute(dated.values(deadline=_a_month_later(row.at)))
    op.create_index("ix_erasure_status", "erasure", ["status", "deadline"])
    op.create_index("ix_erasure_looks", "erasure", ["closed_at", "looked_at"])


def downgrade() -> None:
    """Take this step back."""
    op.drop_index("ix_erasure_looks", table_name="erasure")
    op.drop_index("ix_erasure_status", table_name="erasure")
    for name in ("closed_at", "looked_at", "status", "deadline"):
        op.drop_column("erasure", name)


def _a_month_later(at: datetime) -> datetime:
    """One month of UTC's calendar, clamped to its end; SQLite gives an instant without its zone."""
    at = at.astimezone(UTC) if at.tzinfo else at
    year, month = (at.year + 1, 1) if at.month == _DECEMBER else (at.year, at.month + 1)
    return at.replace(year=year, month=month, day=min(at.day, monthrange(year, month)[1]))
