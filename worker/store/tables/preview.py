"""Previews of bundles, and the approvals of those that loosen."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, Table, Text

from worker.store.column_types import Json, UtcDateTime
from worker.store.tables.base import given, maybe, metadata

preview = Table(
    "preview",
    metadata,
    given("id", String(40), primary_key=True),
    given("head_digest", String(80)),
    # NULL: nothing was in force yet.
    maybe("base_digest", String(80)),
    given("canonical", Text),
    given("result", Json),
    given("origin", Json),
    given("made_at", UtcDateTime),
    given("made_by", String(200)),
    given("state", String(16)),
    Index("ix_preview_head_digest", "head_digest"),
)

bundle_approval = Table(
    "bundle_approval",
    metadata,
    # One approval a preview: whoever wants another one looks at the registry again.
    given("preview_id", String(40), ForeignKey("preview.id"), primary_key=True),
    given("digest", String(80)),
    given("base_digest", String(80)),
    given("approved_by", String(200)),
    given("at", UtcDateTime),
    given("expires_at", UtcDateTime),
    given("reason", Text),
    maybe("voided_at", UtcDateTime),
    maybe("used_at", UtcDateTime),
    Index("ix_bundle_approval_digest", "digest", "base_digest"),
)
