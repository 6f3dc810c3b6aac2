"""Where work began: the spans that registered threads and planned sweeps, kept for later links."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, select

from worker.store.inserting import insert_all
from worker.store.tables import trace_start
from worker.telemetry import traces


def keep(db: Connection, spans: Mapping[str, str | None]) -> None:
    """Keep by the ids of new threads or sweeps the span in which each began, where there is one."""
    known = [{"subject": one, "traceparent": span} for one, span in sorted(spans.items()) if span is not None]
    if known:
        insert_all(db, trace_start, known)


def of(db: Connection, subjects: Collection[str]) -> dict[str, str]:
    """Return by subject the traceparent of what is known; nothing is read while no traces are made."""
    if traces.tracing() is None or not subjects:
        return {}
    rows = db.execute(select(trace_start).where(trace_start.c.subject.in_(sorted(subjects))))
    return {row.subject: row.traceparent for row in rows}
