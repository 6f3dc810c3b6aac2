"""The tables of previews and of approvals of bundles, in the same metadata as those of `tables.py`."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, String, Table, Text

from worker.store.tables import Json, UtcDateTime, metadata

__all__ = ["bundle_approval", "metadata", "preview"]

preview = Table(
    "preview",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("head_digest", String(80), nullable=False),
    # NULL: nothing was in force yet.
    Column("base_digest", String(80), nullable=True),
    Column("canonical", Text, nullable=False),
    Column("result", Json, nullable=False),
    Column("origin", Json, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
    Column("made_by", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Index("ix_preview_head_digest", "head_digest"),
)

bundle_approval = Table(
    "bundle_approval",
    metadata,
    # One approval a preview: whoever wants another one looks at the registry again.
    Column("preview_id", String(40), ForeignKey("preview.id"), primary_key=True),
    Column("digest", String(80), nullable=False),
    Column("base_digest", String(80), nullable=False),
    Column("approved_by", String(200), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("reason", Text, nullable=False),
    Column("voided_at", UtcDateTime, nullable=True),
    Column("used_at", UtcDateTime, nullable=True),
    Index("ix_bundle_approval_digest", "digest", "base_digest"),
)
