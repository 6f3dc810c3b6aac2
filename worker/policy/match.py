"""What a rule, a hold or an erasure covers. Globs are anchored and case-sensitive: ``*`` and ``?`` only."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from worker.model.decision import Erasure, HoldScope, TagSelector
from worker.model.errors import Invalid
from worker.model.thread import Thread
from worker.policy.document import Match, Policy


def check_glob(pattern: str) -> None:
    """Refuse a pattern with ``[``; raises Invalid."""
    if "[" in pattern:
        raise Invalid(
            f'The pattern "{pattern}" holds "[", which is no wildcard here.',
            repair='Use "*" for any run of characters and "?" for one, or list several patterns.',
            code="bad_glob",
        )


def glob_matches(pattern: str, text: str) -> bool:
    """Whether the whole text fits: ``*`` is any run, ``?`` one character, everything else itself."""
    return _regex(pattern).fullmatch(text) is not None


@lru_cache(maxsize=4096)
def _regex(pattern: str) -> re.Pattern[str]:
    # The library's own translation never backtracks over a run, so no pattern is slow; "[" stays itself.
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")))


def matches(policy: Policy, thread: Thread) -> bool:
    """Whether the policy's ``match`` covers the thread and its ``except`` does not."""
    if not _covered(policy.match, thread):
        return False
    return policy.except_ is None or not _covered(policy.except_, thread)


def _covered(match: Match, thread: Thread) -> bool:
    if match.all:
        return True
    given = (match.projects, match.kinds, match.owners, match.tags)
    # The loader refuses an empty match; one made by hand must not cover everything.
    return (
        any(given)
        and _any_glob(match.projects, thread.project)
        and (not match.kinds or thread.kind in match.kinds)
        and _any_glob(match.owners, thread.owner)
        and _all_tags(match.tags, thread.tags)
    )


def scope_matches(scope: HoldScope, thread: Thread) -> bool:
    """Whether a hold covers the thread: all given fields must match.

    An empty scope is refused when a hold is placed; should one exist, it protects everything.
    """
    if scope.ids and thread.id not in scope.ids and thread.external_id not in scope.ids:
        return False
    return (
        _any_glob(scope.owners, thread.owner)
        and _any_glob(scope.projects, thread.project)
        and _all_tags(scope.tags, thread.tags)
    )


def erasure_covers(erasure: Erasure, thread: Thread) -> bool:
    """Whether an order covers the thread: registered no later than it, and named or of exactly that owner."""
    if thread.registered_at > erasure.at:
        return False
    named = thread.id in erasure.ids or thread.external_id in erasure.ids
    return named or (erasure.owner is not None and erasure.owner == thread.owner)


def _any_glob(patterns: Sequence[str], text: str) -> bool:
    return not patterns or any(glob_matches(pattern, text) for pattern in patterns)


def _all_tags(selectors: Sequence[TagSelector], tags: Mapping[str, str]) -> bool:
    return all(_selected(selector, tags.get(selector.key)) for selector in selectors)


def _selected(selector: TagSelector, value: str | None) -> bool:
    match selector.operator:
        case "In":
            return value is not None and value in selector.values
        case "NotIn":
            return value is None or value not in selector.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case other:
            # Neither "covered" nor "not covered" would be safe to guess.
            raise Invalid(
                f'The operator "{other}" is unknown.',
                repair="Use In, NotIn, Exists or DoesNotExist.",
                code="bad_operator",
            )
