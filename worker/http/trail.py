"""Entries as they are shown: the body's fields beside the time that its envelope holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, select

from worker.audit.entry import EntryType
from worker.flows.key import Principal
from worker.flows.note_read import note_read
from worker.http.fields import Name
from worker.http.lists import Limit, Shown
from worker.http.services import Services
from worker.store.log import StoredEntry
from worker.store.tables import audit_leaf

# These say nothing of the fact itself: they stand beside the body, or only bind it to its leaf.
_BESIDE = frozenset({"actor", "project", "subject", "type", "salt", "owner_commitment"})


class EntriesQuery(BaseModel):
    """The log reads in one direction: ``after`` is the index (`id`) of the last entry that was seen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Limit = 20
    after: Annotated[int, Field(ge=0, le=2**53)] | None = None


class LogQuery(EntriesQuery):
    """The filters of `GET /v1/audit/entries`."""

    project: Name | None = None
    type: EntryType | None = None
    subject: Annotated[str, Field(pattern=r"^thr_[0-9a-f]{32}$")] | None = None


class EntryShape(Shown):
    """One entry; ``id`` is its index in the log, as text. Shredded or pruned, it has no body and no actor."""

    object: Literal["entry"] = "entry"
    index: int
    at: str
    type: str
    actor: str | None
    project: str | None
    subject: str | None
    body: dict[str, Any] | None


def show_entries(db: Connection, found: Sequence[StoredEntry]) -> list[EntryShape]:
    """Show entries in this order."""
    times = _times(db, [one.index for one in found])
    return [_shape(one, times[one.index]) for one in found]


def note_trail_read(
    given: Services, who: Principal, *, what: str, shown: Sequence[EntryShape], project: str | None
) -> None:
    """Record that entries were read.

    A page of nothing but such records is not recorded again: a reader who follows the log would never
    reach its end.
    """
    if all(one.type == EntryType.ACCESS_READ for one in shown):
        return
    note_read(given.database, what=what, rows=len(shown), project=project, actor=who.actor, clock=given.clock)


def _times(db: Connection, indices: Sequence[int]) -> dict[int, str]:
    query = select(audit_leaf.c.idx, audit_leaf.c.envelope).where(audit_leaf.c.idx.in_(indices))
    return {index: str(orjson.loads(bytes(envelope))["t"]) for index, envelope in db.execute(query)}


def _shape(entry: StoredEntry, at: str) -> EntryShape:
    body: dict[str, Any] = orjson.loads(entry.body) if entry.body else {}
    return EntryShape(
        id=str(entry.index),
        index=entry.index,
        at=at,
        type=entry.type,
        actor=body.get("actor"),
        project=entry.project,
        subject=entry.subject,
        body={name: value for name, value in body.items() if name not in _BESIDE} if body else None,
    )
