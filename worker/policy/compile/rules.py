"""A bundle sorted for the compiler: which policies ask for what, and which dates they share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from worker.model.decision import Hold, TagSelector
from worker.policy.compile.bits import Mask, Roll
from worker.policy.document import Basis, Bundle, Match, Mode, Policy, ProducerTtl, Since, Tier
from worker.policy.durations import Duration

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """The rules that count the same length from the same date."""

    since: Since
    length: Duration
    mask: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The enforced policies as sets; those in ``audit`` and ``disabled`` are not even here."""

    roll: Roll
    matching: tuple[tuple[Policy, Mask], ...]
    specific: Mask
    default: Mask
    ignoring_ttl: Mask
    retaining: Mask
    legal: Mask
    forever: Mask
    deletes: tuple[Dated, ...]
    retains: tuple[Dated, ...]
    graces: tuple[tuple[Duration, Mask], ...]

    @property
    def notifying(self) -> Mask:
        """Those that owe a notice."""
        return self.roll.those(lambda policy: policy.notify is not None)

    @property
    def everyone(self) -> Mask:
        """All of them."""
        return self.roll.those(lambda _: True)

    def counting_from(self, since: Since, dated: Sequence[Dated]) -> Mask:
        """Return the rules among these that count from this date."""
        return union([one for one in dated if one.since is since]) or (0,) * self.roll.size


def rules_of(bundle: Bundle) -> Rules:
    """Sort a bundle's enforced policies."""
    enforced = sorted(
        (one for one in bundle.policies if one.mode is Mode.ENFORCE), key=lambda policy: policy.name
    )
    roll = Roll(policies=tuple(enforced))
    return Rules(
        roll=roll,
        matching=tuple((found[0], _mask(roll, found)) for found in _grouped(enforced, _coverage).values()),
        specific=roll.those(lambda one: one.delete is not None and one.tier is not Tier.DEFAULT),
        default=roll.those(lambda one: one.delete is not None and one.tier is Tier.DEFAULT),
        ignoring_ttl=roll.those(
            lambda one: one.delete is not None and one.delete.producer_ttl is ProducerTtl.IGNORE
        ),
        retaining=roll.those(lambda one: one.retain is not None),
        legal=roll.those(lambda one: one.retain is not None and one.retain.basis is Basis.LEGAL),
        forever=roll.those(lambda one: one.retain is not None and one.retain.length is None),
        deletes=_dated(roll, lambda one: (one.delete.since, one.delete.after) if one.delete else None),
        retains=_dated(
            roll,
            lambda one: (one.retain.since, one.retain.length) if one.retain and one.retain.length else None,
        ),
        graces=tuple(
            (length, _mask(roll, found))
            for length, found in _grouped(
                enforced, lambda one: one.notify.grace if one.notify else None
            ).items()
        ),
    )


def union(dated: Sequence[Dated]) -> Mask:
    """Return the rules of all of these, which have none in common."""
    return tuple(sum(words) for words in zip(*(one.mask for one in dated), strict=True))


def tag_keys(rules: Rules, holds: Iterable[Hold]) -> list[str]:
    """Return the keys of all tags that any rule or hold asks for."""
    matches = chain.from_iterable((one.match, one.except_) for one, _ in rules.matching)
    asked: list[Sequence[TagSelector]] = [one.tags for one in matches if one is not None]
    asked += [hold.scope.tags for hold in holds]
    return sorted({selector.key for selectors in asked for selector in selectors})


def _coverage(policy: Policy) -> tuple[Match, Match | None]:
    return policy.match, policy.except_


def _dated(roll: Roll, date: Callable[[Policy], tuple[Since, Duration] | None]) -> tuple[Dated, ...]:
    found = _grouped(roll.policies, date)
    return tuple(
        Dated(since=since, length=length, mask=_mask(roll, some)) for (since, length), some in found.items()
    )


def _grouped(policies: Iterable[Policy], key: Callable[[Policy], K | None]) -> dict[K, list[Policy]]:
    groups: dict[K, list[Policy]] = defaultdict(list)
    for policy in policies:
        found = key(policy)
        if found is not None:
            groups[found].append(policy)
    return groups


def _mask(roll: Roll, some: Sequence[Policy]) -> Mask:
    names = {policy.name for policy in some}
    return roll.those(lambda policy: policy.name in names)
