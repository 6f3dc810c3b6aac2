"""The middle stages: when the rules that count say so, and which of them decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Subquery, and_, case, false, func, not_, or_

from worker.policy.compile.bits import Words, collected, meets, only
from worker.policy.compile.instants import Instant, earliest, latest, number, plus
from worker.policy.compile.rules import Dated, Rules, union
from worker.policy.compile.stages import spread, stage, words_of
from worker.policy.compile.ttl import ttl_end
from worker.policy.document import Since

_SHELF = 12


def dated(standing: Subquery, rules: Rules) -> Subquery:
    """Return the earliest ceiling of a rule, the TTL's, the latest floor, and whether one cannot be told."""
    size = rules.roll.size
    retaining, deleting = words_of(standing, "r", size), words_of(standing, "d", size)
    counts = and_(
        standing.c.ttl.is_not(None),
        meets(deleting, rules.everyone),
        not_(meets(deleting, rules.ignoring_ttl)),
    )
    end = ttl_end(func.coalesce(standing.c.created, standing.c.registered), standing.c.ttl)
    new = {
        "delete_at": _ends(standing, rules.deletes, deleting, earliest),
        "until": _ends(standing, rules.retains, retaining, latest),
        "forever": _flag(meets(retaining, rules.forever)),
        "ttl_counts": _flag(counts),
        "ttl_at": case((counts, end)),
    }
    return _unsure(stage("dated", standing, new), rules)


def _flag(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return case((condition, 1), else_=0)


def _ends(
    at: FromClause,
    dated: Sequence[Dated],
    words: Words,
    fold: Callable[[Sequence[Instant]], Instant],
) -> Instant:
    """Fold the ends of those rules that are in the set."""
    return fold(
        [
            case((meets(words, union(some)), fold([_end_if_met(at, one, words) for one in some])))
            for some in _shelves(dated)
        ]
    )


def _end_if_met(at: FromClause, one: Dated, words: Words) -> Instant:
    return case((meets(words, one.mask), plus(_date(at, one.since), one.length)))


def _shelves(dated: Sequence[Dated]) -> list[Sequence[Dated]]:
    """Cut a long list: a thread meets few of its rules, so most shelves are passed by with one look."""
    return [dated[start : start + _SHELF] for start in range(0, len(dated), _SHELF)]


def _date(at: FromClause, since: Since) -> Instant:
    match since:
        case Since.CREATED_AT:
            return at.c.created
        case Since.REGISTERED_AT:
            return at.c.registered
        case Since.LAST_ACTIVITY_AT:
            return at.c.active


def _unsure(at: Subquery, rules: Rules) -> Subquery:
    """Add whether a date that a rule needs is not known."""
    size = rules.roll.size
    lacking = [
        and_(_date(at, since).is_(None), meets(words_of(at, prefix, size), rules.counting_from(since, some)))
        for prefix, some in (("r", rules.retains), ("d", rules.deletes))
        for since in Since
    ]
    no_ttl = and_(at.c.ttl_counts == 1, at.c.ttl_at.is_(None))
    new = {"unknown": _flag(or_(no_ttl, *lacking))}
    return stage("unsure", at, new, without=["ttl", "ttl_counts"])


def ruled(at: Subquery, rules: Rules) -> Subquery:
    """Return the ceiling, the sets that decide it (x) and the floor (f), and whose graces are lent (l)."""
    size = rules.roll.size
    retaining, deleting = words_of(at, "r", size), words_of(at, "d", size)
    deciding = _reaching(at, rules.deletes, deleting, at.c.delete_at)
    floors = _reaching(at, rules.retains, retaining, at.c.until)
    endless = only(retaining, rules.forever)
    # Where the TTL is among those that decide, all rules lend their graces.
    lending = only(_either(at.c.ttl_at <= at.c.delete_at, deleting, deciding), rules.notifying)
    ttl_first = func.coalesce(at.c.ttl_at < at.c.delete_at, false())
    new: dict[str, ColumnElement[Any]] = {
        "ttl_first": _flag(ttl_first),
        "ceiling": case(
            (at.c.erased.is_not(None), at.c.erased), (ttl_first, at.c.ttl_at), else_=at.c.delete_at
        ),
        **spread("x", deciding),
        **spread("f", _either(at.c.forever == 1, endless, floors)),
        **spread("l", lending),
    }
    return stage("ruled", at, new)


def _either(condition: ColumnElement[bool], one: Words, other: Words) -> Words:
    return [case((condition, here), else_=there) for here, there in zip(one, other, strict=True)]


def _reaching(at: FromClause, dated: Sequence[Dated], words: Words, date: Instant) -> Words:
    """Return those of the set whose own date is this one."""
    reaching: list[ColumnElement[Any]] = [number(0) for _ in words]
    for some in _shelves(dated):
        parts = [(_end_if_met(at, one, words) == date, one.mask) for one in some]
        here = collected(len(words), parts)
        met = meets(words, union(some))
        reaching = [
            all_ + case((met, more), else_=number(0)) for all_, more in zip(reaching, here, strict=True)
        ]
    return [mine.bitwise_and(theirs) for mine, theirs in zip(words, reaching, strict=True)]
