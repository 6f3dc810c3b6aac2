"""The first stages: what is seen of each thread, which policies match it, and which of their rules count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, FromClause, Subquery, case, cast, func, literal, select
from sqlalchemy.types import Text

from worker.model.decision import HOLD_PREFIX, Hold
from worker.model.thread import ThreadState
from worker.policy.compile.bits import Words, collected, meets, only
from worker.policy.compile.columns import Columns
from worker.policy.compile.instants import instant, latest, number
from worker.policy.compile.match import match_clause, scope_clause
from worker.policy.compile.rules import Rules, tag_keys
from worker.policy.compile.stages import names_of, spread, stage, words_of

_MATCHED = ("external_id", "project", "kind", "owner", "tags")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What is decided: rows of threads, and what bears on them.

    ``orders`` has thread_id and at (of an erasure), ``notices`` thread_id, at and promised.
    """

    threads: FromClause
    orders: FromClause
    notices: FromClause


def standing(rows: Rows, rules: Rules, holds: Sequence[Hold], now: ColumnElement[Any]) -> Subquery:
    """Return each thread's dates, who holds it, and the rules that count: retaining (r), deleting (d)."""
    keys = tag_keys(rules, holds)
    marked = _marked(_seen(rows, keys, now), rules, holds, keys)
    size = rules.roll.size
    matching = words_of(marked, "m", size)
    erased = marked.c.erased.is_not(None)
    # An erasure leaves the legal floors only; beside a specific delete rule the default tier drops out.
    retaining = _chosen(matching, [(erased, rules.legal)], rules.retaining)
    specific = meets(matching, rules.specific)
    deleting = _chosen(matching, [(erased, (0,) * size), (specific, rules.specific)], rules.default)
    dates = {
        "active": latest([marked.c.created, marked.c.last]),
        "age": func.coalesce(marked.c.created, marked.c.last),
    }
    new = dates | spread("r", retaining) | spread("d", deleting)
    return stage("standing", marked, new, without=["last", *names_of("m", size)])


def _chosen(
    words: Words, cases: Sequence[tuple[ColumnElement[bool], tuple[int, ...]]], otherwise: tuple[int, ...]
) -> Words:
    rest = only(words, otherwise)
    return [
        case(*((when, only(words, mask)[index]) for when, mask in cases), else_=rest[index])
        for index in range(len(words))
    ]


def _seen(rows: Rows, keys: Sequence[str], now: ColumnElement[Any]) -> Subquery:
    thread, order = rows.threads.c, rows.orders.c
    columns = Columns.of(rows.threads)
    covering = select(func.min(order.at)).where(
        order.thread_id == thread.id, order.at >= thread.registered_at
    )
    return (
        select(
            thread.id,
            *(thread[name] for name in _MATCHED),
            thread.state,
            thread.ttl,
            thread.created_at,
            thread.last_activity_at,
            thread.registered_at,
            covering.where(order.at <= now).scalar_subquery().label("erased_at"),
            covering.where(order.at > now).scalar_subquery().label("ahead_at"),
            now.label("now_at"),
            *(columns.tag(key).label(f"tag{index}") for index, key in enumerate(keys)),
        )
        .offset(0)
        .subquery("seen")
    )


def _marked(seen: Subquery, rules: Rules, holds: Sequence[Hold], keys: Sequence[str]) -> Subquery:
    known = {key: seen.c[f"tag{index}"] for index, key in enumerate(keys)}
    columns = Columns.of(seen, known=known)
    parts = [(match_clause(policy, columns), mask) for policy, mask in rules.matching]
    words = [cast(word, BigInteger) for word in collected(rules.roll.size, parts)]
    new: dict[str, ColumnElement[Any]] = {
        "live": case((seen.c.state == ThreadState.LIVE.value, number(1)), else_=number(0)),
        "held_by": _held_by(holds, columns),
        "created": instant(seen.c.created_at),
        "last": instant(seen.c.last_activity_at),
        "registered": instant(seen.c.registered_at),
        "erased": instant(seen.c.erased_at),
        "ahead": instant(seen.c.ahead_at),
        "now": instant(seen.c.now_at),
    }
    read = [
        *_MATCHED,
        "state",
        "created_at",
        "last_activity_at",
        "registered_at",
        "erased_at",
        "ahead_at",
        "now_at",
    ]
    tags = [f"tag{index}" for index in range(len(keys))]
    return stage("marked", seen, new | spread("m", words), without=[*read, *tags])


def _held_by(holds: Sequence[Hold], columns: Columns) -> ColumnElement[Any]:
    """Return ``hold:<matter>`` of the first hold that covers the thread, by code point."""
    ordered = sorted(holds, key=lambda hold: hold.matter)
    nobody = cast(literal(None), Text)
    if not ordered:
        return nobody
    whens = [
        (scope_clause(hold.scope, columns), literal(HOLD_PREFIX + hold.matter, Text())) for hold in ordered
    ]
    return case(*whens, else_=nobody)
