"""Chosen children, who else refers to them, and how far each one's deletion came.

DANGER. A child that another thread still needs must be found here, or it is deleted under it. Invariants:
a child is armed, with the item's fence live, before its DELETE leaves; an answer that may have deleted it is
never overwritten by one that cannot have.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from worker.model.chosen import SENT, ChosenChild, ChosenState, Kept, Told
from worker.model.evidence import Class
from worker.model.thread import Thread, ThreadState, infer_kind
from worker.store.among import among
from worker.store.tables import thread, thread_child

# What may still be there and in use: a parked thread can return to live.
_NOT_GONE = (ThreadState.LIVE, ThreadState.ACKNOWLEDGED, ThreadState.PARKED)
# SQLite allows a bounded number of parameters in one statement.
_IDS_AT_ONCE = 500


def add_many(db: Connection, chosen: Mapping[str, Sequence[str]]) -> None:
    """Keep what producers chose, by thread."""
    rows = [
        {
            "thread_id": thread_id,
            "child": child,
            "place": place,
            "state": ChosenState.CHOSEN.value,
            "detached": False,
        }
        for thread_id, children in chosen.items()
        for place, child in enumerate(children)
    ]
    if rows:
        db.execute(insert(thread_child), rows)


_CHOSEN_OF = (
    select(thread_child)
    .where(among(thread_child.c.thread_id, "ids"))
    .order_by(thread_child.c.thread_id, thread_child.c.place)
)


def chosen_of(db: Connection, thread_ids: Collection[str]) -> dict[str, list[ChosenChild]]:
    """Return the chosen children of these threads in the order in which they were given."""
    found: dict[str, list[ChosenChild]] = {}
    for row in db.execute(_CHOSEN_OF, {"ids": sorted(thread_ids)}).all():
        found.setdefault(row.thread_id, []).append(_to_chosen(row))
    return found


def _to_chosen(row: Row[Any]) -> ChosenChild:
    answer = Class(row.answer) if row.answer else None
    tried = row.armed_at is not None and (answer is None or answer in SENT)
    return ChosenChild(
        id=row.child,
        kind=infer_kind(row.child),
        state=ChosenState(row.state),
        reason=Kept(row.reason) if row.reason else None,
        tried=tried,
        # Without a recorded answer, whatever was armed may have left.
        detached=row.detached or (row.armed_at is not None and answer is None),
    )


def shared(db: Connection, of: Thread, children: Collection[str]) -> dict[str, frozenset[str]]:
    """Return which of these children others need, with the threads that do: all at the same address.

    Organisation and provider project do not part them: a project that leaves them out reaches the same files
    by its key, and a child that is kept in vain does no harm.
    A child that is itself registered is needed by its registration, whatever has become of it; one that
    another thread chose too is needed until that thread is seen to be gone, or withdrawn.
    """
    found: dict[str, set[str]] = {}
    same = thread.c.base_url == (of.account.base_url if of.account else "")
    for some in _in_parts(children):
        own = select(thread.c.external_id, thread.c.id).where(thread.c.external_id.in_(some), same)
        others = (
            select(thread_child.c.child, thread.c.id)
            .join(thread, thread.c.id == thread_child.c.thread_id)
            .where(
                thread_child.c.child.in_(some),
                thread.c.id != of.id,
                thread.c.state.in_(_NOT_GONE),
                same,
            )
        )
        for query in (own, others):
            for child, thread_id in db.execute(query):
                found.setdefault(child, set()).add(thread_id)
    return {child: frozenset(ids) for child, ids in found.items()}


def containers_of(db: Connection, children: Collection[str]) -> list[str]:
    """Return the threads, ours by id, that chose one of these external ids as a child."""
    found: set[str] = set()
    for some in _in_parts(children):
        found.update(
            db.execute(select(thread_child.c.thread_id).where(thread_child.c.child.in_(some))).scalars()
        )
    return sorted(found)


def arm(db: Connection, thread_id: str, children: Collection[str], at: datetime) -> None:
    """Commit that the DELETE of these children may leave; each was read present in this very pass."""
    for child in sorted(children):
        db.execute(update(thread_child).where(*_is(thread_id, child)).values(armed_at=at))
        # What could not have deleted it is forgotten: from here on nothing recorded means "may have left".
        harmless = thread_child.c.answer.not_in(sorted(one.value for one in SENT))
        db.execute(update(thread_child).where(*_is(thread_id, child), harmless).values(answer=None))


def answer(db: Connection, thread_id: str, answers: Mapping[str, tuple[Class, bool]]) -> None:
    """Record per child what came back to its own DELETE, and whether it was taken out of its store."""
    for child, (seen, detached) in sorted(answers.items()):
        if detached:
            db.execute(update(thread_child).where(*_is(thread_id, child)).values(detached=True))
        told = update(thread_child).where(*_is(thread_id, child))
        if seen not in SENT:
            told = told.where(thread_child.c.answer.is_(None))
        db.execute(told.values(answer=seen.value))


def note(db: Connection, thread_id: str, found: Mapping[str, Told]) -> None:
    """Write where these children stand."""
    for child, (state, reason) in sorted(found.items()):
        values = {"state": state.value, "reason": reason.value if reason else None}
        db.execute(update(thread_child).where(*_is(thread_id, child)).values(values))


def _is(thread_id: str, child: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return thread_child.c.thread_id == thread_id, thread_child.c.child == child


def _in_parts(ids: Collection[str]) -> list[list[str]]:
    ordered = sorted(ids)
    return [ordered[start : start + _IDS_AT_ONCE] for start in range(0, len(ordered), _IDS_AT_ONCE)]
