"""Exports that were asked for over HTTP, and the finished bundles in pieces until they expire."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, String, Table

from worker.store.column_types import Json, UtcDateTime
from worker.store.tables.base import given, maybe, metadata

export = Table(
    "export",
    metadata,
    given("id", String(40), primary_key=True),
    given("project", String(200)),
    given("asked", Json),
    given("asked_by", String(200)),
    given("asked_at", UtcDateTime),
    given("state", String(16)),
    # Grows at each claim and shuts out a maker whose lease ran out.
    given("fence", Integer),
    maybe("lease_until", UtcDateTime),
    given("done", BigInteger),
    # NULL: not known yet.
    maybe("total", BigInteger),
    maybe("made", Json),
    maybe("problem", Json),
    maybe("ended_at", UtcDateTime),
    maybe("expires_at", UtcDateTime),
    Index("ix_export_state", "state", "asked_at"),
)

export_piece = Table(
    "export_piece",
    metadata,
    given("export_id", String(40), ForeignKey("export.id"), primary_key=True),
    given("fence", Integer, primary_key=True),
    given("n", Integer, primary_key=True),
    given("data", LargeBinary),
)
