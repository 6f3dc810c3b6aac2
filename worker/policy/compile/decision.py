"""The decision as one SQL statement, for many threads at once.

DANGER. What this calls DUE is planned for deletion. It says for every row what ``decide`` says for that
thread, in every case; a property test holds both equal on SQLite and PostgreSQL. Change both or neither.

The statement is a row of stages, each computed once per row: what is seen of the thread and which rules
count (``standing``), the dates and who decides (``dates``), the notices, the outcome, and what to call it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    or_,
    select,
)
from sqlalchemy.types import Text

from worker.model.decision import ERASURE, PRODUCER_TTL, Hold, Outcome
from worker.policy.ages import CLOCK_SKEW, EARLIEST
from worker.policy.compile.bits import meets
from worker.policy.compile.dates import dated, ruled
from worker.policy.compile.instants import (
    Instant,
    earliest,
    instant,
    latest,
    minus_seconds,
    plus,
    start_for,
    stored,
)
from worker.policy.compile.rules import Rules, rules_of
from worker.policy.compile.stages import stage, words_of
from worker.policy.compile.standing import Rows, standing
from worker.policy.document import Bundle

_DATED = (Outcome.DUE, Outcome.PENDING)
_SWEPT = (*_DATED, Outcome.NOTIFY)
_NOBODY = cast(literal(None), Text)
_SKEW = int(CLOCK_SKEW.total_seconds())


def compile_decision(
    bundle: Bundle, rows: Rows, *, now: ColumnElement[Any], holds: Sequence[Hold] = ()
) -> Select[Any]:
    """Return a query of id, outcome, decided_by, swept_by, eligible_at and evaluate_at.

    ``now`` is bound with the type of the threads' own dates. Without ``holds`` nothing is HELD, which is how
    stored dates are computed.
    """
    rules = rules_of(bundle)
    found = ruled(dated(standing(rows, rules, holds, now), rules), rules)
    type_ = rows.threads.c.registered_at.type
    noticed = _noticed(_aimed(found, rules), rows, rules)
    told = _told(_judged(noticed, rules, instant(literal(EARLIEST, type_))))
    return select(
        told.c.id,
        told.c.outcome,
        _decided_by(told, rules).label("decided_by"),
        _swept_by(told, rules).label("swept_by"),
        stored(told.c.eligible, type_).label("eligible_at"),
        stored(told.c.evaluate, type_).label("evaluate_at"),
    )


def _aimed(at: Subquery, rules: Rules) -> Subquery:
    """Add the date before notices have their say, and whether one is owed."""
    owes = meets(words_of(at, "l", rules.roll.size), rules.notifying)
    new = {"aimed": latest([at.c.ceiling, at.c.until]), "owes": case((owes, 1), else_=0)}
    return stage("aimed", at, new)


def _noticed(at: Subquery, rows: Rows, rules: Rules) -> Subquery:
    """Add the date that a counting notice allows, when graces end that begin now, and when one must begin."""
    lent = words_of(at, "l", rules.roll.size)
    starts = [
        case((meets(lent, mask), start_for(at.c.aimed, grace, at.c.now))) for grace, mask in rules.graces
    ]
    new = {
        "promised": case((at.c.owes == 1, _allowed(at, rows, rules))),
        "over": _over(at, rules, at.c.now),
        "owed": earliest(starts),
    }
    return stage("noticed", at, new)


def _allowed(at: Subquery, rows: Rows, rules: Rules) -> Instant:
    if not rules.graces:
        # An aggregate without a column of its own query would be the outer one's.
        return earliest([])
    notice = rows.notices.c
    over = _over(at, rules, instant(notice.at))
    date = latest([at.c.aimed, over])
    counting = date >= func.coalesce(instant(notice.promised), over)
    allowed = select(func.min(date)).where(notice.thread_id == at.c.id, counting)
    return allowed.correlate(at).scalar_subquery()


def _over(at: Subquery, rules: Rules, start: Instant) -> Instant:
    """Return the end of the longest grace that starts then."""
    lent = words_of(at, "l", rules.roll.size)
    return latest([case((meets(lent, mask), plus(start, grace))) for grace, mask in rules.graces])


def _judged(at: Subquery, rules: Rules, ancient: Instant) -> Subquery:
    """Add the outcome; the first line that holds decides, in the order of ``decide``."""
    c = at.c
    counted = meets(words_of(at, "r", rules.roll.size), rules.retaining)
    # An erasure that no floor stands against is stopped by no date.
    doubted = not_(and_(c.erased.is_not(None), not_(counted)))
    runs = or_(c.forever == 1, c.until > c.now)
    outlasts = or_(c.ceiling.is_(None), c.forever == 1, c.until > c.ceiling)
    waiting = and_(c.owes == 1, c.promised.is_(None))
    too_old = func.coalesce(c.age < ancient, false())
    outcome = case(
        (c.live == 0, _said(Outcome.SKIP)),
        (c.held_by.is_not(None), _said(Outcome.HELD)),
        (and_(doubted, or_(too_old, _believable(at) > c.now)), _said(Outcome.QUARANTINED)),
        (and_(doubted, c.unknown == 1), _said(Outcome.UNKNOWN)),
        (and_(runs, outlasts), _said(Outcome.RETAINED)),
        (c.ceiling.is_(None), _said(Outcome.UNMANAGED)),
        (and_(waiting, c.over >= c.aimed), _said(Outcome.NOTIFY)),
        (waiting, _said(Outcome.PENDING)),
        (func.coalesce(c.promised, c.aimed) <= c.now, _said(Outcome.DUE)),
        else_=_said(Outcome.PENDING),
    )
    new = {"outcome": outcome, "too_old": case((too_old, 1), else_=0), "waiting": case((waiting, 1), else_=0)}
    return stage("judged", at, new)


def _said(outcome: Outcome) -> ColumnElement[Any]:
    return literal(outcome.value, Text())


def _believable(at: Subquery) -> Instant:
    return minus_seconds(at.c.active, _SKEW)


def _told(at: Subquery) -> Subquery:
    """Add the date, and the earliest instant at which time alone changes the outcome."""
    c = at.c
    date = func.coalesce(c.promised, c.aimed)
    floor = case((c.forever == 0, c.until))
    eligible = case(
        (c.outcome == Outcome.RETAINED, floor),
        (c.outcome == Outcome.NOTIFY, c.over),
        (c.outcome.in_(_DATED), date),
    )
    evaluate = case(
        (and_(c.outcome == Outcome.QUARANTINED, c.too_old == 0), _believable(at)),
        (c.outcome == Outcome.RETAINED, floor),
        (and_(c.outcome == Outcome.PENDING, c.waiting == 1), c.owed),
        (c.outcome.in_(_DATED), date),
    )
    decided = c.outcome.not_in([Outcome.SKIP, Outcome.HELD])
    # An order that lies ahead changes the outcome when its instant comes.
    new = {"eligible": eligible, "evaluate": case((decided, earliest([evaluate, c.ahead])))}
    return stage("told", at, new)


def _decided_by(told: Subquery, rules: Rules) -> ColumnElement[Any]:
    c = told.c
    return case(
        (c.outcome == Outcome.HELD, c.held_by),
        (c.outcome == Outcome.RETAINED, rules.roll.first_name(words_of(told, "f", rules.roll.size))),
        (c.outcome.not_in(_SWEPT), _NOBODY),
        (c.erased.is_not(None), literal(ERASURE, Text())),
        (c.ttl_first == 1, literal(PRODUCER_TTL, Text())),
        else_=rules.roll.first_name(words_of(told, "x", rules.roll.size)),
    )


def _swept_by(told: Subquery, rules: Rules) -> ColumnElement[Any]:
    c = told.c
    return case(
        (c.outcome.not_in([*_SWEPT, Outcome.RETAINED]), _NOBODY),
        (c.erased.is_not(None), literal(ERASURE, Text())),
        (c.ttl_first == 1, rules.roll.first_name(words_of(told, "d", rules.roll.size))),
        else_=rules.roll.first_name(words_of(told, "x", rules.roll.size)),
    )
