"""The fields of a profile: matchers, and what differs of a kind's facts."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, TypeAlias

from worker.policy.nodes import MapNode, Node
from worker.policy.readers import Fields, Path, choice, list_of, scalar, text, whole
from worker.providers.kind_facts import Fate
from worker.providers.profiles.matcher import ID, NOUN, Matcher

# The fields of KindFacts that a profile replaces.
Override: TypeAlias = dict[str, Any]

NONE = "none"
_EQUAL = "equal"
_PLACE = re.compile(r"[a-z_]{1,32}(?:\.[a-z_]{1,32})?")
_PREFIX = re.compile(r"(?:/[a-z0-9_.-]{1,64}){0,6}")
_QUERY_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PLACEHOLDER = re.compile(r"[{}]")
_LONGEST_WORDS = 2000
_SHORTEST_PHRASE = 6


def echo(node: Node, path: Path) -> str:
    """Read ``equal``, the only rule for ids that proves anything."""
    word = scalar(node, path).text
    if word != _EQUAL:
        what = f'{path.label} "{word}" would let an answer about another object count.'
        raise path.notes.error(node, "RP026", what, f"Write {_EQUAL}.")
    return word


def matcher(node: Node, path: Path) -> Matcher:
    """Read the words of one kind's absence."""
    fields = Fields(node, path)
    at = fields.optional("at", list_of(_place), ("error.message",))
    types = fields.optional("types", list_of(text), None)
    says = fields.optional("says", list_of(_phrase), ())
    begins = fields.optional("begins", list_of(_form), ())
    if not says and not begins:
        fields.refuse(node, "RP024", f"{path.label} needs says or begins.", "Quote what the server says.")
    if says and types is None:
        fields.refuse(
            node, "RP024", f"{path.label}: says needs types.", "Loose words count only beside an error.type."
        )
    fields.done()
    return Matcher(at=at, types=frozenset(types) if types else None, says=says, begins=begins)


def override(node: Node, path: Path) -> Override:
    """Read what differs of a kind's facts, as fields of KindFacts."""
    fields = Fields(node, path)
    given: Override = {}
    for name, (target, reader) in _FACTS.items():
        if fields.has(name):
            given[target] = fields.optional(name, reader, None)
        else:
            fields.expect(name)
    fields.done()
    return given


def _place(node: Node, path: Path) -> str:
    return _fitting(_PLACE, node, path, "a place such as error.message, message or detail")


def _prefix(node: Node, path: Path) -> str:
    word = scalar(node, path).text if not _is_none(node) else ""
    if not _PREFIX.fullmatch(word) or ".." in word:
        raise path.notes.error(node, "RP025", f"{path.label} is no path.", "Write /openai/v1, or none.")
    return word


def _phrase(node: Node, path: Path) -> str:
    """Read words of which at most one part is open; too few of them would fit anything."""
    words = text(node, path)
    if words.count("*") > 1 or len(words.replace("*", "").strip()) < _SHORTEST_PHRASE or "{" in words:
        what = f"{path.label} must be words with at most one * in them."
        raise path.notes.error(node, "RP025", what, 'Write for example "not found" or "no * found".')
    return words


def _form(node: Node, path: Path) -> str:
    words = text(node, path)
    if ID not in words or NOUN not in words or _PLACEHOLDER.search(words.replace(ID, "").replace(NOUN, "")):
        what = f"{path.label} must hold {ID} and {NOUN}, and no other placeholder."
        raise path.notes.error(node, "RP025", what, f'Write for example "No {NOUN} found with id {ID}".')
    return words


def _long_text(node: Node, path: Path) -> str:
    found = " ".join(scalar(node, path).text.split())
    if len(found) > _LONGEST_WORDS or not found.isprintable():
        raise path.notes.error(node, "RP035", f"{path.label} must be 1 to {_LONGEST_WORDS} characters.")
    return found


def _date(node: Node, path: Path) -> date | None:
    if _is_none(node):
        return None
    try:
        return date.fromisoformat(scalar(node, path).text)
    except ValueError:
        raise path.notes.error(
            node, "RP025", f"{path.label} is no date.", "Write 2027-03-31, or none."
        ) from None


def _days(node: Node, path: Path) -> timedelta | None:
    return None if _is_none(node) else timedelta(days=whole(0, 3650)(node, path))


def _unlisted(node: Node, path: Path) -> str:
    return "" if _is_none(node) else text(node, path)


def _query(node: Node, path: Path) -> dict[str, str]:
    return _words(node, path, text)


def _cascade(node: Node, path: Path) -> dict[str, Fate]:
    return _words(node, path, choice(Fate))


def _words(node: Node, path: Path, reader: Callable[[Node, Path], Any]) -> dict[str, Any]:
    fields = Fields(node, path)
    keys = [key.text for key, _ in node.entries] if isinstance(node, MapNode) else []
    found = {name: fields.optional(name, reader, None) for name in keys}
    for name in keys:
        if not name.isprintable() or (path.name.endswith("query") and not _QUERY_NAME.fullmatch(name)):
            fields.refuse(fields.key(name), "RP025", f"{path.label} has a name that cannot be sent.")
    fields.done()
    return found


def _fitting(pattern: re.Pattern[str], node: Node, path: Path, what: str) -> str:
    word = scalar(node, path).text
    if not pattern.fullmatch(word):
        raise path.notes.error(node, "RP025", f"{path.label} must be {what}.")
    return word


def _is_none(node: Node) -> bool:
    return getattr(node, "text", None) == NONE


_FACTS: dict[str, tuple[str, Callable[[Node, Path], Any]]] = {
    "prefix": ("prefix", _prefix),
    "query": ("query", _query),
    "unlisted": ("unlisted", _unlisted),
    "endpoint_end": ("endpoint_end", _date),
    "tail_days": ("tail", _days),
    "deletion_semantics": ("deletion_semantics", _long_text),
    "cascade": ("cascade", _cascade),
}
