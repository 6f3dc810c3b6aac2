"""Siblings: registered threads of one kind, project and account; one that is there can be a control."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from worker.model.chosen import SENT
from worker.model.ids import ThreadId
from worker.model.thread import Account, Thread, ThreadState
from worker.model.work import OPEN_ITEM_STATES, ItemState, Stage
from worker.store.tables import attempt, thread, work_item
from worker.store.thread_rows import to_thread


def find(db: Connection, of: Thread, *, exclude: Collection[str], limit: int) -> list[Thread]:
    """Return live threads of the same kind, project and account: known-present reads for a control.

    None is on its way out: other workers delete too, and a sibling that went meanwhile would look like a
    failed control. Those that a worker has claimed come in only where there is no other.
    """
    query = (
        select(thread)
        .where(*_are_siblings(of), thread.c.id.not_in(sorted({of.id, *exclude})))
        # Ids rise with the time of registration: the newest first, from the primary key.
        .order_by(thread.c.id.desc())
        .limit(limit)
    )
    rows = db.execute(query.where(~_has_open_item(_IS_CLAIMED))).all()
    return [to_thread(row) for row in rows or db.execute(query).all()]


def has_free(db: Connection, of: Thread) -> bool:
    """Whether `find` finds one that no worker has claimed, for a thread that is claimed itself."""
    free = select(thread.c.id).where(*_are_siblings(of), ~_has_open_item(_IS_CLAIMED))
    # The newest are the last to go, so that there is none to pass by.
    return db.execute(free.order_by(thread.c.id.desc()).limit(1)).first() is not None


def _are_siblings(of: Thread) -> Sequence[ColumnElement[bool]]:
    account = of.account or Account(provider="", base_url="")
    return (
        thread.c.state == ThreadState.LIVE,
        thread.c.project == of.project,
        thread.c.kind == of.kind.value,
        thread.c.provider == account.provider,
        thread.c.base_url == account.base_url,
        thread.c.organization == account.organization,
        thread.c.provider_project == account.provider_project,
        ~_has_open_item(_IS_ARMED),
    )


def is_expected(db: Connection, thread_id: ThreadId) -> bool:
    """Whether a thread that was live and armed by nobody could still be expected at its provider since then.

    An intent is committed before its DELETE leaves. So a read that had its answer before this look, and found
    gone what no DELETE of Tenure's can have left for, found one that somebody else deleted, or that the key
    does not see: also where a worker has parked it by now, or a person has withdrawn it.
    """
    still = and_(thread.c.state == ThreadState.LIVE, ~_has_open_item(_IS_ARMED))
    never_sent = and_(thread.c.state != ThreadState.DELETED, ~_MAY_BE_DELETED)
    query = select(thread.c.id).where(thread.c.id == thread_id, or_(still, never_sent))
    return db.execute(query).first() is not None


# A DELETE of it may have left: what it left behind is known when the item is settled.
_IS_ARMED = select(attempt.c.item_id).where(attempt.c.item_id == work_item.c.id).exists()

_IS_CLAIMED = work_item.c.state == ItemState.CLAIMED

# By an own attempt at the thread itself: without an answer, or with one after which it may be gone.
_MAY_BE_DELETED = (
    select(attempt.c.item_id)
    .where(
        attempt.c.thread_id == thread.c.id,
        attempt.c.stage == Stage.CONTAINER.value,
        or_(attempt.c.answer.is_(None), attempt.c.answer.in_([one.value for one in sorted(SENT)])),
    )
    .exists()
)


def _has_open_item(*which: ColumnElement[bool]) -> ColumnElement[bool]:
    mine = (work_item.c.thread_id == thread.c.id, work_item.c.state.in_(OPEN_ITEM_STATES))
    return select(work_item.c.id).where(*mine, *which).exists()
