"""Where work items and threads go, and moving a group of them in one statement each.

DANGER. Only the worker whose fence an item carries may move it. Whoever moves a group has locked it before
(`work.locked`), so that what he was told of each item still holds when it is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from worker.model.evidence import Grade
from worker.model.thread import ThreadState
from worker.model.work import OPEN_ITEM_STATES, ItemState, WorkItem
from worker.store.tables import thread, work_item
from worker.store.updating import EachRow


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemMove:
    """Where an item goes, as `settle` takes it."""

    item: WorkItem
    state: ItemState
    next_at: datetime | None = None
    reason: str | None = None
    grade: Grade | None = None
    counters: Mapping[str, int] = field(default_factory=dict)

    def values(self, now: datetime) -> dict[str, Any]:
        """The columns that change."""
        values: dict[str, Any] = {
            "state": self.state.value,
            "lease_until": None,
            "claimed_by": None,
            "reason": self.reason,
            "abandoned": 0,
            **self.counters,
        }
        if self.grade is not None:
            values["grade"] = self.grade.value
        if self.next_at is not None:
            values["next_at"] = self.next_at
        if self.state not in OPEN_ITEM_STATES:
            values["settled_at"] = now
        return values


# The fence and the state stand in the statement as well, so that a caller without the lock moves nothing.
_ITEMS = EachRow(table=work_item, keys=("id", "fence"), where=work_item.c.state == ItemState.CLAIMED.value)


def move_items(db: Connection, moves: Sequence[ItemMove], now: datetime) -> None:
    """Move items that `locked` has returned in this very transaction: they are the caller's until its end."""
    _ITEMS.update(db, [{"id": one.item.id, "fence": one.item.fence, **one.values(now)} for one in moves])


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadMove:
    """Where a thread goes, and when it is read again; what is None but the reason stays as it is."""

    thread_id: str
    state: ThreadState
    grade: Grade | None = None
    evidence: Mapping[str, Any] | None = None
    reason: str | None = None
    reverify_at: datetime | None = None

    def naming(self, index: int) -> ThreadMove:
        """Return the same with the entry of its grade in the evidence."""
        return replace(self, evidence={**self.evidence, "entry": index}) if self.evidence else self

    @property
    def values(self) -> dict[str, Any]:
        """The columns that change."""
        values: dict[str, Any] = {"state": self.state.value, "reason": self.reason}
        if self.grade is not None:
            values["grade"] = self.grade.value
        if self.evidence is not None:
            values["evidence"] = dict(self.evidence)
        if self.reverify_at is not None:
            values |= {"reverify_at": self.reverify_at, "reverified": 0}
        return values


_THREADS = EachRow(table=thread, keys=("id",), also={"version": thread.c.version + 1})


def move_threads(db: Connection, moves: Sequence[ThreadMove]) -> None:
    """Move threads whose rows the caller has locked."""
    _THREADS.update(db, [{"id": one.thread_id, **one.values} for one in moves])
