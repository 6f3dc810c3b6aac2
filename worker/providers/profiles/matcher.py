"""Matchers: whether the JSON of a 404 means that there is no object of this kind with this id.

DANGER. A false match turns a wrong key, a wrong base URL or a retired endpoint into a certificate of
deletion. Invariants that no profile can lift: only a message of at most 2,000 characters counts, and only
if it names the very id that was sent, alone and outside of any path, and speaks of nobody's rights. Whatever
does not match is `route_absent`, which is never called deleted.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

_LONGEST_MESSAGE = 2000
_PART_OF_AN_ID_OR_PATH = r"[A-Za-z0-9_\-/]"
_PARTS = frozenset(string.ascii_letters + string.digits + "_-/")

# "It does not exist or you do not have access to it": what a server says so may well be there.
_MAY_BE_THERE = re.compile(
    r"\b(?:access|permission|permitted|allowed|forbidden|denied|(?:un)?authori[sz]ed|entitled|rights?|owned?"
    r"|belongs?|visible|credentials?|api[ _-]?keys?)\b",
    re.IGNORECASE,
)

ID = "{id}"
NOUN = "{noun}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """The words of one kind's absence.

    ``at`` are the places of the message, such as ``error.message``; the first text found counts. ``types``
    are the values of ``error.type`` that count (None: any, or none at all). The message must say one of
    ``says`` (``*`` is any run of text) anywhere beside the id, or begin with one of ``begins``, in which
    ``{noun}`` is a word for the kind and ``{id}`` what was sent, with or without quotation marks.
    """

    at: tuple[str, ...]
    types: frozenset[str] | None = None
    says: tuple[str, ...] = ()
    begins: tuple[str, ...] = ()

    def matches(self, body: Mapping[str, object], *, nouns: Sequence[str], object_id: str) -> bool:
        """Judge the JSON of a 404."""
        message = message_of(body, self.at)
        if message is None or not object_id or not self._type_counts(body):
            return False
        if len(message) > _LONGEST_MESSAGE or not names(message, object_id):
            return False
        if _MAY_BE_THERE.search(message.replace(object_id, "")):
            return False
        return self._says(message, object_id) or self._begins(message, nouns, object_id)

    def _type_counts(self, body: Mapping[str, object]) -> bool:
        if self.types is None:
            return True
        error = body.get("error")
        given = error.get("type") if isinstance(error, dict) else None
        return isinstance(given, str) and given in self.types

    def _says(self, message: str, object_id: str) -> bool:
        # What the id itself spells says nothing.
        beside = message.replace(object_id, "")
        return any(_phrase(one).search(beside) is not None for one in self.says)

    def _begins(self, message: str, nouns: Sequence[str], object_id: str) -> bool:
        return any(_form(one, nouns, object_id).match(message.lstrip()) for one in self.begins)


def names(message: str, object_id: str) -> bool:
    """Whether the id stands alone: not part of a longer one, and not in a path that a route error quotes."""
    # Without a pattern: every thread has an id of its own, and compiling one takes longer than all the rest.
    at = message.find(object_id)
    while at >= 0:
        end = at + len(object_id)
        if message[at - 1 : at] not in _PARTS and message[end : end + 1] not in _PARTS:
            return True
        at = message.find(object_id, at + 1)
    return False


def message_of(body: Mapping[str, object], at: Sequence[str]) -> str | None:
    """Return the first text at one of these places."""
    for place in at:
        value: object = body
        for key in place.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str):
            return value
    return None


@lru_cache(maxsize=256)
def _phrase(words: str) -> re.Pattern[str]:
    parts = (rf"\b{re.escape(part.strip())}\b" for part in words.split("*"))
    return re.compile(".+".join(parts), re.IGNORECASE)


def _form(form: str, nouns: Sequence[str], object_id: str) -> re.Pattern[str]:
    quoted = rf"['\"`]?{re.escape(object_id)}['\"`]?(?!{_PART_OF_AN_ID_OR_PATH})"
    word = "(?:" + "|".join(re.escape(noun) for noun in nouns) + ")"
    spelled = re.escape(form).replace(re.escape(ID), quoted).replace(re.escape(NOUN), word)
    return re.compile(spelled + (r"\b" if form[-1].isalnum() else ""), re.IGNORECASE)
