"""What the coverage sweep counted, and where it goes on."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, String, Table, Text

from worker.store.column_types import UtcDateTime
from worker.store.tables.base import given, maybe, metadata

coverage = Table(
    "coverage",
    metadata,
    # What the newest look at one kind's list found; the next look replaces it.
    given("project", String(200), primary_key=True),
    given("kind", String(20), primary_key=True),
    given("found", BigInteger),
    given("registered", BigInteger),
    given("unregistered", BigInteger),
    maybe("problem", Text),
    given("looked_at", UtcDateTime),
)

coverage_look = Table(
    "coverage_look",
    metadata,
    # When a project is looked at next: moved on by whoever takes it, so it is the lease too. The fence
    # shuts out who held it before; kind, after and the counts say where a look goes on.
    given("project", String(200), primary_key=True),
    given("next_at", UtcDateTime),
    given("fence", Integer),
    maybe("kind", String(20)),
    maybe("after", String(200)),
    given("found", BigInteger),
    given("registered", BigInteger),
    # The unregistered number that people were told of.
    given("told", BigInteger),
)
