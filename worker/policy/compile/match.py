"""A policy's ``match`` and ``except``, and a hold's scope, as SQL conditions: equal in meaning to ``match``.

DANGER. A hold that its condition does not cover does not protect. No condition here is ever NULL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, false, not_, or_, true

from worker.model.decision import HoldScope, TagSelector
from worker.model.errors import Invalid
from worker.policy.compile.columns import Columns
from worker.policy.compile.text import any_of, glob, is_glob, one_of
from worker.policy.document import Match, Policy


def match_clause(policy: Policy, columns: Columns) -> ColumnElement[bool]:
    """Return the condition that a thread's row is covered by the policy, as ``matches`` says."""
    clause = _covered(policy.match, columns)
    if policy.except_ is None:
        return clause
    return and_(clause, not_(_covered(policy.except_, columns)))


def scope_clause(scope: HoldScope, columns: Columns) -> ColumnElement[bool]:
    """Return the condition that a hold covers a thread's row, as ``scope_matches`` says.

    An empty scope protects everything.
    """
    wanted: list[ColumnElement[bool]] = []
    if scope.ids:
        wanted.append(or_(one_of(columns.id, scope.ids), one_of(columns.external_id, scope.ids)))
    if scope.owners:
        wanted.append(_named(columns.owner, scope.owners))
    if scope.projects:
        wanted.append(_named(columns.project, scope.projects))
    wanted.extend(_tag(columns.tag(selector.key), selector) for selector in scope.tags)
    return and_(true(), *wanted)


def _covered(match: Match, columns: Columns) -> ColumnElement[bool]:
    if match.all:
        return true()
    wanted: list[ColumnElement[bool]] = []
    if match.projects:
        wanted.append(_named(columns.project, match.projects))
    if match.kinds:
        wanted.append(columns.kind.in_([kind.value for kind in match.kinds]))
    if match.owners:
        wanted.append(_named(columns.owner, match.owners))
    wanted.extend(_tag(columns.tag(selector.key), selector) for selector in match.tags)
    return and_(*wanted) if wanted else false()


def _named(column: ColumnElement[Any], patterns: Sequence[str]) -> ColumnElement[bool]:
    """Any of the patterns fits; those without a wildcard are looked up as a set."""
    exact = [one for one in patterns if not is_glob(one)]
    fitting = [glob(column, one) for one in patterns if is_glob(one)]
    return any_of([one_of(column, exact), *fitting] if exact else fitting)


def _tag(value: ColumnElement[Any], selector: TagSelector) -> ColumnElement[bool]:
    match selector.operator:
        case "In":
            return and_(value.is_not(None), one_of(value, selector.values))
        case "NotIn":
            return or_(value.is_(None), not_(one_of(value, selector.values)))
        case "Exists":
            return value.is_not(None)
        case "DoesNotExist":
            return value.is_(None)
        case other:
            raise Invalid(
                f'The operator "{other}" is unknown.',
                repair="Use In, NotIn, Exists or DoesNotExist.",
                code="bad_operator",
            )
