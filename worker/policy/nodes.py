"""YAML text as a tree of nodes that know their place.

Stricter than YAML, because its looser parts have silently changed retention elsewhere: no duplicate keys,
no anchors, aliases or tags, no tabs, no byte order mark. Scalars stay text: the field decides what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)

from worker.policy.findings import Notes

MAX_BYTES = 1_000_000
_MAX_DEPTH = 32
_UNREADABLE = "RP022"
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in a file, both counted from 1."""

    line: int
    col: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarNode:
    """A single value as written; ``plain`` when it stood without quotes."""

    line: int
    col: int
    text: str
    plain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListNode:
    """A sequence."""

    line: int
    col: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapNode:
    """A mapping: the keys are distinct scalars, in the order of the file."""

    line: int
    col: int
    entries: tuple[tuple[ScalarNode, Node], ...]


Node: TypeAlias = ScalarNode | ListNode | MapNode


@dataclass(slots=True, kw_only=True)
class _Open:
    """A collection whose end has not come yet."""

    line: int
    col: int
    mapping: bool
    nodes: list[Node] = field(default_factory=list)


def documents(text: str, notes: Notes) -> list[Node]:
    """Return the documents that could be read, without empty ones; every problem is noted, none raised."""
    if not _acceptable(text, notes):
        return []
    if text.startswith("\ufeff"):
        notes.error(
            Place(line=1, col=1),
            _UNREADABLE,
            "the file starts with a byte order mark.",
            "Save it as plain UTF-8.",
        )
        text = text[1:]
    tab = text.find("\t")
    if tab >= 0:
        notes.error(_place(text, tab), _UNREADABLE, "tab character.", "Use spaces.")
        text = text.replace("\t", " ")
    found: list[Node] = []
    try:
        found.extend(_trees(text, notes))
    except MarkedYAMLError as error:
        # A tab is the likelier cause of what comes after it, and is noted already.
        if tab < 0:
            _note_syntax(error, notes)
    except Exception as error:  # noqa: BLE001 - a defect of the parser must refuse the file, not stop the service
        notes.error(
            Place(line=1, col=1), _UNREADABLE, f"not readable as YAML ({type(error).__name__}).", "Check it."
        )
    return found


def _acceptable(text: str, notes: Notes) -> bool:
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        notes.error(Place(line=1, col=1), _UNREADABLE, "the file is larger than 1 MB.", "Split it.")
        return False
    control = _CONTROL.search(text)
    if control:
        what = f"character U+{ord(control[0]):04X} is not allowed."
        notes.error(_place(text, control.start()), _UNREADABLE, what, "Remove it.")
    return not control


def _place(text: str, offset: int) -> Place:
    return Place(line=text.count("\n", 0, offset) + 1, col=offset - text.rfind("\n", 0, offset))


def _note_syntax(error: MarkedYAMLError, notes: Notes) -> None:
    mark = error.problem_mark or error.context_mark
    at = Place(line=mark.line + 1, col=mark.column + 1) if mark else Place(line=1, col=1)
    context = f"{error.context}: " if error.context else ""
    notes.error(
        at, _UNREADABLE, f"not readable as YAML: {context}{error.problem}.", "Check indentation and quotes."
    )


def _trees(text: str, notes: Notes) -> Iterator[Node]:
    """Build the trees without recursion; a document with a refused feature is noted and left out."""
    open_: list[_Open] = []
    root: Node | None = None
    before = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        match event:
            case DocumentStartEvent():
                root, before = None, notes.count
            case DocumentEndEvent():
                if root and not _is_empty(root) and notes.count == before:
                    yield root
            case CollectionStartEvent():
                _check_plain(event, notes)
                at = _start(event)
                open_.append(_Open(line=at.line, col=at.col, mapping=isinstance(event, MappingStartEvent)))
                if len(open_) > _MAX_DEPTH:
                    notes.error(at, _UNREADABLE, f"nested deeper than {_MAX_DEPTH} levels.", "Flatten it.")
                    return
            case CollectionEndEvent() | ScalarEvent() | AliasEvent():
                node = _node(event, open_, notes)
                if open_:
                    open_[-1].nodes.append(node)
                else:
                    root = node
            case _:
                pass


def _node(event: Event, open_: list[_Open], notes: Notes) -> Node:
    if isinstance(event, CollectionEndEvent):
        return _closed(open_.pop(), notes)
    _check_plain(event, notes)
    text = event.value if isinstance(event, ScalarEvent) else ""
    plain = isinstance(event, ScalarEvent) and not event.style
    at = _start(event)
    return ScalarNode(line=at.line, col=at.col, text=text, plain=plain)


def _start(event: Event) -> Place:
    return Place(line=event.start_mark.line + 1, col=event.start_mark.column + 1)


def _check_plain(event: Event, notes: Notes) -> None:
    """Refuse what makes one part of a file stand for another, or a value something else than it reads."""
    if isinstance(event, NodeEvent) and event.anchor is not None:
        what = f'"*{event.anchor}"' if isinstance(event, AliasEvent) else f'"&{event.anchor}"'
        notes.error(
            _start(event),
            _UNREADABLE,
            f"anchors and aliases are not allowed ({what}).",
            "Write the value out.",
        )
    if isinstance(event, ScalarEvent | CollectionStartEvent) and event.tag is not None:
        notes.error(_start(event), _UNREADABLE, f'the tag "{event.tag}" is not allowed.', "Leave it out.")


def _closed(done: _Open, notes: Notes) -> Node:
    if not done.mapping:
        return ListNode(line=done.line, col=done.col, items=tuple(done.nodes))
    entries: dict[str, tuple[ScalarNode, Node]] = {}
    for key, value in zip(done.nodes[::2], done.nodes[1::2], strict=True):
        if not isinstance(key, ScalarNode):
            notes.error(key, _UNREADABLE, "a key must be a single word.", "Write key: value.")
        elif key.text in entries:
            first = entries[key.text][0]
            notes.error(
                key,
                "RP001",
                f'duplicate key "{key.text}" (first at {first.line}:{first.col}).',
                "YAML would silently use the last one.",
            )
        else:
            entries[key.text] = (key, value)
    return MapNode(line=done.line, col=done.col, entries=tuple(entries.values()))


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.plain and not node.text


def from_json(value: object) -> Node:
    """Return the tree of a parsed JSON value, for reading a canonical bundle back; raises TypeError."""
    match value:
        case bool():
            return ScalarNode(line=0, col=0, text="true" if value else "false", plain=True)
        case int() | float():
            return ScalarNode(line=0, col=0, text=str(value), plain=True)
        case str():
            return ScalarNode(line=0, col=0, text=value, plain=False)
        case Mapping():
            entries = ((from_json(str(key)), from_json(one)) for key, one in value.items())
            return MapNode(
                line=0, col=0, entries=tuple((k, v) for k, v in entries if isinstance(k, ScalarNode))
            )
        case Sequence():
            return ListNode(line=0, col=0, items=tuple(from_json(one) for one in value))
        case _:
            raise TypeError(f"a bundle holds no {type(value).__name__}")
