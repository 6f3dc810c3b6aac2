"""Bundles of policies, and which one is in force."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Integer, String, Table, Text

from worker.store.column_types import Json, UtcDateTime
from worker.store.tables.base import given, maybe, metadata

bundle = Table(
    "bundle",
    metadata,
    given("digest", String(80), primary_key=True),
    given("canonical", Text),
    given("origin", Json),
    given("first_seen_at", UtcDateTime),
)

bundle_in_force = Table(
    "bundle_in_force",
    metadata,
    given("id", Integer, CheckConstraint("id = 1", name="single"), primary_key=True, autoincrement=False),
    given("digest", String(80), ForeignKey("bundle.digest")),
    given("activated_at", UtcDateTime),
    # Threads whose evaluate_at still stands under an older bundle; no sweep plans before it is done.
    maybe("recompute_after", String(40)),
    given("recomputed", Boolean),
)

policy_since = Table(
    "policy_since",
    metadata,
    given("policy", String(200), primary_key=True),
    given("since", UtcDateTime),
)
