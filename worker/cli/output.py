"""What commands show: data on stdout in one of four forms, everything said about it on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, TypeAlias, assert_never

import typer

Record: TypeAlias = Mapping[str, Any]
# The least width of a column whose cells may be broken, and what stands between two columns.
_NARROW, _BETWEEN = 12, 3


class Format(StrEnum):
    """How data is written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


Output = Annotated[Format, typer.Option("--output", "-o", help="How the data is written to stdout.")]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of tables and CSV. ``path`` is a dotted name; ``whole`` cells are never broken."""

    title: str
    path: str
    whole: bool = False

    def of(self, record: Record) -> str:
        """Return the cell's text; what is missing or null is empty."""
        value: Any = record
        for name in self.path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return cell(value)


def cell(value: object) -> str:
    """Write any value into one line."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return " ".join(f"{name}={cell(one)}" for name, one in value.items() if one not in (None, [], {}))
        case list() | tuple():
            return ", ".join(cell(one) for one in value)
        case _:
            return str(value)


def say(message: str) -> None:
    """Tell the person something; never data."""
    typer.echo("\n".join(printable(line) for line in message.splitlines()), err=True)


def printable(text: str) -> str:
    """Keep what came from outside from steering the terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def show_rows(records: Iterable[Record], columns: Sequence[Column], form: Format) -> None:
    """Write many records; jsonl and csv as they come, json as one array."""
    match form:
        case Format.TABLE:
            _table(columns, [[printable(column.of(one)) for column in columns] for one in records])
        case Format.JSON:
            typer.echo(json.dumps(list(records), ensure_ascii=False, indent=2))
        case Format.JSONL:
            for one in records:
                typer.echo(json.dumps(one, ensure_ascii=False))
        case Format.CSV:
            _csv(
                [column.title for column in columns],
                ([column.of(one) for column in columns] for one in records),
            )
        case _:
            assert_never(form)


def show_one(record: Record, form: Format) -> None:
    """Write one record: as a table, one line per field."""
    match form:
        case Format.TABLE:
            lines = list(_flat(record))
            width = max((len(name) for name, _ in lines), default=0)
            for name, value in lines:
                typer.echo(f"{name.ljust(width)}  {printable(value)}".rstrip())
        case Format.JSON:
            typer.echo(json.dumps(record, ensure_ascii=False, indent=2))
        case Format.JSONL:
            typer.echo(json.dumps(record, ensure_ascii=False))
        case Format.CSV:
            flat = dict(_flat(record))
            _csv(list(flat), [list(flat.values())])
        case _:
            assert_never(form)


def _flat(record: Record, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in record.items():
        match value:
            case Mapping() if value:
                yield from _flat(value, f"{prefix}{name}.")
            case [Mapping(), *_]:
                for number, one in enumerate(value):
                    yield f"{prefix}{name}.{number}", cell(one)
            case _:
                yield prefix + name, cell(value)


def _csv(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    # The export's own writer: a cell that a spreadsheet would run as a formula is made harmless.
    from worker.audit.deletions import line

    for cells in (titles, *rows) if isinstance(rows, Sequence) else _chained(titles, rows):
        typer.echo(line(cells), nl=False)


def _chained(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    yield titles
    yield from rows


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    if sys.stdout.isatty():
        _rich_table(columns, rows)
        return
    titles = [column.title for column in columns]
    widths = [max(map(len, one)) for one in zip(titles, *rows, strict=True)]
    for cells in (titles, *rows):
        line = "  ".join(text.ljust(width) for text, width in zip(cells, widths, strict=True))
        typer.echo(line.rstrip())


def _rich_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console, table = Console(highlight=False), Table(box=SIMPLE_HEAD)
    needed = 0
    for number, column in enumerate(columns):
        longest = max([len(column.title), *(len(cells[number]) for cells in rows)])
        least = longest if column.whole else min(longest, max(len(column.title), _NARROW))
        table.add_column(column.title, no_wrap=column.whole, overflow="fold", min_width=least)
        needed += least + _BETWEEN
    for cells in rows:
        table.add_row(*(Text(text) for text in cells))
    # An id that is cut off cannot be copied: on a narrow terminal the table is wider than the window.
    console.width = max(console.width, needed)
    console.print(table, crop=False)


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that is told (done, of how many); drawn on stderr, and only on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
