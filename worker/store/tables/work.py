"""Sweeps with their plans, work items and the attempts at them."""

from __future__ import annotations

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint, text

from worker.model.work import OPEN_ITEM_STATES
from worker.store.column_types import Json, UtcDateTime
from worker.store.tables.base import given, maybe, metadata

_OPEN = text("state in ({})".format(", ".join(f"'{state.value}'" for state in OPEN_ITEM_STATES)))
_LEFT = text("state = 'claimed' and abandoned > 0")

sweep = Table(
    "sweep",
    metadata,
    given("id", String(40), primary_key=True),
    given("policy", String(200)),
    given("slot", String(80)),
    given("state", String(20)),
    given("bundle", String(80)),
    given("dry_run", Boolean),
    maybe("plan_digest", String(80)),
    given("planned", Integer),
    maybe("population", Integer),
    given("released", Integer),
    given("reasons", Json),
    # The last thread that was planned or released; a plan follows dates, so its instant stands beside it.
    given("cursor", String(40)),
    maybe("cursor_at", UtcDateTime),
    given("begun_at", UtcDateTime),
    maybe("released_at", UtcDateTime),
    given("ordered_by", String(200)),
    maybe("approved_by", String(200)),
    UniqueConstraint("policy", "slot"),
    Index("ix_sweep_state", "state"),
)

sweep_plan = Table(
    "sweep_plan",
    metadata,
    # No foreign keys: their checks, row by row, cost more than all the rest of a plan. Lines are made under
    # the lock of their sweep out of the threads themselves, and neither is ever removed.
    given("sweep_id", String(40), primary_key=True),
    given("thread_id", String(40), primary_key=True),
    maybe("eligible_at", UtcDateTime),
    sqlite_with_rowid=False,
)

work_item = Table(
    "work_item",
    metadata,
    given("id", String(40), primary_key=True),
    given("sweep_id", String(40), ForeignKey("sweep.id")),
    given("thread_id", String(40), ForeignKey("thread.id")),
    given("policy", String(200)),
    given("project", String(200)),
    given("kind", String(20)),
    given("credential", String(80)),
    given("state", String(16)),
    given("next_at", UtcDateTime),
    given("fence", Integer),
    maybe("lease_until", UtcDateTime),
    maybe("claimed_by", String(200)),
    given("attempts", Integer),
    given("reads", Integer),
    given("rereads", Integer),
    given("rounds", Integer),
    # How often in a row it was claimed again because the lease before had run out without a word.
    given("abandoned", Integer, server_default="0"),
    maybe("reason", Text),
    maybe("grade", String(40)),
    maybe("settled_at", UtcDateTime),
    # At most one open item per thread, whatever two sweeps or two beats plan.
    Index("uq_work_item_open", "thread_id", unique=True, postgresql_where=_OPEN, sqlite_where=_OPEN),
    Index("ix_work_item_due", "credential", "next_at", postgresql_where=_OPEN, sqlite_where=_OPEN),
    # Projects on one credential take turns.
    Index(
        "ix_work_item_turn", "credential", "project", "next_at", postgresql_where=_OPEN, sqlite_where=_OPEN
    ),
    Index("ix_work_item_sweep", "sweep_id", "state"),
    Index("ix_work_item_abandoned", "credential", postgresql_where=_LEFT, sqlite_where=_LEFT),
)

attempt = Table(
    "attempt",
    metadata,
    given("item_id", String(40), ForeignKey("work_item.id"), primary_key=True),
    given("fence", Integer, primary_key=True, autoincrement=False),
    given("stage", String(16), primary_key=True),
    given("thread_id", String(40), ForeignKey("thread.id")),
    given("project", String(200)),
    given("armed_at", UtcDateTime),
    given("bundle", String(80)),
    given("before", String(16)),
    maybe("before_observation", Json),
    given("children", String(8)),
    given("children_found", Integer),
    given("children_deleted", Integer),
    maybe("answer", String(16)),
    maybe("answer_observation", Json),
    maybe("answered_at", UtcDateTime),
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
    given("project", String(200), primary_key=True),
    given("kind", String(20), primary_key=True),
    given("since", UtcDateTime),
    given("probe_at", UtcDateTime),
    given("failures", Integer),
    maybe("reason", Text),
)

canary = Table(
    "canary",
    metadata,
    # Committed before the canary's own DELETE; one that a crash left is deleted at the next start.
    given("project", String(200), primary_key=True),
    given("kind", String(20), primary_key=True),
    given("external_id", String(160), primary_key=True),
    given("made_at", UtcDateTime),
)
