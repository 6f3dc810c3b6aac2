"""Readers turn nodes into checked values. Each notes what is wrong, with its place and the repair."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Generic, TypeAlias, TypeVar, cast

from worker.model.errors import Invalid
from worker.policy.durations import (
    AMBIGUOUS_DURATION,
    EMPTY_DURATION,
    Duration,
    parse_duration,
)
from worker.policy.findings import Notes, Refused
from worker.policy.match import check_glob
from worker.policy.nodes import ListNode, MapNode, Node, ScalarNode

T = TypeVar("T")
D = TypeVar("D")
E = TypeVar("E", bound=StrEnum)
N = TypeVar("N", int, float)

MAX_TEXT = 200
_WHOLE = re.compile(r"0|[1-9][0-9]{0,9}")
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,9})(?:\.[0-9]{1,4})?")
_DURATION_CODES = {AMBIGUOUS_DURATION: "RP003", EMPTY_DURATION: "RP004"}

# How YAML 1.1 or 1.2 would read a scalar that stands without quotes.
_NOT_TEXT: Sequence[tuple[str, re.Pattern[str]]] = (
    ("boolean true", re.compile(r"y|yes|on|true", re.IGNORECASE)),
    ("boolean false", re.compile(r"n|no|off|false", re.IGNORECASE)),
    ("null", re.compile(r"~|null", re.IGNORECASE)),
    ("a number", re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-f_]+|[0-9][0-9_]*)", re.IGNORECASE)),
    ("a number", re.compile(r"[-+]?(?=\.?[0-9])[0-9_]*\.?[0-9_]*(?:e[-+]?[0-9]+)?", re.IGNORECASE)),
    ("a number", re.compile(r"[-+]?\.(?:inf|nan)", re.IGNORECASE)),
    ("a number to base 60", re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")),
    ("a date", re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """That a mapping was asked for a field: where, by which reader, and what it means when left out."""

    path: str
    reader: Callable[[Node, Path], Any]
    required: bool
    default: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Where in a document a reader is. ``sites`` remembers the node of every field, for later checks.

    ``asks``, where given, remembers what was asked for: the schema for editors is made of it.
    """

    notes: Notes
    name: str = ""
    sites: dict[str, Node] = field(default_factory=dict)
    asks: list[Ask] | None = None

    def down(self, name: str) -> Path:
        """Return the path of a field."""
        return replace(self, name=f"{self.name}.{name}" if self.name else name)

    def item(self, index: int) -> Path:
        """Return the path of a list's item."""
        return replace(self, name=f"{self.name}[{index}]")

    @property
    def label(self) -> str:
        """The name that findings use."""
        return self.name.removeprefix("spec.")


Reader: TypeAlias = Callable[[Node, Path], T]


class Fields:
    """One mapping being read, field by field; ``done`` raises when anything in it was refused."""

    def __init__(self, node: Node, path: Path) -> None:
        self.node = node
        self._path = path
        self._known: list[str] = []
        self._is_mapping = isinstance(node, MapNode)
        self._entries = {key.text: (key, value) for key, value in _entries(node)}
        self.refused = not self._is_mapping
        if not self._is_mapping:
            what = f"{path.label or 'a document'} must be a mapping."
            path.notes.error(node, "RP025", what, "Write key: value lines.")

    def has(self, name: str) -> bool:
        """Whether the field is given."""
        return name in self._entries

    @property
    def names(self) -> list[str]:
        """The names of the given fields."""
        return list(self._entries)

    def value(self, name: str) -> Node | None:
        """Return a field's node, unread."""
        return self._entries[name][1] if name in self._entries else None

    def key(self, name: str) -> Node:
        """Return the place of the field's name, or of the mapping where it is missing."""
        return self._entries[name][0] if name in self._entries else self.node

    def required(self, name: str, reader: Reader[T]) -> T:
        """Read a field that must be there."""
        if name not in self._entries:
            self.refuse(self.node, "RP024", f"{self._path.down(name).label} is missing.", "Add it.")
        # `done` raises for a refused field, so the None never leaves the mapping's reader.
        return cast("T", self._read(name, reader, None, required=True))

    def optional(self, name: str, reader: Reader[T], default: D) -> T | D:
        """Read a field that may be left out."""
        return self._read(name, reader, default, required=False)

    def _read(self, name: str, reader: Reader[T], default: D, *, required: bool) -> T | D:
        self._known.append(name)
        if self._path.asks is not None:
            asked = self._path.down(name).name
            self._path.asks.append(Ask(path=asked, reader=reader, required=required, default=default))
        if name not in self._entries:
            return default
        value = self._entries[name][1]
        path = self._path.down(name)
        path.sites[path.name] = value
        try:
            return reader(value, path)
        except Refused:
            self.refused = True
            return default

    def refuse(self, at: Node, code: str, message: str, fix: str = "") -> None:
        """Note an error that concerns several fields."""
        # What is no mapping was noted as that; what it lacks beside would only be noise.
        if self._is_mapping:
            self._path.notes.error(at, code, message, fix)
        self.refused = True

    def warn(self, at: Node, code: str, message: str, fix: str = "") -> None:
        """Note a warning that concerns several fields."""
        self._path.notes.warn(at, code, message, fix)

    def expect(self, name: str) -> None:
        """Take a field for known although nothing reads it."""
        self._known.append(name)

    def done(self) -> None:
        """Note unknown fields; raises Refused when any problem was noted in this mapping."""
        for name, (key, _) in self._entries.items():
            if name not in self._known:
                where = self._path.name or "the document"
                fix = "" if self._path.notes.full else did_you_mean(name, self._known)
                self.refuse(key, "RP005", f'unknown field "{name}" in {where}.', fix)
        if self.refused:
            raise Refused


def all_done(*mappings: Fields) -> None:
    """End several mappings, so that each reports its unknown fields; raises Refused as ``done`` does."""
    refused = False
    for fields in mappings:
        try:
            fields.done()
        except Refused:
            refused = True
    if refused:
        raise Refused


def _entries(node: Node) -> Sequence[tuple[ScalarNode, Node]]:
    return node.entries if isinstance(node, MapNode) else ()


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a suggestion, or the list of what is known."""
    names = list(known)
    close = difflib.get_close_matches(word[:MAX_TEXT], names, n=1)
    return f'Did you mean "{close[0]}"?' if close else f"Known: {', '.join(names)}."


def scalar(node: Node, path: Path) -> ScalarNode:
    """Read any single value that is not empty."""
    if not isinstance(node, ScalarNode):
        raise path.notes.error(
            node, "RP025", f"{path.label} must be a single value.", "Write one word, or quote a text."
        )
    if not node.text:
        raise path.notes.error(
            node, "RP025", f"{path.label} is empty.", "Give it a value, or leave the field out."
        )
    return node


def text(node: Node, path: Path) -> str:
    """Read 1 to 200 printable characters; a plain scalar that YAML may take for something else is refused."""
    found = scalar(node, path)
    for kind, pattern in _NOT_TEXT if found.plain else ():
        if pattern.fullmatch(found.text):
            label = "tag value" if ".values[" in path.name else path.label
            raise path.notes.error(
                node,
                "RP012",
                f"{label} is YAML {kind} (written as {found.text}).",
                f'Quote it: "{found.text}".',
            )
    if len(found.text) > MAX_TEXT or not found.text.isprintable():
        raise path.notes.error(
            node,
            "RP035",
            f"{path.label} must be 1 to {MAX_TEXT} printable characters.",
            "Shorten it, on one line.",
        )
    return found.text


def glob(node: Node, path: Path) -> str:
    """Read an anchored glob."""
    pattern = text(node, path)
    try:
        check_glob(pattern)
    except Invalid as error:
        raise path.notes.error(node, "RP027", error.problem, error.repair) from None
    return pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Generic[E]):
    """Reads one of a closed set of words."""

    options: type[E]

    def __call__(self, node: Node, path: Path) -> E:
        """Return the word's value; raises Refused."""
        word = scalar(node, path).text
        try:
            return self.options(word)
        except ValueError:
            known = [option.value for option in self.options]
            raise path.notes.error(
                node, "RP026", f'{path.label} "{word}" is unknown.', did_you_mean(word, known)
            ) from None


def choice(options: type[E]) -> Choice[E]:
    """Make a reader of a closed set of words."""
    return Choice(options=options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(Generic[N]):
    """Reads a number in decimal digits, without quotes, from ``low`` to ``high``."""

    low: N
    high: N
    cast: type[N]
    form: re.Pattern[str]
    what: str
    fix: str

    def __call__(self, node: Node, path: Path) -> N:
        """Return the number; raises Refused."""
        found = scalar(node, path)
        if not found.plain or not self.form.fullmatch(found.text):
            raise path.notes.error(
                node, "RP025", f'{path.label} must be {self.what}, and "{found.text}" is not one.', self.fix
            )
        value = self.cast(found.text)
        if self.low <= value <= self.high:
            return value
        raise path.notes.error(
            node,
            "RP034",
            f"{path.label} must be from {self.low:g} to {self.high:g}.",
            "Choose one in between.",
        )


def whole(low: int, high: int) -> Number[int]:
    """Make a reader of a whole number in decimal digits, without quotes."""
    fix = f"Write it like {max(low, 30)}, without quotes or leading zeros."
    return Number(low=low, high=high, cast=int, form=_WHOLE, what="a whole number", fix=fix)


def number(low: float, high: float) -> Number[float]:
    """Make a reader of a number with at most four decimals, without quotes."""
    fix = "Write it like 10 or 0.5, without quotes."
    return Number(low=float(low), high=float(high), cast=float, form=_NUMBER, what="a number", fix=fix)


def duration(node: Node, path: Path) -> Duration:
    """Read a duration."""
    found = scalar(node, path)
    try:
        return parse_duration(found.text)
    except Invalid as error:
        code = _DURATION_CODES.get(error.code, "RP002")
        message, fix = error.problem, error.repair
        if code == "RP004":
            effect = "would delete everything now" if path.label == "delete.after" else "is not"
            message, fix = f'{path.label} must be greater than zero; "{found.text[:40]}" {effect}.', ""
        raise path.notes.error(node, code, message, fix) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOf(Generic[T]):
    """Reads a list with at least one item, all of which are read before any is refused."""

    item: Reader[T]

    def __call__(self, node: Node, path: Path) -> tuple[T, ...]:
        """Return the values; raises Refused."""
        if not isinstance(node, ListNode):
            raise path.notes.error(node, "RP025", f"{path.label} must be a list.", "Write [one, two].")
        if not node.items:
            raise path.notes.error(
                node, "RP025", f"{path.label} is an empty list.", "Name something, or leave it out."
            )
        values: list[T] = []
        for index, item in enumerate(node.items):
            at = path.item(index)
            at.sites[at.name] = item
            try:
                values.append(self.item(item, at))
            except Refused:
                continue
        if len(values) < len(node.items):
            raise Refused
        return tuple(values)


def list_of(reader: Reader[T]) -> ListOf[T]:
    """Make a reader of a list with at least one item."""
    return ListOf(item=reader)
