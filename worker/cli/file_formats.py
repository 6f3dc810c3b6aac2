"""The files that `tenure import` reads: what one line of each format says to the API.

Every line is read by itself, so that a file of any size is streamed and a broken line spoils no other.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, TypeAlias, assert_never

from worker.cli.exits import Ended, Misused
from worker.model.thread import PREFIXES

REJECTED = ".rejected"
LONGEST_LINE = 1024 * 1024
# Some editors put it before the first line.
_MARK = b"\xef\xbb\xbf"
_COLUMNS = frozenset({"external_id", "project", "owner", "kind", "ttl", "tags", "created_at", "children"})
_PREFIX = "|".join(re.escape(prefix) for prefixes in PREFIXES.values() for prefix in prefixes)
_IDS = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PREFIX})([A-Za-z0-9_-]+)")
# Providers draw the rest of an id at random: without any digit it is rather a word, as in `thread_id`.
_DRAWN = 16
Defaults: TypeAlias = Mapping[str, str]
Reading: TypeAlias = Callable[[bytes], Sequence[bytes]]


class FileFormat(StrEnum):
    """How the file is written."""

    CSV = "csv"
    JSONL = "jsonl"
    TXT = "txt"
    LOG = "log"


_SUFFIXES = {".ndjson": FileFormat.JSONL} | {f".{form.value}": form for form in FileFormat}


class NotALine(Exception):
    """A line of the file cannot be sent; its text is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a file is read: ``read`` returns what one line says; ``header`` is the csv's first line."""

    read: Reading
    header: bytes = b""


def format_of(file: Path, given: FileFormat | None) -> FileFormat:
    """Tell the format by the name, a rejected file's by the name of what it was rejected from."""
    name = file.name.lower()
    while name.endswith(REJECTED):
        name = name.removesuffix(REJECTED)
    form = given or _SUFFIXES.get(Path(name).suffix)
    if form is None:
        repair = f"Give --format {', '.join(FileFormat)}."
        raise Misused(f"The name {file.name} does not tell the format.", repair=repair)
    return form


def columns_map(pairs: Sequence[str], form: FileFormat) -> Mapping[str, str]:
    """Return the field that each named column holds; raises Misused."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if form is not FileFormat.CSV or not (equals and column) or name not in _COLUMNS:
            raise Misused(f"--column {pair!r} cannot be used.", repair="For csv, write FIELD=NAME OF COLUMN.")
        if column in found or name in found.values():
            raise Misused("--column names a field or a column twice.", repair="Name each once.")
        found[column] = name
    return found


def form_of(
    lines: BinaryIO,
    form: FileFormat,
    project: str | None,
    owner: str | None,
    columns: Mapping[str, str] | None = None,
) -> Form:
    """Return how to read this file, with the header of a csv read; raises Misused for what cannot be."""
    given = {name: value for name, value in (("project", project), ("owner", owner)) if value is not None}
    match form:
        case FileFormat.JSONL:
            return Form(read=lambda raw: [_with_defaults(raw, given)])
        case FileFormat.TXT:
            _must_be_given(form, given)
            return Form(read=lambda raw: [_json({"external_id": _text(raw).strip(), **given})])
        case FileFormat.LOG:
            _must_be_given(form, given)
            return Form(read=_LogReader(given))
        case FileFormat.CSV:
            header = next_line(lines, first=True)
            return Form(read=_CsvReader(_columns_of(header, given, columns or {}), given), header=header)
        case _:
            assert_never(form)


def next_line(lines: BinaryIO, *, first: bool) -> bytes:
    """Read one line; empty at the end. Raises Ended for one that is no line of a text file."""
    raw = lines.readline(LONGEST_LINE)
    if len(raw) == LONGEST_LINE and not raw.endswith(b"\n"):
        raise Ended("A line is longer than a mebibyte.", repair="Is this a file of lines?")
    return raw.removeprefix(_MARK) if first else raw


def _must_be_given(form: FileFormat, given: Defaults) -> None:
    if len(given) < len(("project", "owner")):
        raise Misused(f"A {form.value} file tells ids only.", repair="Give --project and --owner.")


def _with_defaults(raw: bytes, given: Defaults) -> bytes:
    try:
        fields = json.loads(raw) if given else None
    except ValueError:
        return raw.strip()  # the API says what is wrong with it, as with any other line
    return _json({**given, **fields}) if isinstance(fields, dict) else raw.strip()


class _LogReader:
    """Finds ids by their prefixes in free text; one that stood shortly before is not sent again."""

    _REMEMBERED = 100_000

    def __init__(self, given: Defaults) -> None:
        self._given = given
        self._seen: set[str] = set()

    def __call__(self, raw: bytes) -> list[bytes]:
        # Ids are ASCII; whatever else a log holds is no part of one.
        text = raw.decode("ascii", "replace")
        found = dict.fromkeys(one[0].rstrip("-_") for one in _IDS.finditer(text) if _is_drawn(one[1]))
        new = [one for one in found if one not in self._seen]
        if len(self._seen) > self._REMEMBERED:
            self._seen.clear()
        self._seen.update(new)
        return [_json({"external_id": one, **self._given}) for one in new]


def _is_drawn(rest: str) -> bool:
    if any(char.isdigit() for char in rest):
        return True
    return len(rest) >= _DRAWN and rest.isalpha() and rest != rest.lower() and rest != rest.upper()


class _CsvReader:
    """Reads rows by the names in the header; an empty cell is a field that is not given."""

    def __init__(self, columns: Sequence[str], given: Defaults) -> None:
        self._columns = columns
        self._given = given

    def __call__(self, raw: bytes) -> list[bytes]:
        cells = _cells(raw)
        if len(cells) != len(self._columns):
            raise NotALine(f"it has {len(cells)} cells, and the header {len(self._columns)}.")
        told = {name: cell for name, cell in zip(self._columns, cells, strict=True) if name and cell}
        return [_json({**self._given, **{name: _value(name, cell) for name, cell in told.items()}})]


def _columns_of(header: bytes, given: Defaults, mapped: Mapping[str, str]) -> Sequence[str]:
    """Return the field of each column; beside a map, a column that is no field is passed over: empty."""
    try:
        names = _cells(header)
    except NotALine as e:
        raise Misused(f"The header row cannot be read: {e}", repair=_header_repair()) from e
    if mapped:
        absent = [column for column in mapped if column not in names]
        if absent:
            raise Misused(f"The header row lacks {', '.join(absent)}.", repair="Name columns that are there.")
        names = [mapped.get(name, name if name in _COLUMNS else "") for name in names]
    unknown = [name for name in names if name and name not in _COLUMNS]
    if unknown:
        raise Misused(f"The header row names unknown columns: {', '.join(unknown)}.", repair=_header_repair())
    if len(set(filter(None, names))) < len(list(filter(None, names))):
        raise Misused("The header row names a column twice.", repair=_header_repair())
    missing = [name for name in ("external_id", "project", "owner") if name not in {*names, *given}]
    if missing:
        repair = "Add it to the header and the rows; --project and --owner serve for the whole file."
        raise Misused(f"The header row lacks {', '.join(missing)}.", repair=repair)
    return names


def _header_repair() -> str:
    return f"The first line holds names, separated by commas, out of: {', '.join(sorted(_COLUMNS))}."


def _cells(raw: bytes) -> list[str]:
    # No field of the API may hold a line break, so a row is one line, and an open quote ends with it.
    try:
        return [cell.strip() for cell in next(csv.reader([_text(raw)], strict=True), [])]
    except csv.Error as e:
        raise NotALine(f"it is no row of csv ({e}).") from e


def _value(name: str, cell: str) -> object:
    match name:
        case "tags":
            return _tags(cell)
        case "children":
            return [one.strip() for one in cell.split(";") if one.strip()]
        case _:
            return cell


def _tags(cell: str) -> Mapping[str, str]:
    tags: dict[str, str] = {}
    for pair in filter(None, (one.strip() for one in cell.split(";"))):
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise NotALine("tags are written k=v;k=v.")
        if key in tags:
            raise NotALine("tags name a key twice.")
        tags[key] = value
    return tags


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as e:
        raise NotALine("it is not UTF-8.") from e


def _json(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields).encode()
