"""Holds, erasures, notices, and the rows that order arming against them."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Integer, String, Table, Text, text

from worker.store.column_types import Json, UtcDateTime
from worker.store.tables.base import given, maybe, metadata

hold = Table(
    "hold",
    metadata,
    given("id", String(40), primary_key=True),
    given("matter", String(200)),
    given("reason", Text),
    given("scope", Json),
    given("placed_at", UtcDateTime),
    given("placed_by", String(200)),
    maybe("released_at", UtcDateTime),
    maybe("released_by", String(200)),
    maybe("release_reason", Text),
    maybe("answer", Json),
    Index("ix_hold_active", "placed_at", postgresql_where=text("released_at is null")),
)

erasure = Table(
    "erasure",
    metadata,
    given("id", String(40), primary_key=True),
    maybe("owner", String(200)),
    given("ids", Json),
    given("reason", Text),
    given("at", UtcDateTime),
    given("ordered_at", UtcDateTime),
    given("ordered_by", String(200)),
    # How many threads had which status when it was last looked at, and which alerts told of it.
    maybe("answer", Json),
    # What the order reaches; NULL is every project.
    maybe("projects", Json),
    maybe("deadline", UtcDateTime),
    # As it stood at the last look, which beat's ticks make; closed once nothing about it can change any more.
    given("status", String(16), server_default=text("'open'")),
    maybe("looked_at", UtcDateTime),
    maybe("closed_at", UtcDateTime),
    Index("ix_erasure_at", "at"),
    Index("ix_erasure_status", "status", "deadline"),
    Index("ix_erasure_looks", "closed_at", "looked_at"),
)

erasure_thread = Table(
    "erasure_thread",
    metadata,
    given("erasure_id", String(40), ForeignKey("erasure.id"), primary_key=True),
    given("thread_id", String(40), ForeignKey("thread.id"), primary_key=True),
    Index("ix_erasure_thread_thread_id", "thread_id"),
)

notice = Table(
    "notice",
    metadata,
    given("thread_id", String(40), ForeignKey("thread.id"), primary_key=True),
    given("at", UtcDateTime, primary_key=True),
    maybe("promised", UtcDateTime),
)

protection = Table(
    "protection",
    metadata,
    # One row per project and one `*`. Arming takes it FOR SHARE, a hold or a pause FOR UPDATE.
    given("scope", String(200), primary_key=True),
    given("version", Integer),
    maybe("paused_at", UtcDateTime),
    maybe("paused_by", String(200)),
    maybe("reason", Text),
)
