"""The tables, which Alembic reads too.

Constraints hold what code must not break: one registration per provider object, one open work item per
thread, one sweep per policy and slot, one attempt per item, fence and stage, one leaf per index.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from worker.model.work import OPEN_ITEM_STATES


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes with microseconds on both databases; SQLite stores them as sortable text."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive datetime: it would mean another instant on another machine."""
        if value is None:
            return None
        if value.tzinfo is None:
            msg = "a naive datetime reached the database"
            raise ValueError(msg)
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware UTC datetime."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


Json = JSON().with_variant(JSONB(), "postgresql")
# SQLite counts rows by INTEGER only.
BigId = BigInteger().with_variant(Integer(), "sqlite")
_OPEN = text("state in ({})".format(", ".join(f"'{state.value}'" for state in OPEN_ITEM_STATES)))

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _col(name: str, type_: Any, *more: Any, **options: Any) -> Column[Any]:  # noqa: ANN401 - SQLAlchemy's own
    return Column(name, type_, *more, **{"nullable": False, **options})


def _maybe(name: str, type_: Any, **options: Any) -> Column[Any]:  # noqa: ANN401 - SQLAlchemy's own
    return Column(name, type_, nullable=True, **options)


thread = Table(
    "thread",
    metadata,
    _col("id", String(40), primary_key=True),
    _col("kind", String(20)),
    _col("external_id", String(160)),
    _col("project", String(200)),
    _col("owner", String(200)),
    _col("tags", Json),
    _maybe("ttl", String(40)),
    _maybe("created_at", UtcDateTime),
    _maybe("last_activity_at", UtcDateTime),
    _col("registered_at", UtcDateTime),
    _col("state", String(16)),
    # The account as it was at registration; NULL would be unequal to itself in the unique index.
    _col("provider", String(40)),
    _col("base_url", String(400)),
    _col("organization", String(200)),
    _col("provider_project", String(200)),
    _col("children", Json),
    # The earliest instant at which time alone can change the outcome, the sweep it then belongs to,
    # and the bundle that both were computed under. Holds are never part of them.
    _maybe("evaluate_at", UtcDateTime),
    _maybe("due_policy", String(200)),
    _maybe("evaluated_under", String(80)),
    _maybe("grade", String(40)),
    _maybe("evidence", Json),
    _maybe("reason", Text),
    # When what was called deleted is read again; moved on by whoever takes it, so it is a lease too.
    _maybe("reverify_at", UtcDateTime),
    _col("reverified", Integer, server_default=text("0")),
    _col("version", Integer, server_default=text("1")),
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
    Index("ix_thread_owner", "owner"),
    Index(
        "ix_thread_reverify",
        "reverify_at",
        postgresql_where=text("reverify_at is not null"),
        sqlite_where=text("reverify_at is not null"),
    ),
    Index("ix_thread_external_id", "external_id"),
)

hold = Table(
    "hold",
    metadata,
    _col("id", String(40), primary_key=True),
    _col("matter", String(200)),
    _col("reason", Text),
    _col("scope", Json),
    _col("placed_at", UtcDateTime),
    _col("placed_by", String(200)),
    _maybe("released_at", UtcDateTime),
    _maybe("released_by", String(200)),
    _maybe("release_reason", Text),
    _maybe("answer", Json),
    Index("ix_hold_active", "placed_at", postgresql_where=text("released_at is null")),
)

erasure = Table(
    "erasure",
    metadata,
    _col("id", String(40), primary_key=True),
    _maybe("owner", String(200)),
    _col("ids", Json),
    _col("reason", Text),
    _col("at", UtcDateTime),
    _col("ordered_at", UtcDateTime),
    _col("ordered_by", String(200)),
    _maybe("answer", Json),
)

erasure_thread = Table(
    "erasure_thread",
    metadata,
    _col("erasure_id", String(40), ForeignKey("erasure.id"), primary_key=True),
    _col("thread_id", String(40), ForeignKey("thread.id"), primary_key=True),
    Index("ix_erasure_thread_thread_id", "thread_id"),
)

notice = Table(
    "notice",
    metadata,
    _col("thread_id", String(40), ForeignKey("thread.id"), primary_key=True),
    _col("at", UtcDateTime, primary_key=True),
    _maybe("promised", UtcDateTime),
)

bundle = Table(
    "bundle",
    metadata,
    _col("digest", String(80), primary_key=True),
    _col("canonical", Text),
    _col("origin", Json),
    _col("first_seen_at", UtcDateTime),
)

bundle_in_force = Table(
    "bundle_in_force",
    metadata,
    _col("id", Integer, CheckConstraint("id = 1", name="single"), primary_key=True, autoincrement=False),
    _col("digest", String(80), ForeignKey("bundle.digest")),
    _col("activated_at", UtcDateTime),
    # Threads whose evaluate_at still stands under an older bundle; no sweep plans before it is done.
    _maybe("recompute_after", String(40)),
    _col("recomputed", Boolean),
)

policy_since = Table(
    "policy_since",
    metadata,
    _col("policy", String(200), primary_key=True),
    _col("since", UtcDateTime),
)

protection = Table(
    "protection",
    metadata,
    # One row per project and one `*`. Arming takes it FOR SHARE, a hold or a pause FOR UPDATE.
    _col("scope", String(200), primary_key=True),
    _col("version", Integer),
    _maybe("paused_at", UtcDateTime),
    _maybe("paused_by", String(200)),
    _maybe("reason", Text),
)

sweep = Table(
    "sweep",
    metadata,
    _col("id", String(40), primary_key=True),
    _col("policy", String(200)),
    _col("slot", String(80)),
    _col("state", String(20)),
    _col("bundle", String(80)),
    _col("dry_run", Boolean),
    _maybe("plan_digest", String(80)),
    _col("planned", Integer),
    _maybe("population", Integer),
    _col("released", Integer),
    _col("reasons", Json),
    # The last thread that was planned or released; a plan follows dates, so its instant stands beside it.
    _col("cursor", String(40)),
    _maybe("cursor_at", UtcDateTime),
    _col("begun_at", UtcDateTime),
    _maybe("released_at", UtcDateTime),
    _col("ordered_by", String(200)),
    _maybe("approved_by", String(200)),
    UniqueConstraint("policy", "slot"),
    Index("ix_sweep_state", "state"),
)

sweep_plan = Table(
    "sweep_plan",
    metadata,
    # No foreign keys: their checks, row by row, cost more than all the rest of a plan. Lines are made under
    # the lock of their sweep out of the threads themselves, and neither is ever removed.
    _col("sweep_id", String(40), primary_key=True),
    _col("thread_id", String(40), primary_key=True),
    _maybe("eligible_at", UtcDateTime),
    sqlite_with_rowid=False,
)

work_item = Table(
    "work_item",
    metadata,
    _col("id", String(40), primary_key=True),
    _col("sweep_id", String(40), ForeignKey("sweep.id")),
    _col("thread_id", String(40), ForeignKey("thread.id")),
    _col("policy", String(200)),
    _col("project", String(200)),
    _col("kind", String(20)),
    _col("credential", String(80)),
    _col("state", String(16)),
    _col("next_at", UtcDateTime),
    _col("fence", Integer),
    _maybe("lease_until", UtcDateTime),
    _maybe("claimed_by", String(200)),
    _col("attempts", Integer),
    _col("reads", Integer),
    _col("rereads", Integer),
    _col("rounds", Integer),
    _maybe("reason", Text),
    _maybe("grade", String(40)),
    _maybe("settled_at", UtcDateTime),
    # At most one open item per thread, whatever two sweeps or two beats plan.
    Index("uq_work_item_open", "thread_id", unique=True, postgresql_where=_OPEN, sqlite_where=_OPEN),
    Index("ix_work_item_due", "credential", "next_at", postgresql_where=_OPEN, sqlite_where=_OPEN),
    Index("ix_work_item_sweep", "sweep_id", "state"),
)

attempt = Table(
    "attempt",
    metadata,
    _col("item_id", String(40), ForeignKey("work_item.id"), primary_key=True),
    _col("fence", Integer, primary_key=True, autoincrement=False),
    _col("stage", String(16), primary_key=True),
    _col("thread_id", String(40), ForeignKey("thread.id")),
    _col("project", String(200)),
    _col("armed_at", UtcDateTime),
    _col("bundle", String(80)),
    _col("before", String(16)),
    _maybe("before_observation", Json),
    _col("children", String(8)),
    _col("children_found", Integer),
    _col("children_deleted", Integer),
    _maybe("answer", String(16)),
    _maybe("answer_observation", Json),
    _maybe("answered_at", UtcDateTime),
    Index("ix_attempt_thread", "thread_id"),
    Index(
        "ix_attempt_unanswered",
        "armed_at",
        postgresql_where=text("answer is null"),
        sqlite_where=text("answer is null"),
    ),
)

stopped_pair = Table(
    "stopped_pair",
    metadata,
    _col("project", String(200), primary_key=True),
    _col("kind", String(20), primary_key=True),
    _col("since", UtcDateTime),
    _col("probe_at", UtcDateTime),
    _col("failures", Integer),
    _maybe("reason", Text),
)

canary = Table(
    "canary",
    metadata,
    # Committed before the canary's own DELETE; one that a crash left is deleted at the next start.
    _col("project", String(200), primary_key=True),
    _col("kind", String(20), primary_key=True),
    _col("external_id", String(160), primary_key=True),
    _col("made_at", UtcDateTime),
)

api_key = Table(
    "api_key",
    metadata,
    _col("id", String(40), primary_key=True),
    _col("label", String(200)),
    _col("secret_sha256", String(64)),
    _col("scopes", Json),
    _col("projects", Json),
    _col("created_at", UtcDateTime),
    _maybe("expires_at", UtcDateTime),
    _maybe("revoked_at", UtcDateTime),
    _maybe("last_used_at", UtcDateTime),
)

audit_head = Table(
    "audit_head",
    metadata,
    _col("id", Integer, CheckConstraint("id = 1", name="single"), primary_key=True, autoincrement=False),
    _col("size", BigInteger),
    _col("news", BigInteger),
    _col("frontier", LargeBinary),
    _col("pseudonym_key", LargeBinary),
)

audit_leaf = Table(
    "audit_leaf",
    metadata,
    # Exact bytes, never JSON columns: what was hashed is what is kept.
    _col("idx", BigId, primary_key=True, autoincrement=False),
    _col("envelope", LargeBinary),
)

audit_body = Table(
    "audit_body",
    metadata,
    _col("idx", BigId, primary_key=True, autoincrement=False),
    _maybe("project", String(200)),
    _maybe("subject", String(40)),
    _col("type", String(40)),
    _col("body", LargeBinary),
    Index("ix_audit_body_project", "project", "idx"),
    Index("ix_audit_body_subject", "subject", "idx"),
)

audit_checkpoint = Table(
    "audit_checkpoint",
    metadata,
    _col("size", BigId, primary_key=True, autoincrement=False),
    _col("news", BigInteger),
    _col("sealed_at", UtcDateTime),
    _col("note", Text),
)

fact = Table(
    "fact",
    metadata,
    # Small facts about the service itself, such as beat's last tick.
    _col("name", String(80), primary_key=True),
    _col("value", Json),
    _col("at", UtcDateTime),
)
