"""What a body's fields may be: checks that are put together into records, without a library.

A record knows every one of its fields and refuses any other, so that a body never holds what nobody has
thought about. Each check can be asked in two ways, which a test holds equal: ``flaw`` says in words what is
wrong with any value, and ``left`` is for what is nearly always right, since each of a million entries is
checked before it is hashed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, Protocol, TypeAlias

MAX_INT = 2**53
MAX_STRING = 8 * 1024
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")

# By the exact type of a value: a question that is true of it where it is right, or None where all of that
# type are. It leaves open what is seen once in the written bytes of all fields together: that no text is
# longer than MAX_STRING and no integer beyond MAX_INT. Of a type that is not here only ``flaw`` can tell.
Left: TypeAlias = Mapping[type, Callable[[Any], object] | None]


class Check(Protocol):
    """What a value may be."""

    @property
    def left(self) -> Left:
        """What is left to ask of a value whose exact type is known."""
        ...

    def flaw(self, value: object, /) -> str | None:
        """Return what is wrong with the value, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Form:
    """A check that is made of its two ways to ask."""

    flaw: Callable[[object], str | None]
    left: Left


@dataclass(frozen=True, slots=True)
class Record:
    """An object with all of ``required``, any of ``optional``, and nothing else."""

    required: Mapping[str, Check]
    optional: Mapping[str, Check] = field(default_factory=dict)
    _known: Mapping[str, Check] = field(init=False, repr=False, compare=False)
    _left: Mapping[str, Left] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known = {**self.optional, **self.required}
        object.__setattr__(self, "_known", known)
        object.__setattr__(self, "_left", {name: check.left for name, check in known.items()})

    @property
    def left(self) -> Left:
        """What is left to ask of a dict."""
        return {dict: self.fits}

    def fits(self, value: Mapping[str, object]) -> bool:
        """Whether each field fits, and none is missing; KeyError for a name or a type that is not known."""
        left = self._left
        for name, given in value.items():
            ask = left[name][type(given)]
            if ask is not None and not ask(given):
                return False
        return len(value) == len(left) or value.keys() >= self.required.keys()

    def flaw(self, value: object) -> str | None:
        """Return what is wrong with the object, or None."""
        if not isinstance(value, Mapping):
            return "is no object"
        for name in self.required:
            if name not in value:
                return f"lacks {name}"
        for name, given in value.items():
            if name not in self._known:
                return f"has a field that this type does not know: {name}"
            if what := self._known[name].flaw(given):
                return f"{name} {what}"
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

    def fits(self, value: Mapping[str, object]) -> bool:
        """Whether the record that it is to be finds it right."""
        return self.having.fits(value) if self.name in value else self.lacking.fits(value)

    def flaw(self, value: object) -> str | None:
        """Return what is wrong with the object, or None."""
        named = isinstance(value, Mapping) and self.name in value
        return self.having.flaw(value) if named else self.lacking.flaw(value)


def maybe(check: Check) -> Check:
    """Null, or what the check takes."""
    return Form(lambda value: None if value is None else check.flaw(value), {type(None): None, **check.left})


def one_of(words: type[StrEnum]) -> Check:
    """One of the words of a vocabulary."""
    known = frozenset(word.value for word in words)

    def flaw(value: object) -> str | None:
        return None if isinstance(value, str) and value in known else "is no word of its vocabulary"

    return Form(flaw, {str: known.__contains__})


def many(check: Check, *, most: int) -> Check:
    """A list of at most so many."""
    left = check.left

    def fits(value: list[object] | tuple[object, ...]) -> bool:
        if len(value) > most:
            return False
        for one in value:
            ask = left[type(one)]
            if ask is not None and not ask(one):
                return False
        return True

    def flaw(value: object) -> str | None:
        if not isinstance(value, list | tuple):
            return "is no list"
        if len(value) > most:
            return f"has {len(value)} elements; {most} is the limit"
        for one in value:
            if what := check.flaw(one):
                return f"holds one that {what}"
        return None

    return Form(flaw, {list: fits, tuple: fits})


def pair(first: Check, second: Check) -> Check:
    """A list of two."""

    def fits(value: list[object] | tuple[object, ...]) -> bool:
        return len(value) == 2 and _fits(first, value[0]) and _fits(second, value[1])  # noqa: PLR2004 - a pair

    def flaw(value: object) -> str | None:
        if not isinstance(value, list | tuple) or len(value) != 2:  # noqa: PLR2004 - a pair
            return "is no pair"
        return first.flaw(value[0]) or second.flaw(value[1])

    return Form(flaw, {list: fits, tuple: fits})


def _fits(check: Check, value: object) -> bool:
    ask = check.left[type(value)]
    return ask is None or bool(ask(value))


def listing(name: str) -> Record:
    """A list of texts, and where it was cut how many there were and the digest of all (fields.listing)."""
    return Record({name: many(text, most=MAX_LISTED)}, {f"{name}_count": count, f"{name}_sha256": sha256})


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return "is no text"
    return None if len(value) <= MAX_STRING else f"has {len(value)} characters; {MAX_STRING} is the limit"


def _whole(value: object) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return "is no integer"
    return None if abs(value) <= MAX_INT else "is beyond 2^53"


def _count(value: object) -> str | None:
    return _whole(value) or ("is negative" if isinstance(value, int) and value < 0 else None)


def _flag(value: object) -> str | None:
    return None if isinstance(value, bool) else "is neither true nor false"


# Kept for a while, as the texts are that model/clock.py writes: an instant stands in several entries.
@lru_cache(maxsize=512)
def _is_instant(text: str) -> bool:
    return _INSTANT.fullmatch(text) is not None


def _instant(value: object) -> str | None:
    return None if isinstance(value, str) and _INSTANT.fullmatch(value) else "is no instant in UTC"


def _sha256(value: object) -> str | None:
    return None if isinstance(value, str) and _SHA256.fullmatch(value) else "is no SHA-256 in hex"


# Any text of at most 8,192 characters.
text: Final = Form(_text, {str: None})
# An integer within 2^53 either way, and no truth value.
whole: Final = Form(_whole, {int: None})
# One that is not negative.
count: Final = Form(_count, {int: (0).__le__})
# True or false.
flag: Final = Form(_flag, {bool: None})
# RFC 3339 in UTC, with up to six fractional digits.
instant: Final = Form(_instant, {str: _is_instant})
# A SHA-256 in 64 hex digits.
sha256: Final = Form(_sha256, {str: _SHA256.fullmatch})
# Each takes three bytes at least, and a body has 16 KiB.
MAX_LISTED = 5500
