"""Where work items and threads go, and moving a group of them in one statement each.

DANGER. Only the worker whose fence an item carries may move it. Whoever moves a group has locked it before
(`work.locked`), so that what he was told of each item still holds when it is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import Any

from sqlalchemy import Update, bindparam, update
from sqlalchemy.orm import Session

from worker.model.evidence import Grade
from worker.model.thread import ThreadState
from worker.model.work import OPEN_ITEM_STATES, ItemState, WorkItem
from worker.store.tables import thread, work_item


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


def move_items(db: Session, moves: Sequence[ItemMove], now: datetime) -> None:
    """Move items that `locked` has returned in this very transaction: they are the caller's until its end."""
    told = [(one.item, one.values(now)) for one in moves]
    for names, same in groupby(sorted(told, key=_columns), key=_columns):
        rows = [
            {
                "of_item": item.id,
                "of_fence": item.fence,
                **{f"to_{name}": value for name, value in values.items()},
            }
            for item, values in same
        ]
        db.execute(_moved_items(names), rows)


@lru_cache(maxsize=32)
def _moved_items(names: tuple[str, ...]) -> Update:
    # The fence and the state stand in the statement as well, so that a caller without the lock moves nothing.
    where = (
        work_item.c.id == bindparam("of_item"),
        work_item.c.fence == bindparam("of_fence"),
        work_item.c.state == ItemState.CLAIMED.value,
    )
    return update(work_item).where(*where).values({name: bindparam(f"to_{name}") for name in names})


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


def move_threads(db: Session, moves: Sequence[ThreadMove]) -> None:
    """Move threads whose rows the caller has locked."""
    told = [(one.thread_id, one.values) for one in moves]
    for names, same in groupby(sorted(told, key=_columns), key=_columns):
        rows = [
            {"of_thread": thread_id, **{f"to_{name}": value for name, value in values.items()}}
            for thread_id, values in same
        ]
        db.execute(_moved_threads(names), rows)


@lru_cache(maxsize=32)
def _moved_threads(names: tuple[str, ...]) -> Update:
    return (
        update(thread)
        .where(thread.c.id == bindparam("of_thread"))
        .values({"version": thread.c.version + 1, **{name: bindparam(f"to_{name}") for name in names}})
    )


def _columns(told: tuple[object, Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(sorted(told[1]))
