"""What a body's fields may be: checks that are put together into records, without a library.

A check takes a value and returns what is wrong with it, or None. A record knows every one of its fields and
refuses any other, so that a body never holds what nobody has thought about.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

Check: TypeAlias = Callable[[object], str | None]

MAX_INT = 2**53
MAX_STRING = 8 * 1024
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Record:
    """An object with all of ``required``, any of ``optional``, and nothing else."""

    required: Mapping[str, Check]
    optional: Mapping[str, Check] = field(default_factory=dict)
    _known: Mapping[str, Check] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", {**self.optional, **self.required})

    def __call__(self, value: object) -> str | None:
        """Return what is wrong with the object, or None."""
        if type(value) is not dict and not isinstance(value, Mapping):
            return "is no object"
        if not self.required.keys() <= value.keys():
            return f"lacks {next(name for name in self.required if name not in value)}"
        known = self._known
        for name, given in value.items():
            if name not in known:
                return f"has a field that this type does not know: {name}"
            check = known[name]
            if check is text and type(given) is str and len(given) <= MAX_STRING:
                continue  # most fields: asking costs more than the rest of this loop
            if flaw := check(given):
                return f"{name} {flaw}"
        return None

    def __or__(self, other: Record) -> Record:
        """Return a record with the fields of both."""
        return Record({**self.required, **other.required}, {**self.optional, **other.optional})


def record(required: Mapping[str, Check], /, **more: Check) -> Record:
    """Return a record of these fields; ``more`` may be left out."""
    return Record(required, more)


@dataclass(frozen=True, slots=True)
class Either:
    """An object that is the one record where it has the field ``name``, and the other where it lacks it."""

    name: str
    having: Record
    lacking: Record

    @property
    def optional(self) -> Mapping[str, Check]:
        """What may be left out of the usual form, the one that lacks the field."""
        return self.lacking.optional

    def __call__(self, value: object) -> str | None:
        """Return what is wrong with the object, or None."""
        named = isinstance(value, Mapping) and self.name in value
        return self.having(value) if named else self.lacking(value)


def text(value: object) -> str | None:
    """Any text of at most 8,192 characters."""
    if not isinstance(value, str):
        return "is no text"
    return None if len(value) <= MAX_STRING else f"has {len(value)} characters; {MAX_STRING} is the limit"


def whole(value: object) -> str | None:
    """An integer within 2^53 either way, and no truth value."""
    if type(value) is int and -MAX_INT <= value <= MAX_INT:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        return "is no integer"
    return None if abs(value) <= MAX_INT else "is beyond 2^53"


def count(value: object) -> str | None:
    """An integer that is not negative."""
    if type(value) is int and 0 <= value <= MAX_INT:
        return None
    return whole(value) or ("is negative" if isinstance(value, int) and value < 0 else None)


def flag(value: object) -> str | None:
    """True or false."""
    return None if isinstance(value, bool) else "is neither true nor false"


def instant(value: object) -> str | None:
    """RFC 3339 in UTC, with up to six fractional digits."""
    return None if isinstance(value, str) and _INSTANT.fullmatch(value) else "is no instant in UTC"


def sha256(value: object) -> str | None:
    """A SHA-256 in 64 hex digits."""
    return None if isinstance(value, str) and _SHA256.fullmatch(value) else "is no SHA-256 in hex"


def maybe(check: Check) -> Check:
    """Null, or what the check takes."""
    return lambda value: None if value is None else check(value)


def one_of(words: type[StrEnum]) -> Check:
    """One of the words of a vocabulary."""
    known = frozenset(word.value for word in words)
    return lambda value: None if isinstance(value, str) and value in known else "is no word of its vocabulary"


def many(check: Check, *, most: int) -> Check:
    """A list of at most so many."""

    def flaw(value: object) -> str | None:
        if not isinstance(value, list | tuple):
            return "is no list"
        if len(value) > most:
            return f"has {len(value)} elements; {most} is the limit"
        for one in value:
            if what := check(one):
                return f"holds one that {what}"
        return None

    return flaw


def pair(first: Check, second: Check) -> Check:
    """A list of two."""

    def flaw(value: object) -> str | None:
        if not isinstance(value, list | tuple) or len(value) != 2:  # noqa: PLR2004 - a pair
            return "is no pair"
        return first(value[0]) or second(value[1])

    return flaw


def listing(name: str) -> Record:
    """A list of texts, and where it was cut how many there were and the digest of all (fields.listing)."""
    return Record({name: many(text, most=MAX_LISTED)}, {f"{name}_count": count, f"{name}_sha256": sha256})


# Each takes three bytes at least, and a body has 16 KiB.
MAX_LISTED = 5500
