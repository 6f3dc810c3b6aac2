"""The Merkle log: exact bytes, never JSON columns, for what was hashed is what is kept."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from worker.store.column_types import BigId, UtcDateTime
from worker.store.tables.base import given, maybe, metadata

audit_head = Table(
    "audit_head",
    metadata,
    given("id", Integer, CheckConstraint("id = 1", name="single"), primary_key=True, autoincrement=False),
    given("size", BigInteger),
    given("news", BigInteger),
    given("frontier", LargeBinary),
    given("pseudonym_key", LargeBinary),
)

audit_leaf = Table(
    "audit_leaf",
    metadata,
    # Exact bytes, never JSON columns: what was hashed is what is kept.
    given("idx", BigId, primary_key=True, autoincrement=False),
    given("envelope", LargeBinary),
)

audit_body = Table(
    "audit_body",
    metadata,
    given("idx", BigId, primary_key=True, autoincrement=False),
    maybe("project", String(200)),
    maybe("subject", String(40)),
    given("type", String(40)),
    # Empty where it was shredded or pruned; audit_gone then names its leaf.
    given("body", LargeBinary),
    Index("ix_audit_body_project", "project", "idx"),
    Index("ix_audit_body_subject", "subject", "idx"),
)

# The leaves whose bodies are gone: ranges [first, until), each of which its entry names too.
audit_gone = Table(
    "audit_gone",
    metadata,
    given("first", BigId, CheckConstraint("first >= 0", name="first"), primary_key=True, autoincrement=False),
    given("until", BigInteger, CheckConstraint("until > first", name="range")),
    given("entry", BigInteger, CheckConstraint("entry >= until", name="later")),
    Index("ix_audit_gone_entry", "entry"),
)

audit_checkpoint = Table(
    "audit_checkpoint",
    metadata,
    given("size", BigId, primary_key=True, autoincrement=False),
    given("news", BigInteger),
    given("sealed_at", UtcDateTime),
    given("note", Text),
)

# Epoch 1 has no row. The entry at ``first`` says what was lost and why it was opened.
audit_epoch = Table(
    "audit_epoch",
    metadata,
    given(
        "number", Integer, CheckConstraint("number > 1", name="later"), primary_key=True, autoincrement=False
    ),
    given("first", BigInteger),
    given("opened_at", UtcDateTime),
    UniqueConstraint("first"),
)

audit_tile = Table(
    "audit_tile",
    metadata,
    given("level", Integer, primary_key=True, autoincrement=False),
    given("n", BigId, primary_key=True, autoincrement=False),
    # The root over the tile's hashes is a hash of the tile above, which is not full for long.
    given("root", LargeBinary),
    given("data", LargeBinary),
)

audit_key = Table(
    "audit_key",
    metadata,
    given("origin", String(200), primary_key=True),
    # The first tree size that the key may sign.
    given("since", BigId, primary_key=True, autoincrement=False),
    given("vkey", Text),
    given("at", UtcDateTime),
)
