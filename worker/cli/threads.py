"""`tenure register`, `tenure threads` and `tenure explain`: put threads in, and look at them."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.client import open_client, path_of
from worker.cli.options import AnyThread, Reason, instant_text, read_tags
from worker.cli.output import Column, Format, Output, printable, say, show_one, show_rows

COLUMNS = (
    Column("id", "id", whole=True),
    Column("kind", "kind"),
    Column("external_id", "external_id", whole=True),
    Column("project", "project"),
    Column("owner", "owner"),
    Column("state", "state"),
    Column("outcome", "decision.outcome"),
    Column("decided_by", "decision.decided_by"),
    Column("eligible_at", "decision.eligible_at", whole=True),
    Column("grade", "evidence.grade"),
)


def register(
    external_id: Annotated[str, typer.Argument(help="The provider's id, such as conv_... or file-...")],
    *,
    project: Annotated[str, typer.Option(help="The Project that names the provider account.")],
    owner: Annotated[str, typer.Option(help="Who is answerable for the thread.")],
    ttl: Annotated[str | None, typer.Option(help="The producer's own limit, such as 30d or P30D.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="KEY=VALUE; may be given several times.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only for agent_session; else told by the prefix.")] = None,
    created_at: Annotated[str | None, typer.Option(help="When the provider made it.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Register one thread; the same again changes nothing, other values are refused.

    Example: tenure register conv_123 --project support-eu --owner team-support --ttl 30d --tag env=prod
    """
    body = {
        "external_id": external_id,
        "project": project,
        "owner": owner,
        "ttl": ttl,
        "tags": read_tags(tag or []) or None,
        "kind": kind,
        "created_at": instant_text("--created-at", created_at),
    }
    with open_client() as client:
        thread = client.post(
            "/v1/threads", {name: value for name, value in body.items() if value is not None}
        )
    show_one(thread, output)


def list_threads(
    *,
    project: Annotated[str | None, typer.Option(help="Only this project.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only this owner.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind.")] = None,
    state: Annotated[
        str | None, typer.Option(help="live, deleted, absent, acknowledged, parked, withdrawn.")
    ] = None,
    outcome: Annotated[str | None, typer.Option(help="What is decided now, such as DUE or HELD.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag, KEY=VALUE.")] = None,
    due_before: Annotated[
        str | None, typer.Option(help="Only what is due before this date or instant.")
    ] = None,
    external_id: Annotated[str | None, typer.Option(help="Only this provider's id.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most; pages are fetched as needed.")] = 50,
    order: Annotated[str, typer.Option(help="desc: the newest first; asc: the oldest first.")] = "desc",
    output: Output = Format.TABLE,
) -> None:
    """List threads, the newest first, each with what is decided of it now.

    Example: tenure threads list --project support-eu --outcome DUE --limit 1000 -o jsonl
    """
    tags = read_tags([tag] if tag else [])
    params = {
        "project": project,
        "owner": owner,
        "kind": kind,
        "state": state,
        "outcome": outcome.upper() if outcome else None,
        "tag": next((f"{key}:{value}" for key, value in tags.items()), None),
        "due_before": instant_text("--due-before", due_before),
        "external_id": external_id,
        "order": order,
    }
    with open_client() as client:
        show_rows(client.listed("/v1/threads", params, limit=limit), COLUMNS, output)


def show(thread: AnyThread, output: Output = Format.TABLE) -> None:
    """Show one thread: its decision and the evidence of its deletion.

    Example: tenure threads show conv_123
    """
    with open_client() as client:
        show_one(client.get(path_of("threads", thread)), output)


def withdraw(thread: AnyThread, reason: Reason, output: Output = Format.TABLE) -> None:
    """Take back a mistaken registration: the thread is never deleted, and its entries stay.

    Example: tenure threads withdraw conv_123 --reason "registered by mistake"
    """
    with open_client() as client:
        shown = client.post(path_of("threads", thread, "/withdraw"), {"reason": reason})
    say("Withdrawn. Tenure will not delete it.")
    show_one(shown, output)


def explain(thread: AnyThread, output: Output = Format.TABLE) -> None:
    """Say which rule decides a thread, why, when, and who can stop it.

    Example: tenure explain conv_123
    """
    with open_client() as client:
        told = client.get(path_of("threads", thread, "/explanation"))
    if output is not Format.TABLE:
        show_one(told, output)
        return
    for line in told["lines"]:
        typer.echo(printable(line))
