"""Threads as they are registered, and the children that a producer chose."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from worker.store.column_types import Json, UtcDateTime
from worker.store.tables.base import given, maybe, metadata

thread = Table(
    "thread",
    metadata,
    given("id", String(40), primary_key=True),
    given("kind", String(20)),
    given("external_id", String(160)),
    given("project", String(200)),
    given("owner", String(200)),
    given("tags", Json),
    maybe("ttl", String(40)),
    maybe("created_at", UtcDateTime),
    maybe("last_activity_at", UtcDateTime),
    given("registered_at", UtcDateTime),
    given("state", String(16)),
    # The account as it was at registration; NULL would be unequal to itself in the unique index.
    given("provider", String(40)),
    given("base_url", String(400)),
    given("organization", String(200)),
    given("provider_project", String(200)),
    given("children", Json),
    # The earliest instant at which time alone can change the outcome, the sweep it then belongs to,
    # and the bundle that both were computed under. Holds are never part of them.
    maybe("evaluate_at", UtcDateTime),
    maybe("due_policy", String(200)),
    maybe("evaluated_under", String(80)),
    maybe("grade", String(40)),
    maybe("evidence", Json),
    maybe("reason", Text),
    # When a person took a parked thread up again, or accepted why it is parked.
    maybe("retried_at", UtcDateTime),
    maybe("accepted_at", UtcDateTime),
    # When what was called deleted is read again; moved on by whoever takes it, so it is a lease too.
    maybe("reverify_at", UtcDateTime),
    given("reverified", Integer, server_default=text("0")),
    given("version", Integer, server_default=text("1")),
    UniqueConstraint("project", "kind", "external_id"),
    UniqueConstraint(
        "provider",
        "base_url",
        "organization",
        "provider_project",
        "kind",
        "external_id",
        name="uq_thread_registered_once",
    ),
    # In the order in which a sweep walks its due threads, so that it never passes those that are not due.
    Index("ix_thread_due", "state", "due_policy", "evaluate_at", "id"),
    Index("ix_thread_project", "project", "kind", "state"),
    # One for each filter of a list, in the order of its pages.
    Index("ix_thread_project_id", "project", "id"),
    Index("ix_thread_owner_id", "owner", "id"),
    Index("ix_thread_kind_id", "kind", "id"),
    Index("ix_thread_state_id", "state", "id"),
    Index("ix_thread_evaluate_at", "state", "evaluate_at", "id"),
    Index(
        "ix_thread_reverify",
        "reverify_at",
        postgresql_where=text("reverify_at is not null"),
        sqlite_where=text("reverify_at is not null"),
    ),
    Index("ix_thread_external_id", "external_id"),
)

# Kept by triggers on `thread` (migration 0015), so that no writer of tags leaves it behind; only read here.
thread_tag = Table(
    "thread_tag",
    metadata,
    Column("key", String(200), primary_key=True),
    Column("value", String(200), primary_key=True),
    Column("thread_id", String(40), ForeignKey("thread.id"), primary_key=True),
    Index("ix_thread_tag_thread_id", "thread_id"),
    sqlite_with_rowid=False,
)

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
