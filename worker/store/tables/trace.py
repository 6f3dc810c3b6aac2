"""Where work began, for the traces of what is done about it days later."""

from __future__ import annotations

from sqlalchemy import String, Table

from worker.store.tables.base import given, metadata

trace_start = Table(
    "trace_start",
    metadata,
    # A thread's or a sweep's id, and the W3C traceparent of the span that registered or planned it. A row is
    # written only while traces are made.
    given("subject", String(40), primary_key=True),
    given("traceparent", String(55)),
)
