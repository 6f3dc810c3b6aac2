"""What can be proven of two rules' coverage from their text alone: one within the other, or both apart.

Every answer True is a proof over all threads there could be; False only says that none was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

from worker.model.decision import TagSelector
from worker.model.thread import Kind
from worker.policy.document import Match, Policy


def covers_no_more(inner: Policy, outer: Policy) -> bool:
    """Whether every thread that ``inner`` covers is provably covered by ``outer``."""
    if not _within(inner.match, outer.match):
        return False
    if outer.except_ is None or _apart(inner.match, outer.except_):
        return True
    return inner.except_ is not None and _within(outer.except_, inner.except_)


def never_meet(one: Policy, other: Policy) -> bool:
    """Whether provably no thread is covered by both."""
    return (
        _apart(one.match, other.match)
        or (other.except_ is not None and _within(one.match, other.except_))
        or (one.except_ is not None and _within(other.match, one.except_))
    )


def _is_empty(match: Match) -> bool:
    return not (match.all or match.projects or match.kinds or match.owners or match.tags)


def _within(inner: Match, outer: Match) -> bool:
    # A match with no key covers nothing; the loader refuses one.
    if outer.all or _is_empty(inner):
        return True
    if _is_empty(outer):
        return False
    return (
        _globs_within(inner.projects, outer.projects)
        and _kinds_within(inner.kinds, outer.kinds)
        and _globs_within(inner.owners, outer.owners)
        and all(any(_implies(one, wanted) for one in inner.tags) for wanted in outer.tags)
    )


def _globs_within(inner: Sequence[str], outer: Sequence[str]) -> bool:
    if not outer:
        return True
    return bool(inner) and all(any(glob_within(one, wider) for wider in outer) for one in inner)


def _kinds_within(inner: Sequence[Kind], outer: Sequence[Kind]) -> bool:
    return not outer or set(inner or Kind) <= set(outer)


def _implies(one: TagSelector, wanted: TagSelector) -> bool:
    """Whether a thread that ``one`` selects is selected by ``wanted``."""
    if one.key != wanted.key:
        return False
    ours, theirs = set(one.values), set(wanted.values)
    match one.operator, wanted.operator:
        case ("In", "In"):
            return ours <= theirs
        case ("NotIn", "NotIn"):
            return theirs <= ours
        case ("In", "NotIn"):
            return ours.isdisjoint(theirs)
        case ("In" | "Exists", "Exists") | ("DoesNotExist", "DoesNotExist" | "NotIn"):
            return True
        case _:
            return False


def _apart(one: Match, other: Match) -> bool:
    if _is_empty(one) or _is_empty(other):
        return True
    return (
        _globs_apart(one.projects, other.projects)
        or (bool(one.kinds) and bool(other.kinds) and set(one.kinds).isdisjoint(other.kinds))
        or _globs_apart(one.owners, other.owners)
        or any(_contradict(ours, theirs) for ours, theirs in product(one.tags, other.tags))
    )


def _globs_apart(some: Sequence[str], others: Sequence[str]) -> bool:
    pairs = list(product(some, others))
    return bool(pairs) and not any(globs_meet(one, other) for one, other in pairs)


def _contradict(one: TagSelector, other: TagSelector) -> bool:
    return one.key == other.key and (_refutes(one, other) or _refutes(other, one))


def _refutes(one: TagSelector, other: TagSelector) -> bool:
    ours, theirs = set(one.values), set(other.values)
    match one.operator, other.operator:
        case ("In", "In"):
            return ours.isdisjoint(theirs)
        case ("In", "NotIn"):
            return ours <= theirs
        case ("In" | "Exists", "DoesNotExist"):
            return True
        case _:
            return False


@lru_cache(maxsize=4096)
def glob_within(inner: str, outer: str) -> bool:
    """Whether every text of ``inner`` is provably one of ``outer``.

    The outer pattern reads the inner one as if its wildcards were letters: only a ``*`` swallows a ``*``.
    """
    reach = _fits_nothing(outer)
    for letter in inner:
        following = [False]
        for index, wanted in enumerate(outer):
            if wanted == "*":
                following.append(following[index] or reach[index + 1])
            else:
                fits = wanted == letter or (wanted == "?" and letter != "*")
                following.append(fits and reach[index])
        reach = following
    return reach[-1]


@lru_cache(maxsize=4096)
def globs_meet(one: str, other: str) -> bool:
    """Whether some text fits both patterns."""
    reach = _fits_nothing(other)
    for letter in one:
        following = [reach[0] and letter == "*"]
        for index, wanted in enumerate(other):
            if "*" in {letter, wanted}:
                # The star ends here, or swallows what the other pattern asks for next.
                following.append(following[index] or reach[index + 1])
            else:
                following.append(reach[index] and ("?" in {letter, wanted} or letter == wanted))
        reach = following
    return reach[-1]


def _fits_nothing(pattern: str) -> list[bool]:
    """Return for each beginning of the pattern, from none to all of it, whether it fits the empty text."""
    fits = [True]
    for wanted in pattern:
        fits.append(fits[-1] and wanted == "*")
    return fits
