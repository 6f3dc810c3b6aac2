"""Which threads a sweep plans, found by the database itself from their stored dates.

DANGER. What `add_lines` selects is planned without another look until it is armed. It takes a thread only
where the stored date says all that a decision would say:
- the date stands under the bundle in force, and its sweep is this one: outcome DUE or PENDING when stored;
- no erasure and no notice bears on it, nor any rule that owes one: nothing but time can have changed it;
- its dates are to be believed by now, since a clock may have been set back since;
- no active hold covers it, and nobody works on it.
Under these the stored instant is the date of the decision itself. All others are for `undecided`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    UpdateBase,
    and_,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from worker.model.decision import Hold, HoldScope
from worker.model.thread import ThreadState
from worker.model.work import OPEN_ITEM_STATES
from worker.policy.ages import CLOCK_SKEW
from worker.policy.compile import Columns, match_clause, scope_clause
from worker.policy.compile.text import any_of
from worker.policy.document import Policy
from worker.store.column_types import UtcDateTime
from worker.store.engine import changed
from worker.store.tables import erasure_thread, sweep_plan, thread, work_item
from worker.store.threads import StoredThread, to_stored

_COLUMNS = Columns.of(thread)
_PLACE = tuple_(thread.c.evaluate_at, thread.c.id)
# Beyond this a condition on all holds would be larger than a statement may be.
_MOST_SCOPES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Whose sweep, under which bundle (its digest), beside what, at which instant.

    ``owing`` are the rules that owe a notice. With ``one_by_one`` nothing is planned from dates alone.
    """

    policy: str
    bundle: str
    now: datetime
    holds: Sequence[Hold] = ()
    owing: Sequence[Policy] = ()
    one_by_one: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in the order in which a sweep walks its threads: by date, then by id."""

    at: datetime
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The next threads after a place; without ``until`` they are the last ones."""

    after: Place | None
    until: Place | None
    threads: int


def fits_one_statement(holds: Sequence[Hold]) -> bool:
    """Whether a condition on all these holds stays within what both databases take."""
    scopes = [one.scope for one in holds if not _names_threads_only(one.scope)]
    return sum(1 + len(one.owners) + len(one.projects) + len(one.tags) for one in scopes) <= _MOST_SCOPES


def next_window(db: Connection, due: Due, *, after: Place | None, size: int) -> Window:
    """Return the next threads whose stored date has come in this sweep, at most that many."""
    inside = _within(due, after, None)
    order = select(thread.c.evaluate_at, thread.c.id).where(inside)
    order = order.order_by(thread.c.evaluate_at, thread.c.id)
    last = db.execute(order.offset(size - 1).limit(1)).first()
    if last is not None:
        return Window(after=after, until=Place(at=last.evaluate_at, id=last.id), threads=size)
    count = db.execute(select(func.count()).select_from(thread).where(inside)).scalar_one()
    return Window(after=after, until=None, threads=count)


def add_lines(db: Connection, due: Due, window: Window, sweep_id: str) -> int:
    """Plan the threads of the window that their stored date alone makes due; returns how many."""
    if due.one_by_one:
        return 0
    lines = (
        select(literal(sweep_id), thread.c.id, thread.c.evaluate_at)
        .where(
            _within(due, window.after, window.until), _is_certain(due), _is_free(), not_(is_held(due.holds))
        )
        # The order of the index, so that no database thinks of walking all threads by id instead.
        .order_by(thread.c.evaluate_at, thread.c.id)
    )
    made = sqlite.insert if db.dialect.name == "sqlite" else postgresql.insert
    plan: sqlite.Insert | postgresql.Insert = made(sweep_plan)
    plan = plan.from_select(["sweep_id", "thread_id", "eligible_at"], lines)
    try:
        with db.begin_nested():
            return _inserted(db, plan)
    except IntegrityError:
        # A thread whose date was moved on meanwhile comes twice; it is planned once. Only then is each line
        # looked up before it is written, which doubles what PostgreSQL does for it.
        return _inserted(db, plan.on_conflict_do_nothing())


def _inserted(db: Connection, statement: UpdateBase) -> int:
    # Of an INSERT the count is kept only where it is asked for.
    return changed(db, statement.execution_options(preserve_rowcount=True))


def undecided(db: Connection, due: Due, window: Window, sweep_id: str) -> list[StoredThread]:
    """Return the threads of the window that must be decided one by one, by id."""
    planned = (
        select(sweep_plan.c.thread_id)
        .where(sweep_plan.c.sweep_id == sweep_id, sweep_plan.c.thread_id == thread.c.id)
        .exists()
    )
    query = select(thread).where(
        _within(due, window.after, window.until), not_(_is_certain(due)), _is_free(), not_(planned)
    )
    return [to_stored(row) for row in db.execute(query.order_by(thread.c.id))]


def _within(due: Due, after: Place | None, until: Place | None) -> ColumnElement[bool]:
    """Exactly what the index `ix_thread_due` orders: live, of this sweep, date come, between two places."""
    clauses = [
        thread.c.state == ThreadState.LIVE,
        thread.c.due_policy == due.policy,
        thread.c.evaluate_at <= due.now,
    ]
    if after is not None:
        clauses.append(_place(after) < _PLACE)
    if until is not None:
        clauses.append(_place(until) >= _PLACE)
    return and_(*clauses)


def _place(place: Place) -> ColumnElement[tuple[datetime, str]]:
    return tuple_(literal(place.at, UtcDateTime()), literal(place.id))


def _is_certain(due: Due) -> ColumnElement[bool]:
    """Whether time alone decides; never NULL."""
    if due.one_by_one:
        return false()
    believable = due.now + CLOCK_SKEW
    erased = select(erasure_thread.c.thread_id).where(erasure_thread.c.thread_id == thread.c.id).exists()
    return and_(
        thread.c.evaluated_under.is_not_distinct_from(due.bundle),
        or_(thread.c.created_at.is_(None), thread.c.created_at <= believable),
        or_(thread.c.last_activity_at.is_(None), thread.c.last_activity_at <= believable),
        not_(erased),
        not_(any_of([match_clause(one, _COLUMNS) for one in due.owing])),
    )


def _is_free() -> ColumnElement[bool]:
    open_item = select(work_item.c.id).where(
        work_item.c.thread_id == thread.c.id, work_item.c.state.in_(OPEN_ITEM_STATES)
    )
    return not_(open_item.exists())


def is_held(holds: Sequence[Hold]) -> ColumnElement[bool]:
    """Whether one of these holds covers the thread."""
    named = {name for one in holds if _names_threads_only(one.scope) for name in one.scope.ids}
    scopes = [one.scope for one in holds if not _names_threads_only(one.scope)]
    if named:
        scopes.append(HoldScope(ids=tuple(sorted(named))))
    return any_of([scope_clause(one, _COLUMNS) for one in scopes])


def _names_threads_only(scope: HoldScope) -> bool:
    return bool(scope.ids) and not (scope.owners or scope.projects or scope.tags)
