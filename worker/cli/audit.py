"""`tenure audit`: the log, its checkpoints, its exports, and the offline check of an export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import audit_proof
from worker.cli.client import open_client, refuse_remote
from worker.cli.exits import Ended, Exit, Misused
from worker.cli.options import read_instant
from worker.cli.output import Column, Format, Output, progress, say, show_one, show_rows

if TYPE_CHECKING:
    from worker.audit.findings import Report

app = typer.Typer(no_args_is_help=True, help="The audit log: look, seal, export, and verify an export.")
_ENTRIES = (
    Column("entry", "index"),
    Column("at", "at", whole=True),
    Column("type", "type"),
    Column("project", "project"),
    Column("subject", "subject", whole=True),
    Column("actor", "actor"),
)


@app.command("list")
def list_entries(
    *,
    project: Annotated[str | None, typer.Option(help="Only this project's.")] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="Only this type, such as thread.graded.")
    ] = None,
    thread: Annotated[str | None, typer.Option(help="Only of this thread (thr_...).")] = None,
    after: Annotated[int | None, typer.Option(min=0, help="Begin behind this entry.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most; pages are fetched as needed.")] = 100,
    output: Output = Format.TABLE,
) -> None:
    """List entries of the log, the oldest first.

    Example: tenure audit list --project support-eu --type thread.graded -o jsonl
    """
    filters = {"project": project, "type": type_, "subject": thread, "after": after}
    with open_client(policies=False) as client:
        show_rows(client.listed("/v1/audit/entries", filters, limit=limit), _ENTRIES, output)


@app.command("seal")
def seal_now(output: Output = Format.TABLE) -> None:
    """Sign a checkpoint over everything that is in the log now, and bring it to the anchors.

    Example: tenure audit seal
    """
    from worker.cli.local import local
    from worker.flows.anchor import anchor
    from worker.flows.seal import seal
    from worker.model.clock import rfc3339

    refuse_remote("audit seal")
    with local(policies=False) as tenure:
        made = seal(tenure.database, tenure.sealer, clock=tenure.clock, force=True)
        anchor(tenure.database, tenure.sealer.log, clock=tenure.clock)
    if made is None:
        raise Ended("The log is empty: there is nothing to seal.", repair="Register a thread first.")
    if output is Format.TABLE:
        typer.echo(made.note, nl=False)
        return
    show_one({"size": made.size, "sealed_at": rfc3339(made.sealed_at), "note": made.note}, output)


@app.command("epoch")
def open_epoch(
    reason: Annotated[str, typer.Option(help="Why the database is behind its anchor, and who looked.")],
    output: Output = Format.TABLE,
) -> None:
    """Let a log that its anchors refuse go on under another origin; its first leaf names the gap.

    Deletions go on afterwards: place again the holds and orders that the restored database lost, first.

    Example: tenure audit epoch --reason "restored the backup of 04:00 after the disk failed, INC-42"
    """
    from worker.cli.local import local
    from worker.flows.epoch import open_epoch

    refuse_remote("audit epoch")
    if not reason.strip():
        raise Misused("--reason is empty.", repair="Say what happened; the entry keeps it for good.")
    with local(policies=False) as tenure:
        made = open_epoch(
            tenure.database, tenure.sealer, reason=reason, actor=tenure.actor, clock=tenure.clock
        )
    gap = made.gap
    shown = {
        "epoch": made.epoch.number,
        "origin": made.origin,
        "entry": made.epoch.first,
        "why": gap.why,
        "agreed": gap.agreed,
        "anchored": gap.anchored.as_json(),
        "held": gap.held.as_json(),
        "note": made.sealed.note if made.sealed else None,
    }
    show_one(shown, output)
    say(f"Entries from {gap.agreed} to {gap.anchored.size} of {gap.anchored.origin} may be missing here.")


@app.command("export")
def export_window(
    project: Annotated[str, typer.Option(help="Whose entries are exported.")],
    begin: Annotated[str, typer.Option("--from", help="A date or an instant; the first that counts.")],
    end: Annotated[
        str, typer.Option("--to", help="A date or an instant that counts no more; may lie ahead.")
    ],
    out: Annotated[Path, typer.Option(dir_okay=False, help="The bundle to write.")],
    output: Output = Format.TABLE,
) -> None:
    """Write one project's evidence into a bundle that anyone can verify offline.

    Example: tenure audit export --project support-eu --from 2026-11-01 --to 2026-12-01 --out november.zip
    """
    from worker.cli.local import local
    from worker.flows.export import export

    refuse_remote("audit export")
    window = read_instant("--from", begin), read_instant("--to", end)
    if window[0] >= window[1]:
        raise Misused("--from must lie before --to.", repair="A day is --from 2026-11-01 --to 2026-11-02.")
    if not out.parent.is_dir():
        raise Misused(f"The folder {out.parent} does not exist.", repair="Make it, or give another --out.")
    with local(policies=False) as tenure:
        made = export(
            tenure.database,
            tenure.sealer,
            project=project,
            window=window,
            out=out,
            actor=tenure.actor,
            clock=tenure.clock,
        )
    shown = {name: value for name, value in asdict(made).items() if name != "files"}
    show_one({"file": str(out), **shown}, output)


app.command("prove")(audit_proof.prove_entry)
app.command("rotate-key")(audit_proof.rotate_key)


@app.command("verify")
def verify(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The bundle, or the proof of one entry.")
    ],
    keys: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The keys to trust, one verifier key a line."),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Verify an export or a proof offline, without settings, database or network: exit 6 on any defect.

    Example: tenure audit verify november.zip --keys keys.txt
    """
    from worker.audit.tlog_proof import HEADER
    from worker.audit.verify import verify_bundle

    trusted = None if keys is None else _read_keys(keys)
    with file.open("rb") as opened:
        is_proof = opened.read(len(HEADER)) == HEADER.encode()
    if is_proof:
        audit_proof.verify_proof(file, trusted, output)
        return
    with progress("verifying") as tell:
        report = verify_bundle(file, keys=trusted, progress=tell)
    _show_report(report, output)
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
        found = [one.line for one in parse_keys(path.read_text(encoding="utf-8"))]
    except (OSError, UnicodeDecodeError, NoteRefused) as e:
        raise Misused(
            f"{path} holds no verifier keys: {e}", repair="Write one key a line, NAME+HASH+KEY."
        ) from e
    if not found:
        raise Misused(f"{path} holds no verifier key.", repair="Write one key a line, NAME+HASH+KEY.")
    return found


def _show_report(report: Report, output: Format) -> None:
    shown = asdict(report)
    if output is Format.TABLE:
        shown["problems"] = [
            f"{one.member}{'' if one.index is None else f' entry {one.index}'}: {one.what}"
            for one in report.problems
        ]
    show_one(shown, output)
    for note in report.notes:
        say(f"note: {note}")
    if report.verified:
        say(f"Verified: {report.entries} entries, {report.bodies} of project {report.project}.")
