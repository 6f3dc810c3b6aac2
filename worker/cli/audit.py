"""`tenure audit`: the log, its checkpoints, its exports, and the offline check of an export."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli import audit_export, audit_gone, audit_proof, audit_verify
from worker.cli.client import open_client, refuse_remote
from worker.cli.exits import Ended, Misused
from worker.cli.output import Column, Format, Output, say, show_one, show_rows

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


app.command("export")(audit_export.export_window)
app.command("prove")(audit_proof.prove_entry)
app.command("rotate-key")(audit_proof.rotate_key)
app.command("shred")(audit_gone.shred_owner)
app.command("prune")(audit_gone.prune_old)


app.command("verify")(audit_verify.verify)
