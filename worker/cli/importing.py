"""`tenure import`: register many threads from a file, in order, safe to run twice.

Whatever was registered already with the same values is counted as such. Lines that were refused are copied
unchanged to FILE.rejected, so that they can be mended and imported by themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from worker.cli.client import Client, open_client
from worker.cli.exits import Ended
from worker.cli.file_formats import (
    REJECTED,
    FileFormat,
    Form,
    NotALine,
    columns_map,
    form_of,
    format_of,
    next_line,
)
from worker.cli.output import Format, Output, progress, say, show_one

_AT_ONCE = 1000
# The API's own limit on one request is 64 MiB; a chunk ends well before.
_MOST_BYTES = 16 * 1024 * 1024
_SAID = 20
_CREATED = "created"
_STATUSES = (_CREATED, "exists", "conflict", "invalid")
_KEPT = frozenset({_CREATED, "exists"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the file: its number from 1, its bytes as they stand there, and what is sent for it."""

    number: int
    raw: bytes
    sent: bytes


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the lines: ``rejected`` by number; ``undated`` counts new threads without created_at."""

    counts: Counter[str] = field(default_factory=Counter)
    rejected: dict[int, bytes] = field(default_factory=dict)
    undated: int = 0
    told: int = 0

    def note(self, line: Line, status: str, reason: str) -> None:
        """Count a line, and keep and tell it where it was rejected."""
        self.counts[status] += 1
        if status in _KEPT:
            self.undated += status == _CREATED and b'"created_at"' not in line.sent
            return
        # By number: a line of a log may name several threads, and is kept once.
        self.rejected[line.number] = line.raw
        if self.told < _SAID:
            say(f"line {line.number}: {status}: {reason}")
        elif self.told == _SAID:
            say("... more lines were rejected.")
        self.told += 1

    def summary(self, form: Format, *, dry_run: bool, rejected: Path | None) -> dict[str, Any]:
        """Return the result; to a person a dry run does not say that it made something."""
        named = {_CREATED: "would be created"} if dry_run and form is Format.TABLE else {}
        counts = {named.get(name, name): self.counts[name] for name in _STATUSES}
        told = {"lines": self.counts.total(), **counts, "dry_run": dry_run}
        return {**told, "rejected_file": str(rejected) if rejected else None}


def import_file(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The file to read.")
    ],
    *,
    form_given: Annotated[
        FileFormat | None, typer.Option("--format", help="Told by the file's name if left out.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="For lines that name no project.")] = None,
    owner: Annotated[str | None, typer.Option(help="For lines that name no owner.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="For csv: FIELD=NAME of the column; may be given several times.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every line, and register nothing.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Register many threads from a file, whose name tells how it is written.

    jsonl has the fields of POST /v1/threads, and csv a header row of those names, with tags as k=v;k=v.

    Other headers are told by --column external_id=conversation; columns that no field names are passed over.

    txt has one id a line. In a log ids are found by their prefixes: look at a --dry-run first.

    Example: tenure import ids.txt --project support-eu --owner team-support --dry-run
    """
    written, tally = format_of(file, form_given), Tally()
    with file.open("rb") as lines:
        form = form_of(lines, written, project, owner, columns_map(column or [], written))
        with open_client() as client, progress("importing") as tell:
            read, total = len(form.header), file.stat().st_size
            for chunk in _chunks(lines, form, tally):
                _register(client, chunk, tally, dry_run=dry_run)
                read += sum(len(line.raw) for line in chunk)
                tell(min(read, total), total)
    kept = None if dry_run else _keep_rejected(file, form, tally)
    show_one(tally.summary(output, dry_run=dry_run, rejected=kept), output)
    _say_undated(tally.undated, dry_run=dry_run)
    _end(file, kept, tally)


def _say_undated(count: int, *, dry_run: bool) -> None:
    if count:
        have = "would have" if dry_run else "have"
        say(
            f"{count} threads {have} no created_at: "
            "a policy that counts from created_at answers UNKNOWN for them."
        )


def _end(file: Path, kept: Path | None, tally: Tally) -> None:
    if not tally.rejected:
        return
    count = len(tally.rejected)
    if kept is None:
        raise Ended(f"Lines that would be rejected: {count}.", repair=f"Mend them in {file}.")
    repair = "Mend them there, and import that file with the same options."
    raise Ended(f"Rejected lines: {count}. They are in {kept}.", repair=repair)


def _chunks(lines: BinaryIO, form: Form, tally: Tally) -> Iterator[list[Line]]:
    chunk: list[Line] = []
    size = 0
    for line in _lines(lines, form, tally):
        chunk.append(line)
        size += len(line.sent)
        if len(chunk) == _AT_ONCE or size > _MOST_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _lines(lines: BinaryIO, form: Form, tally: Tally) -> Iterator[Line]:
    number = 1 if form.header else 0
    while raw := next_line(lines, first=number == 0):
        number += 1
        if not raw.strip():
            continue
        kept = _whole(raw)
        try:
            for sent in form.read(raw):
                yield Line(number=number, raw=kept, sent=sent)
        except NotALine as e:
            tally.note(Line(number=number, raw=kept, sent=b""), "invalid", str(e))


def _whole(raw: bytes) -> bytes:
    return raw if raw.endswith(b"\n") else raw + b"\n"


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
    return "; ".join([detail, *(f"{one.get('pointer') or '/'}: {one.get('detail', '')}" for one in places)])


def _keep_rejected(file: Path, form: Form, tally: Tally) -> Path | None:
    """Write FILE.rejected, to be imported as it is; one of an earlier run never speaks of this one."""
    path = file.with_name(file.name + REJECTED)
    try:
        if tally.rejected:
            header = _whole(form.header) if form.header else b""
            path.write_bytes(header + b"".join(raw for _, raw in sorted(tally.rejected.items())))
            return path
        path.unlink(missing_ok=True)
    except OSError as e:
        problem = f"{path} cannot be written: {e.strerror}."
        raise Ended(problem, repair="Mend the rejected lines in the file itself.") from e
    return None
