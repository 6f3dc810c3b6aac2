"""Outcomes: what becomes of threads after a pass, written for a group at once.

DANGER. A state written here is what people believe. The caller holds the threads' rows locked, and has moved
their items under a live fence in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Update, bindparam, update
from sqlalchemy.orm import Session

from worker.model.evidence import Grade
from worker.model.thread import ThreadState
from worker.store.tables import thread


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Where a thread goes. Grade and evidence are replaced only where given; so is when it is read again."""

    thread_id: str
    state: ThreadState
    reason: str | None = None
    grade: Grade | None = None
    evidence: Mapping[str, Any] | None = None
    reverify_at: datetime | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The columns that are written."""
        written: dict[str, Any] = {"state": self.state.value, "reason": self.reason}
        if self.grade is not None:
            written["grade"] = self.grade.value
        if self.evidence is not None:
            written["evidence"] = dict(self.evidence)
        if self.reverify_at is not None:
            written |= {"reverify_at": self.reverify_at, "reverified": 0}
        return written


def write(db: Session, outcomes: Sequence[Outcome]) -> None:
    """Move the threads, those that take the same columns in one statement."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for one in outcomes:
        values = one.values
        alike.setdefault(tuple(values), []).append({**values, "its_id": one.thread_id})
    for columns, rows in alike.items():
        db.execute(_move(columns), rows)


@lru_cache(maxsize=64)
def _move(columns: tuple[str, ...]) -> Update:
    values: dict[str, Any] = {name: bindparam(name) for name in columns}
    return (
        update(thread)
        .where(thread.c.id == bindparam("its_id"))
        .values(version=thread.c.version + 1, **values)
    )
