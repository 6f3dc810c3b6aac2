"""Delete rules of which one provably covers every thread of the other: the earliest date decides there.

Static and cautious: what is said here holds for every thread that could exist. Rules that overlap in part are
not told; how many threads they share only the registry knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from worker.model.decision import TagSelector
from worker.policy.document import DeleteRule, Match, Mode, Policy, Tier
from worker.policy.match import glob_matches
from worker.policy.read_documents import Draft

# Comparisons of patterns; a bundle that needs more is not told of further overlaps.
_MOST_COMPARISONS = 500_000


def check_overlaps(drafts: Sequence[Draft]) -> None:
    """Warn of an enforced delete rule all of whose threads another one that bears on it matches too."""
    rules = [
        (draft, draft.value)
        for draft in drafts
        if isinstance(draft.value, Policy) and draft.value.delete and draft.value.mode is Mode.ENFORCE
    ]
    left = _MOST_COMPARISONS
    for (one_draft, one), (other_draft, other) in combinations(rules, 2):
        left -= _cost(one.match, other.match)
        if left < 0:
            return
        if one.name == other.name:
            continue  # refused as RP015
        if _bears_on(one, other) and covers(one, other):
            _warn(other_draft, other, one_draft, one)
        elif _bears_on(other, one) and covers(other, one):
            _warn(one_draft, one, other_draft, other)


def _bears_on(outer: Policy, inner: Policy) -> bool:
    """Whether the wider rule can take a thread away; one of tier default is there to be overruled."""
    return outer.tier is inner.tier or outer.tier is Tier.SPECIFIC


def _cost(one: Match, other: Match) -> int:
    pairs = ((one.projects, other.projects), (one.owners, other.owners), (one.tags, other.tags))
    return 1 + 2 * sum(len(some) * len(others) for some, others in pairs)


def _warn(draft: Draft, inner: Policy, outer_draft: Draft, outer: Policy) -> None:
    place = f"{outer_draft.notes.file}:{outer_draft.node.line}"
    draft.notes.warn(
        draft.site("spec.match"),
        "RP039",
        f'every thread that "{inner.name}" matches, "{outer.name}" ({place}) matches too:'
        f" {_who_decides(inner, outer)}.",
        _fix(outer),
    )


def _who_decides(inner: Policy, outer: Policy) -> str:
    if outer.tier is not inner.tier:
        return f'beside a specific rule one of tier default drops out, so "{inner.name}" never decides'
    first = _earlier(inner, outer)
    if first is None:
        return "whichever date is earlier decides"
    told = f'"{first.name}" decides, {first.delete.after} being earlier' if first.delete else ""
    if first is outer:
        return f'{told}, and "{inner.name}" never does'
    return told


def _earlier(one: Policy, other: Policy) -> Policy | None:
    """Return the rule whose date always comes first (at a tie the first by name), or None if it depends."""
    if one.delete is None or other.delete is None or one.delete.since is not other.delete.since:
        return None
    for first, second in ((one, other), (other, one)):
        if _never_later(first.delete, second.delete) and not _never_later(second.delete, first.delete):
            return first
    if _never_later(one.delete, other.delete):
        return min(one, other, key=lambda policy: policy.name)
    return None


def _never_later(one: DeleteRule | None, other: DeleteRule | None) -> bool:
    return one is not None and other is not None and not other.after.ends_before(one.after)


def _fix(outer: Policy) -> str:
    way = "" if outer.tier is Tier.DEFAULT else f', or make "{outer.name}" tier: default'
    return f'If that is not meant, leave them out of "{outer.name}" with except{way}.'


def covers(outer: Policy, inner: Policy) -> bool:
    """Whether every thread that the inner policy matches is provably matched by the outer one."""
    if not _contains(outer.match, inner.match):
        return False
    if outer.except_ is None:
        return True
    return inner.except_ is not None and _contains(inner.except_, outer.except_)


def _contains(outer: Match, inner: Match) -> bool:
    if outer.all:
        return True
    if inner.all:
        return False
    return (
        _globs_contain(outer.projects, inner.projects)
        and (not outer.kinds or (bool(inner.kinds) and set(inner.kinds) <= set(outer.kinds)))
        and _globs_contain(outer.owners, inner.owners)
        and all(any(_implies(given, wanted) for given in inner.tags) for wanted in outer.tags)
    )


def _globs_contain(outer: Sequence[str], inner: Sequence[str]) -> bool:
    if not outer:
        return True
    return bool(inner) and all(any(_glob_contains(wide, narrow) for wide in outer) for narrow in inner)


def _glob_contains(wide: str, narrow: str) -> bool:
    """Whether whatever fits the narrow pattern fits the wide one.

    The wide one is tried on the narrow one's text: its ``*`` may stand for the other's wildcards, and its
    ``?`` for the other's ``?``. A ``?`` may not stand for a ``*``, so those two together are given up on.
    """
    return wide == narrow or (not ("?" in wide and "*" in narrow) and glob_matches(wide, narrow))


def _implies(given: TagSelector, wanted: TagSelector) -> bool:
    """Whether every thread that fits the one selector fits the other."""
    if given.key != wanted.key:
        return False
    values, others = set(given.values), set(wanted.values)
    match wanted.operator, given.operator:
        case ("Exists", "In" | "Exists") | ("DoesNotExist" | "NotIn", "DoesNotExist"):
            return True
        case ("In", "In"):
            return values <= others
        case ("NotIn", "NotIn"):
            return values >= others
        case ("NotIn", "In"):
            return not values & others
        case _:
            return False
