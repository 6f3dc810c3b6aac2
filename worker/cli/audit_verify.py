"""`tenure audit verify`: the offline check of an export or of one entry's proof, and its report."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import audit_proof
from worker.cli.exits import Ended, Exit, Misused
from worker.cli.output import Format, Output, printable, progress, say, show_one

if TYPE_CHECKING:
    from worker.audit.findings import Report

_ROOT_SHOWN = 16


def verify(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The bundle, or the proof of one entry.")
    ],
    keys: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The keys to trust, one verifier key a line."),
    ] = None,
    anchor: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True, dir_okay=False, help="A checkpoint that was kept elsewhere, to compare with."
        ),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Verify an export or a proof offline, without settings, database or network: exit 6 on any defect.

    Example: tenure audit verify november.zip --keys keys.txt
    """
    from worker.audit.tlog_proof import HEADER
    from worker.audit.verify import verify_bundle

    if not file.is_file():
        raise Misused(f"{file} is no file: a pipe cannot be read twice.", repair="Write it to a file first.")
    trusted = None if keys is None else _read_keys(keys)
    anchors = [_read_text(one) for one in anchor or []]
    with file.open("rb") as opened:
        is_proof = opened.read(len(HEADER) + len(BOM_UTF8)).removeprefix(BOM_UTF8).startswith(HEADER.encode())
    if is_proof:
        audit_proof.verify_proof(file, trusted, output)
        return
    with progress("verifying") as tell:
        report = verify_bundle(file, keys=trusted, anchors=anchors, progress=tell)
    show_report(report, output)
    if not report.verified:
        first = report.problems[0]
        entry = "" if first.index is None else f", entry {first.index}"
        problem = f"NOT VERIFIED: {first.member or file.name}{entry}: {first.what.rstrip('.')}."
        more = f"{report.problem_count} defects in all." if report.problem_count > 1 else ""
        raise Ended(problem, repair=more, exit_code=Exit.UNVERIFIED)


def _read_keys(path: Path) -> Sequence[str]:
    from worker.audit.keys import parse_keys
    from worker.audit.note import NoteRefused

    try:
        found = [one.line for one in parse_keys(_read_text(path))]
    except NoteRefused as e:
        raise Misused(
            f"{path} holds no verifier keys: {e}", repair="Write one key a line, NAME+HASH+KEY."
        ) from e
    if not found:
        raise Misused(f"{path} holds no verifier key.", repair="Write one key a line, NAME+HASH+KEY.")
    return found


def _read_text(path: Path) -> str:
    from worker.audit.reading import Misshapen, read_small

    try:
        return read_small(path)
    except (OSError, Misshapen) as e:
        raise Misused(
            f"{path} cannot be read as text: {e}", repair="Give the file as it was handed out."
        ) from e


def show_report(report: Report, output: Format) -> None:
    """Print the report; what is meant for people goes to stderr."""
    if output is not Format.TABLE:
        show_one(asdict(report), output)
    else:
        for name, value in _lines(report):
            typer.echo(f"{name:<10}{printable(value)}".rstrip())
        for one in report.problems:
            member = one.member or "the file"
            where = member if one.index is None else f"{member} entry {one.index}"
            typer.echo(f"{'defect':<10}{printable(f'{where}: {one.what}')}")
        if report.problem_count > len(report.problems):
            typer.echo(f"{'':<10}and {report.problem_count - len(report.problems)} more")
    for note in report.notes:
        say(f"note: {note}")
    if report.verified:
        say(f"Verified: {report.entries} entries, {report.bodies} of project {report.project}.")


def _lines(report: Report) -> Iterator[tuple[str, str]]:
    defects = f"{report.problem_count} defect{'' if report.problem_count == 1 else 's'}"
    yield "result", "VERIFIED" if report.verified else f"NOT VERIFIED, {defects}"
    if report.first_bad_entry is not None:
        yield "first bad", f"entry {report.first_bad_entry}"
    yield "key", "given" if report.key_authenticated else "came with the bundle: not authenticated"
    if report.origin:
        yield "log", f"{report.origin}, {report.size} entries, root {report.root[:_ROOT_SHOWN]}…"
    if report.project:
        of = f", {report.scope} {report.of}" if report.of else ""
        yield "project", f"{report.project}{of}"
    begin = f" from entry {report.first} on" if report.first else ""
    yield "checked", f"{report.entries} entries{begin}, {report.bodies} of them with their body here"
    if report.bodies_gone:
        # Only a bundle without a defect shows that an entry says so of each of them.
        why = "were shredded or pruned, which the log records" if report.verified else "are not here"
        yield "gone", f"{report.bodies_gone} bodies {why}"
    for grade, count in report.grades.items():
        yield "grade", f"{count} {grade}"
