"""Answers to requests that came with an Idempotency-Key, kept for a day."""

from __future__ import annotations

from sqlalchemy import Index, Integer, LargeBinary, String, Table

from worker.store.column_types import Json, UtcDateTime
from worker.store.tables.base import given, maybe, metadata

kept_answer = Table(
    "kept_answer",
    metadata,
    # SHA-256 of caller, route and key: the key itself is kept nowhere.
    given("id", String(64), primary_key=True),
    # SHA-256 of what was asked.
    given("digest", String(64)),
    # Who does it; another id at each claim. A count would begin anew with a row that was removed.
    given("claim", String(40)),
    # NULL: it is answered.
    maybe("lease_until", UtcDateTime),
    maybe("status", Integer),
    maybe("headers", Json),
    # NULL with a status: the answer was not to be kept, and `withheld` says why.
    maybe("body", LargeBinary),
    maybe("withheld", String(16)),
    given("expires_at", UtcDateTime),
    Index("ix_kept_answer_expires_at", "expires_at"),
)
