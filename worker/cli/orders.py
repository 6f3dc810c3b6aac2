"""`tenure erase`, `erasures`, `pause` and `resume`: orders that reach many threads at once."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.client import open_client, path_of
from worker.cli.exits import Misused
from worker.cli.options import instant_text
from worker.cli.output import Column, Format, Output, Record, say, show_one, show_rows

erasures = typer.Typer(no_args_is_help=True, help="Look at erasure orders and their receipts.")
_ORDERS = (
    Column("id", "id", whole=True),
    Column("owner", "owner"),
    Column("ids", "ids"),
    Column("status", "status"),
    Column("deadline", "deadline", whole=True),
    Column("overdue", "overdue"),
    Column("threads", "counts"),
    Column("ordered_at", "ordered_at", whole=True),
    Column("looked_at", "looked_at", whole=True),
)
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
    *,
    owner: Annotated[str | None, typer.Option(help="Everything of exactly this owner.")] = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="A thread, by our id or the external one.")
    ] = None,
    reason: Why = _DEFAULT_REASON,
    at: Annotated[str | None, typer.Option(help="Cover what was registered by then; never ahead.")] = None,
    deadline: Annotated[
        str | None, typer.Option(help="Until when it must be answered; one month unless given.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Order to delete now what an owner has, or named threads, and print the receipt.

    It beats business retention, never a legal one or a hold. The receipt says of each thread whether it is
    deleted, absent, refused (with reason and date), held, parked or pending; the next sweep works it off.

    Example: tenure erase --owner user-4711 --reason "request of the data subject"
    """
    if (owner is None) == (not ids):
        raise Misused("An erasure names either an owner or threads.", repair="Give --owner, or --id.")
    body = {
        "owner": owner,
        "ids": ids or None,
        "reason": reason,
        "at": instant_text("--at", at),
        "deadline": instant_text("--deadline", deadline),
    }
    with open_client() as client:
        receipt = client.post("/v1/erasures", {name: one for name, one in body.items() if one is not None})
    _show(receipt, output)


@erasures.command("list")
def list_erasures(
    *,
    owner: Annotated[str | None, typer.Option(help="Only orders for exactly this owner.")] = None,
    status: Annotated[str | None, typer.Option(help="open, held, answered, done or empty.")] = None,
    overdue: Annotated[
        bool, typer.Option("--overdue", help="Only those past their deadline with something left to do.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    output: Output = Format.TABLE,
) -> None:
    """List orders, the newest first, as they stood when beat last looked at them.

    Example: tenure erasures list --overdue
    """
    filters = {"owner": owner, "status": status, "overdue": True if overdue else None}
    with open_client(policies=False) as client:
        show_rows(client.listed("/v1/erasures", filters, limit=limit), _ORDERS, output)


@erasures.command("show")
def show_erasure(
    erasure: Annotated[str, typer.Argument(metavar="ID", help="The order's id (era_...).")],
    output: Output = Format.TABLE,
) -> None:
    """Show the receipt of an order as it stands now; with -o csv it is a table of its threads.

    Example: tenure erasures show era_0193 -o csv
    """
    with open_client() as client:
        _show(client.get(path_of("erasures", erasure)), output)


def _show(receipt: Record, output: Format) -> None:
    if output in {Format.JSON, Format.JSONL}:
        show_one(receipt, output)
    else:
        say(f"Erasure {receipt['id']}, to be answered by {receipt['deadline']}: {_summed(receipt)}.")
        show_rows(receipt["threads"], _RECEIPT, output)
    for name in receipt.get("unknown") or ():
        say(f"warning: {name} is not registered.")
    if receipt["overdue"]:
        say("warning: its deadline has passed, and something is left to do.")


def _summed(receipt: Record) -> str:
    told = ", ".join(f"{count} {status}" for status, count in receipt["counts"].items())
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
