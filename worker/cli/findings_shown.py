"""Showing findings: lines with their place, on a terminal with the source below; or json, or annotations."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from worker.cli.output import Column, Format, printable, say, show_rows

if TYPE_CHECKING:
    from rich.console import Console

    from worker.policy.findings import Finding

_COLUMNS = (
    Column("file", "file", whole=True),
    Column("line", "line"),
    Column("col", "col"),
    Column("code", "code"),
    Column("severity", "severity"),
    Column("message", "message"),
    Column("fix", "fix"),
)
_COLOURS = {"error": "bold red", "warning": "bold yellow"}
_MARGIN = 4


class FindingsFormat(StrEnum):
    """How findings are written: for people, for programs, or as annotations of GitHub Actions."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def show_findings(
    findings: Sequence[Finding], summary: Mapping[str, Any], form: FindingsFormat, output: Format
) -> None:
    """Write findings to stdout; as JSON together with the summary."""
    rows = [asdict(one) for one in findings]
    if form is FindingsFormat.JSON or output is Format.JSON:
        typer.echo(json.dumps({**summary, "findings": rows}, ensure_ascii=False, indent=2))
    elif form is FindingsFormat.GITHUB:
        for one in findings:
            typer.echo(_annotation(one))
    elif output is not Format.TABLE:
        show_rows(rows, _COLUMNS, output)
    elif sys.stdout.isatty():
        _framed(findings)
    else:
        for one in findings:
            typer.echo("\n    ".join((str(one), *map(printable, one.why))))


def say_counts(findings: Sequence[Finding]) -> None:
    """Say how many errors and warnings there are; nothing where there are none."""
    # What concerns the bundle as a whole repeats what its files did wrong.
    placed = [one for one in findings if one.line]
    counts = {
        word: sum(one.severity == word for one in placed)
        for word in ("error", "warning")
        if any(one.severity == word for one in placed)
    }
    if counts:
        told = " and ".join(f"{n} {word}{'s' if n > 1 else ''}" for word, n in counts.items())
        files = len({one.file for one in placed})
        say(f"Found {told} in {files} file{'s' if files > 1 else ''}.")


def _annotation(one: Finding) -> str:
    """Write a workflow command of GitHub Actions; its values must not end it or begin another."""
    place = f"file={_property(one.file)},line={one.line},col={one.col}," if one.line else ""
    text = "\n".join((f"{one.message} {one.fix}".strip(), *one.why))
    data = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{one.severity} {place}title={_property(one.code)}::{data}"


def _property(text: str) -> str:
    for char in "%\r\n:,":
        text = text.replace(char, f"%{ord(char):02X}")
    return text


def _framed(findings: Sequence[Finding]) -> None:
    """Write each finding with its line and a caret below; rich minds dumb terminals."""
    from rich.console import Console

    # With NO_COLOR no escape at all is written: bold would be one too.
    console = Console(
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
    )
    sources: dict[str, list[str]] = {}
    for one in findings:
        if one.file not in sources:
            sources[one.file] = _lines_of(Path(one.file)) if one.line else []
        _one_framed(console, one, sources[one.file])


def _one_framed(console: Console, one: Finding, source: Sequence[str]) -> None:
    from rich.text import Text

    colour = _COLOURS[one.severity.value]
    place, code, rest = str(one).partition(f" {one.code} ")
    console.print(Text.assemble((place, "bold"), " ", (code.strip(), colour), " ", rest))
    if 0 < one.line <= len(source):
        number = str(one.line)
        shown, before, carets = frame(source[one.line - 1], one.col, console.width - len(number) - _MARGIN)
        console.print(Text.assemble((f"{number} | ", "bold blue"), shown))
        console.print(Text.assemble((f"{' ' * len(number)} | ", "bold blue"), before, (carets, colour)))
    for line in one.why:
        console.print(Text(f"    {printable(line)}", "dim"))


def frame(line: str, col: int, width: int) -> tuple[str, str, str]:
    """Return what is shown of a source line, the blanks below it, and the carets below the place.

    A line wider than the terminal is cut around the place, so that both stay on one row.
    """
    from rich.cells import cell_len

    start, length = min(col - 1, len(line)), _length(line, min(col - 1, len(line)))
    width = max(width, 20)
    first = max(0, start - width // 2) if cell_len(line) > width else 0
    shown = line[first:]
    while cell_len(shown) > width:
        shown = shown[:-1]
    before, word = shown[: start - first], shown[start - first :][:length]
    return printable(shown), " " * cell_len(printable(before)), "^" * max(1, cell_len(printable(word)))


def _length(line: str, start: int) -> int:
    """Return how long the word is that begins there: to the closing quote, or to what ends a plain word."""
    quote = line[start : start + 1]
    if quote in {'"', "'"} and quote:
        end = line.find(quote, start + 1)
        return (end if end > 0 else len(line)) + 1 - start
    end = start
    while end < len(line) and line[end] not in " \t,:]}":
        end += 1
    return end - start


def _lines_of(path: Path) -> list[str]:
    """Return the lines of a file; none where it cannot be shown, which is what the finding is about then."""
    from worker.policy.load import read_files

    texts, _ = read_files([path])
    # Only "\n" ends a line where places are counted.
    return [line.removesuffix("\r") for text in texts.values() for line in text.split("\n")]
