"""What the harness knows and Tenure does not: put beside Tenure's tables, so that SQL can compare them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, text

from tests.chaos.people import People
from worker.sandbox.request_log import RecordedRequest
from worker.sandbox.server import SandboxServer
from worker.store import log
from worker.store.engine import Database

# Temporary, so they vanish with the connection. `at` and the like are seconds since 1970.
_TABLES = (
    # What the producers were answered, and what has to become of it.
    (
        "told (thread_id text, external_id text, kind text, project text, fate text, "
        "due_at double precision, held_at double precision, withdrawn_at double precision, ordered integer)"
    ),
    # From an answered pause until deletes were allowed again.
    "pause (project text, begun double precision, ended double precision)",
    # What nobody registered.
    "bystander (external_id text)",
    # Every DELETE that reached the provider, the provider's own time of it, and whether it took effect.
    (
        "wire (n integer, external_id text, child text, at double precision, status integer, fault text, "
        "request_id text)"
    ),
    # What still exists at the provider.
    "remaining (external_id text)",
    # The log's entries, as far as invariants speak of them.
    (
        "entry (idx integer, type text, subject text, item text, fence integer, stage text, grade text, "
        "control integer, request_id text)"
    ),
)


def lay_out(db: Connection, people: People, sandbox: SandboxServer, database: Database) -> None:
    """Make the tables and fill them."""
    make_tables(db)
    fill(
        db,
        "told",
        (
            {
                "thread_id": one.thread_id,
                "external_id": one.external_id,
                "kind": one.kind,
                "project": one.project,
                "fate": one.fate,
                "due_at": one.due_at,
                "held_at": people.holds.get(one.owner),
                "withdrawn_at": one.withdrawn_at,
                "ordered": int(one.ordered),
            }
            for one in people.told.values()
        ),
    )
    fill(db, "pause", ({"project": o.project, "begun": o.begun, "ended": o.ended} for o in people.pauses))
    fill(db, "bystander", ({"external_id": one} for one in people.bystanders))
    fill(db, "wire", (_on_wire(one) for one in sandbox.requests() if one.method == "DELETE"))
    live = sandbox.store.state().live
    fill(db, "remaining", ({"external_id": one} for ids in live.values() for one in ids))
    with database.read() as reader:
        stored = log.entries_after(reader, limit=10_000_000)
    fill(db, "entry", (_entry(one) for one in stored))


def make_tables(db: Connection) -> None:
    """Make the tables, empty."""
    for table in _TABLES:
        db.execute(text(f"create temporary table {table}"))


def fill(db: Connection, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Put rows into one of the tables."""
    given = [dict(one) for one in rows]
    if given:
        names = ", ".join(given[0])
        values = ", ".join(f":{name}" for name in given[0])
        db.execute(text(f"insert into {table} ({names}) values ({values})"), given)  # noqa: S608 - our own names


def _on_wire(one: RecordedRequest) -> dict[str, Any]:
    # /v1/conversations/{id} or /v1/conversations/{id}/items/{child}
    parts = one.path.strip("/").split("/")
    return {
        "n": one.n,
        "external_id": parts[2],
        "child": parts[4] if len(parts) > 4 else None,
        "at": one.at.timestamp(),
        "status": one.status,
        "fault": one.fault.value if one.fault else None,
        "request_id": one.request_id,
    }


def _entry(one: log.StoredEntry) -> dict[str, Any]:
    body = json.loads(one.body)
    observation = body.get("observation") or {}
    controls = [control for tried in body.get("passes") or () for _, control in tried["afters"]]
    controls += [tried["control"] for tried in body.get("passes") or ()]
    return {
        "idx": one.index,
        "type": one.type,
        "subject": one.subject,
        "item": body.get("item"),
        "fence": body.get("fence"),
        "stage": body.get("stage"),
        "grade": body.get("grade"),
        "control": int(any(control in {"good", "route_only"} for control in controls)),
        "request_id": observation.get("request_id"),
    }
