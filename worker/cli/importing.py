"""`tenure import`: register many threads from a file, in order, safe to run twice.

Whatever was registered already with the same values is counted as such. Lines that were refused are copied
unchanged to FILE.rejected, so that they can be mended and imported by themselves.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from worker.cli.client import Client, open_client
from worker.cli.exits import Ended, Misused
from worker.cli.output import Format, Output, progress, say, show_one

_AT_ONCE = 1000
# The API's own limit on one request is 64 MiB; a chunk ends well before.
_MOST_BYTES = 16 * 1024 * 1024
_LONGEST_LINE = 1024 * 1024
_SAID = 20
_MARK = b"\xef\xbb\xbf"  # some editors put it before the first line
_KEPT = frozenset({"created", "exists"})


class FileFormat(StrEnum):
    """How the file is written."""

    CSV = "csv"
    JSONL = "jsonl"
    TXT = "txt"
    LOG = "log"


_NOT_YET = frozenset({FileFormat.CSV, FileFormat.LOG})
_SUFFIXES = {".jsonl": FileFormat.JSONL, ".ndjson": FileFormat.JSONL, ".csv": FileFormat.CSV} | {
    ".txt": FileFormat.TXT,
    ".log": FileFormat.LOG,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the file: its number from 1, its bytes as they stand there, and what is sent for it."""

    number: int
    raw: bytes
    sent: bytes


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the lines."""

    counts: Counter[str] = field(default_factory=Counter)
    rejected: list[bytes] = field(default_factory=list)
    told: int = 0

    def note(self, line: Line, status: str, reason: str) -> None:
        """Count a line, and keep and tell it where it was rejected."""
        self.counts[status] += 1
        if status in _KEPT:
            return
        self.rejected.append(line.raw)
        if self.told < _SAID:
            say(f"line {line.number}: {status}: {reason}")
        elif self.told == _SAID:
            say("... more lines were rejected.")
        self.told += 1


def import_file(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The file to read.")
    ],
    *,
    form: Annotated[
        FileFormat | None, typer.Option("--format", help="Told by the file's name if left out.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="For lines that name no project.")] = None,
    owner: Annotated[str | None, typer.Option(help="For lines that name no owner.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every line, and register nothing.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Register many threads from a file: jsonl (fields of POST /v1/threads) or txt (one id a line).

    Example: tenure import ids.txt --project support-eu --owner team-support --dry-run
    """
    make = _maker(_format_of(file, form), project, owner)
    tally = Tally()
    with open_client() as client, file.open("rb") as lines, progress("importing") as tell:
        total = file.stat().st_size
        for chunk in _chunks(lines, make, tally):
            _register(client, chunk, tally, dry_run=dry_run)
            tell(lines.tell(), total)
    rejected = _keep_rejected(file, tally)
    names = ("created", "exists", "conflict", "invalid")
    summary: dict[str, Any] = {"lines": tally.counts.total(), **{name: tally.counts[name] for name in names}}
    show_one({**summary, "dry_run": dry_run, "rejected_file": str(rejected) if rejected else None}, output)
    if rejected:
        problem = f"Rejected lines: {len(tally.rejected)}. They are in {rejected}."
        raise Ended(problem, repair="Mend them there and import that file.")


def _format_of(file: Path, given: FileFormat | None) -> FileFormat:
    form = given or _SUFFIXES.get(file.suffix.lower())
    if form is None:
        raise Misused(f"The name {file.name} does not tell the format.", repair="Give --format jsonl or txt.")
    if form in _NOT_YET:
        repair = "Write jsonl (one JSON object a line) or txt (one external id a line)."
        raise Misused(f"The format {form.value} cannot be imported yet.", repair=repair)
    return form


def _maker(form: FileFormat, project: str | None, owner: str | None) -> Callable[[bytes], bytes]:
    """Return what turns a line of the file into a line of the API; it raises ValueError."""
    given = {name: value for name, value in (("project", project), ("owner", owner)) if value is not None}
    if form is FileFormat.TXT:
        if project is None or owner is None:
            raise Misused("A txt file holds ids only.", repair="Give --project and --owner.")
        return lambda raw: json.dumps({"external_id": raw.decode().strip(), **given}).encode()
    return lambda raw: _with_defaults(raw, given) if given else raw.strip()


def _with_defaults(raw: bytes, given: Mapping[str, str]) -> bytes:
    try:
        fields = json.loads(raw)
    except ValueError:
        return raw.strip()  # the API says what is wrong with it, as with any other line
    return json.dumps({**given, **fields}).encode() if isinstance(fields, dict) else raw.strip()


def _chunks(lines: BinaryIO, make: Callable[[bytes], bytes], tally: Tally) -> Iterator[list[Line]]:
    chunk: list[Line] = []
    size = 0
    for line in _lines(lines, make, tally):
        chunk.append(line)
        size += len(line.sent)
        if len(chunk) == _AT_ONCE or size > _MOST_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _lines(lines: BinaryIO, make: Callable[[bytes], bytes], tally: Tally) -> Iterator[Line]:
    number = 0
    while raw := lines.readline(_LONGEST_LINE):
        number += 1
        raw = raw.removeprefix(_MARK) if number == 1 else raw
        line = Line(number=number, raw=raw if raw.endswith(b"\n") else raw + b"\n", sent=b"")
        if len(raw) == _LONGEST_LINE and not raw.endswith(b"\n"):
            raise Ended(f"Line {number} is longer than a mebibyte.", repair="Is this a file of lines?")
        if not raw.strip():
            continue
        try:
            yield Line(number=number, raw=line.raw, sent=make(raw))
        except ValueError:
            tally.note(line, "invalid", "it is not UTF-8.")


def _register(client: Client, chunk: Sequence[Line], tally: Tally, *, dry_run: bool) -> None:
    answers = client.bulk([line.sent for line in chunk], dry_run=dry_run)
    if len(answers) != len(chunk):
        problem = f"{len(chunk)} lines were sent, and {len(answers)} answers came back."
        raise Ended(problem, repair="Run the import again: what is registered already stays as it is.")
    for line, answer in zip(chunk, sorted(answers, key=lambda one: int(one["line"])), strict=True):
        tally.note(line, str(answer["status"]), _reason(answer.get("error")))


def _reason(error: object) -> str:
    if not isinstance(error, Mapping):
        return str(error or "")
    detail = str(error.get("detail") or error.get("code") or "")
    places = [one for one in error.get("errors") or () if one.get("detail") != detail]
    return "; ".join([detail, *(f"{one.get('pointer', '')}: {one.get('detail', '')}" for one in places)])


def _keep_rejected(file: Path, tally: Tally) -> Path | None:
    """Write FILE.rejected; one of an earlier run is removed, so that it never speaks of this one."""
    path = file.with_name(file.name + ".rejected")
    if tally.rejected:
        path.write_bytes(b"".join(tally.rejected))
        return path
    path.unlink(missing_ok=True)
    return None
