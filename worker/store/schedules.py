"""Stored dates of many threads at once: the decision compiled to SQL, and written where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Connection, Update, bindparam, case, func, select, text, update

from worker.model.decision import Outcome
from worker.model.thread import ThreadState
from worker.policy.compile import Rows, compile_decision
from worker.policy.document import Bundle
from worker.store.tables import erasure, erasure_thread, notice, thread

_AT = thread.c.registered_at.type


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Threads that follow each other by id, locked for the transaction: later than ``after``, to ``upto``."""

    after: str
    upto: str
    count: int


class Rescheduler:
    """Computes and writes stored dates under one bundle; kept for its next use, as it is long to build."""

    def __init__(self, bundle: Bundle, *, waiting: bool = False) -> None:
        """Take every live thread, or those only whose date has come but that belong to no sweep."""
        self._bundle = bundle
        self._where = [thread.c.state == ThreadState.LIVE.value]
        if waiting:
            self._where += [thread.c.due_policy.is_(None), thread.c.evaluate_at <= _now()]

    def chunk(self, db: Connection, *, after: str, limit: int, now: datetime) -> Chunk | None:
        """Lock the next threads, in order, and say which they are; None where there are no more.

        An erasure that was placed meanwhile is waited for here, and seen by the statement after this one.
        """
        ids = select(thread.c.id).where(*self._where, thread.c.id > after).order_by(thread.c.id).limit(limit)
        locked = ids.with_for_update(key_share=True).subquery("locked")
        upto, count = db.execute(select(func.max(locked.c.id), func.count()), {"now": now}).one()
        return None if upto is None else Chunk(after=after, upto=upto, count=count)

    @cached_property
    def _write(self) -> Update:
        within = [*self._where, thread.c.id > bindparam("after"), thread.c.id <= bindparam("upto")]
        found = compile_decision(self._bundle, rows_of(*within), now=_now()).subquery("found")
        sweepable = found.c.outcome.in_([Outcome.DUE.value, Outcome.PENDING.value])
        return (
            update(thread)
            .where(thread.c.id == found.c.id)
            .values(
                evaluate_at=found.c.evaluate_at,
                due_policy=case((sweepable, found.c.swept_by)),
                evaluated_under=self._bundle.digest,
            )
        )

    def write(self, db: Connection, chunk: Chunk, *, now: datetime) -> None:
        """Decide the chunk's threads, holds left out, and store their dates."""
        plainly(db)
        db.execute(self._write, {"now": now, "after": chunk.after, "upto": chunk.upto})


def _now() -> ColumnElement[Any]:
    return bindparam("now", type_=_AT)


def rows_of(*where: ColumnElement[bool]) -> Rows:
    """Return the registry's threads that meet these conditions, with what bears on them."""
    orders = select(erasure_thread.c.thread_id, erasure.c.at).join_from(
        erasure_thread, erasure, erasure.c.id == erasure_thread.c.erasure_id
    )
    return Rows(
        threads=select(thread).where(*where).subquery("page"),
        orders=orders.subquery("orders"),
        notices=notice,
    )


def plainly(db: Connection) -> None:
    """Keep PostgreSQL from making machine code of the statement: that takes far longer than running it."""
    if db.dialect.name == "postgresql":
        db.execute(text("SET LOCAL jit = off"))
