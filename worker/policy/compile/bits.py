"""Sets of policies in SQL: each policy is a bit, in the order of names, so the lowest is the first name.

A bundle may have more policies than a number has bits, so a set is a row of numbers, called words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, case, cast, false, literal, or_
from sqlalchemy.types import Text

from worker.policy.compile.instants import number
from worker.policy.document import Policy

# Both databases count in 64 bits, of which one is the sign.
_PER_WORD = 62

Words = Sequence[ColumnElement[Any]]
Mask = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """The policies that have a say, by code point of their names."""

    policies: tuple[Policy, ...]

    @property
    def size(self) -> int:
        """How many words a set of them takes."""
        return -(-len(self.policies) // _PER_WORD)

    def those(self, wanted: Callable[[Policy], bool]) -> Mask:
        """Return the set of the policies that are wanted."""
        words = [0] * self.size
        for place, policy in enumerate(self.policies):
            if wanted(policy):
                words[place // _PER_WORD] |= 1 << place % _PER_WORD
        return tuple(words)

    def first_name(self, words: Words) -> ColumnElement[Any]:
        """Return the name of the first of a set, or NULL where it is empty."""
        whens = []
        for index, word in enumerate(words):
            named = self.policies[index * _PER_WORD : (index + 1) * _PER_WORD]
            names = [(number(1 << place), literal(policy.name, Text())) for place, policy in enumerate(named)]
            lowest = word.bitwise_and(-word)
            whens.append((word != number(0), case(*((lowest == bit, name) for bit, name in names))))
        return case(*whens) if whens else cast(literal(None), Text)


def meets(words: Words, mask: Mask) -> ColumnElement[bool]:
    """Return whether the set has any of these."""
    hits = [_both(word, bits) != number(0) for word, bits in zip(words, mask, strict=True) if bits]
    return or_(false(), *hits)


def only(words: Words, mask: Mask) -> Words:
    """Return what both sets have."""
    return [_both(word, bits) for word, bits in zip(words, mask, strict=True)]


def collected(size: int, parts: Sequence[tuple[ColumnElement[bool], Mask]]) -> Words:
    """Return the union of those sets whose condition holds; they have nothing in common."""
    return [_collected([(when, mask[word]) for when, mask in parts if mask[word]]) for word in range(size)]


def _collected(parts: Sequence[tuple[ColumnElement[bool], int]]) -> ColumnElement[Any]:
    total: ColumnElement[Any] = _word(0)
    for when, bits in parts:
        total += case((when, number(bits)), else_=number(0))
    return total


def _both(word: ColumnElement[Any], bits: int) -> ColumnElement[Any]:
    return word.bitwise_and(_word(bits)) if bits else _word(0)


def _word(bits: int) -> ColumnElement[Any]:
    return cast(number(bits), BigInteger)
