"""`tenure erase`, `tenure pause` and `tenure resume`: orders that reach many threads at once."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.client import open_client
from worker.cli.exits import Misused
from worker.cli.options import instant_text
from worker.cli.output import Column, Format, Output, Record, say, show_one, show_rows

_RECEIPT = (
    Column("thread", "id", whole=True),
    Column("external_id", "external_id", whole=True),
    Column("project", "project"),
    Column("status", "status"),
    Column("reason", "reason"),
    Column("until", "until", whole=True),
    Column("grade", "grade"),
)
_DEFAULT_REASON = "ordered on the command line"
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit log.")]
OneProject = Annotated[str | None, typer.Option("--project", help="Only this project; else all of them.")]


def erase(
    owner: Annotated[str | None, typer.Option(help="Everything of exactly this owner.")] = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="A thread, by our id or the external one.")
    ] = None,
    reason: Why = _DEFAULT_REASON,
    at: Annotated[str | None, typer.Option(help="Cover what was registered by then; never ahead.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Order to delete now what an owner has, or named threads, and print the receipt.

    It beats business retention, never a legal one or a hold. The receipt says of each thread whether it is
    deleted, refused (with reason and date) or pending; the next sweep works the order off.

    Example: tenure erase --owner user-4711 --reason "request of the data subject"
    """
    if (owner is None) == (not ids):
        raise Misused("An erasure names either an owner or threads.", repair="Give --owner, or --id.")
    body = {"owner": owner, "ids": ids or None, "reason": reason, "at": instant_text("--at", at)}
    with open_client() as client:
        receipt = client.post("/v1/erasures", {name: one for name, one in body.items() if one is not None})
    if output in {Format.JSON, Format.JSONL}:
        show_one(receipt, output)
    else:
        say(f"Erasure {receipt['id']}: {_summed(receipt)}.")
        show_rows(receipt["threads"], _RECEIPT, output)
    for name in receipt.get("unknown") or ():
        say(f"warning: {name} is not registered.")


def _summed(receipt: Record) -> str:
    counts: dict[str, int] = {}
    for one in receipt["threads"]:
        counts[one["status"]] = counts.get(one["status"], 0) + 1
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return told or "no registered thread is covered"


def pause(project: OneProject = None, reason: Why = _DEFAULT_REASON, output: Output = Format.TABLE) -> None:
    """Stop every deletion, of one project or of all. It is effective when this command returns.

    Example: tenure pause --project support-eu --reason "provider incident"
    """
    _switch(project, reason, output, enabled=False)


def resume(project: OneProject = None, reason: Why = _DEFAULT_REASON, output: Output = Format.TABLE) -> None:
    """Let deletions go on after a pause.

    Example: tenure resume --project support-eu
    """
    _switch(project, reason, output, enabled=True)


def _switch(project: str | None, reason: str, output: Format, *, enabled: bool) -> None:
    body = {"enabled": enabled, "project": project, "reason": reason}
    with open_client() as client:
        show_one(client.put("/v1/switches/deletes", body), output)
