"""Which threads, orders and projects still need what the log tells of them.

DANGER. What is not named here may lose its bodies. A thread is at its end when nothing will be sent, read or
graded for it any more: a body under one that is not could be needed by its next grade.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select

from worker.model.thread import ThreadState
from worker.model.work import OPEN_ITEM_STATES
from worker.store.tables import erasure, erasure_thread, thread, work_item

_ENDS = (ThreadState.DELETED.value, ThreadState.ABSENT.value, ThreadState.WITHDRAWN.value)
_AT_ONCE = 500


def _ended() -> ColumnElement[bool]:
    """At an end, not to be read again, and without an open item; parked, only once a person accepted it."""
    open_item = exists().where(
        work_item.c.thread_id == thread.c.id, work_item.c.state.in_([one.value for one in OPEN_ITEM_STATES])
    )
    ended = and_(thread.c.state.in_(_ENDS), thread.c.reverify_at.is_(None))
    accepted = and_(thread.c.state == ThreadState.PARKED.value, thread.c.accepted_at.is_not(None))
    return and_(or_(ended, accepted), ~open_item)


def _unsettled() -> ColumnElement[bool]:
    """An order that covers a thread which is not at its end; in terms of ``erasure_thread.erasure_id``."""
    covered = erasure_thread.alias()
    return exists().where(
        covered.c.erasure_id == erasure_thread.c.erasure_id, covered.c.thread_id == thread.c.id, ~_ended()
    )


def unended(db: Connection, ids: Collection[str]) -> set[str]:
    """Return which of these threads are not at their end; one that the registry does not know is not."""
    left = set(ids)
    for some in _in_parts(ids):
        left -= set(db.execute(select(thread.c.id).where(thread.c.id.in_(some), _ended())).scalars())
    return left


def ordered(db: Connection, ids: Collection[str]) -> set[str]:
    """Return which of these threads an erasure covers that is not settled; all of them are its evidence."""
    found: set[str] = set()
    for some in _in_parts(ids):
        query = select(erasure_thread.c.thread_id).where(erasure_thread.c.thread_id.in_(some), _unsettled())
        found.update(db.execute(query).scalars())
    return found


def any_unsettled(db: Connection) -> bool:
    """Tell whether any erasure is not settled."""
    query = select(erasure_thread.c.erasure_id).where(_unsettled()).limit(1)
    return db.execute(query).first() is not None


def is_unsettled(db: Connection, erasure_id: str) -> bool:
    """Tell whether some thread that this order covers is not at its end."""
    query = select(erasure_thread.c.thread_id).where(erasure_thread.c.erasure_id == erasure_id, _unsettled())
    return db.execute(query.limit(1)).first() is not None


def unsettled_for(db: Connection, owner: str) -> list[str]:
    """Return the orders for exactly this owner that are not settled."""
    query = (
        select(erasure.c.id)
        .join(erasure_thread, erasure_thread.c.erasure_id == erasure.c.id)
        .where(erasure.c.owner == owner, _unsettled())
        .distinct()
    )
    return sorted(db.execute(query).scalars())


def orders_about(db: Connection, owner: str, ids: Collection[str]) -> list[str]:
    """Return the orders for exactly this owner, and those that cover nothing but these threads."""
    found = set(db.execute(select(erasure.c.id).where(erasure.c.owner == owner)).scalars())
    own, covering = set(ids), set[str]()
    for some in _in_parts(ids):
        query = select(erasure_thread.c.erasure_id).where(erasure_thread.c.thread_id.in_(some))
        covering.update(db.execute(query).scalars())
    for order in sorted(covering - found):
        query = select(erasure_thread.c.thread_id).where(erasure_thread.c.erasure_id == order)
        if own.issuperset(db.execute(query).scalars()):
            found.add(order)
    return sorted(found)


def _in_parts(ids: Collection[str]) -> list[list[str]]:
    names = sorted(ids)
    return [names[at : at + _AT_ONCE] for at in range(0, len(names), _AT_ONCE)]
