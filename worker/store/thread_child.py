"""The table of chosen children: what a producer named to go before its container, and how far each came.

Beside `tables`, and part of the same metadata: whoever compares all tables imports it from here.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table

from worker.store.tables import UtcDateTime, metadata

__all__ = ["metadata", "thread_child"]

thread_child = Table(
    "thread_child",
    metadata,
    Column("thread_id", String(40), ForeignKey("thread.id"), primary_key=True),
    Column("child", String(160), primary_key=True),
    Column("place", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String(24)),
    # Set before a DELETE may leave; the answer is that of the child's own DELETE, and NULL may mean lost.
    Column("armed_at", UtcDateTime),
    Column("answer", String(16)),
    # Whether the DELETE that takes a file out of its vector store may have left.
    Column("detached", Boolean, nullable=False),
    Index("ix_thread_child_child", "child"),
)
