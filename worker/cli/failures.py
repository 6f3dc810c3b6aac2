"""`tenure failures`: the threads that are parked for a person to look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, cast

import typer

from worker.cli.client import Client, open_client, path_of
from worker.cli.options import Reason
from worker.cli.output import Column, Format, Output, Record, show_one, show_rows

app = typer.Typer(no_args_is_help=True, help="Look at what is parked, take it up again, or accept it.")
_COLUMNS = (
    Column("fingerprint", "fingerprint", whole=True),
    Column("project", "project"),
    Column("kind", "kind"),
    Column("reason", "reason"),
    Column("threads", "threads"),
    Column("first", "first"),
)
_EACH = (
    Column("id", "id", whole=True),
    Column("external_id", "external_id", whole=True),
    Column("kind", "kind"),
    Column("project", "project"),
    Column("reason", "reason"),
    Column("created_at", "created_at"),
    Column("registered_at", "registered_at"),
    Column("last_seen_at", "last_seen_at"),
    Column("looked_at", "looked_at"),
    Column("request_id", "request_id"),
)
Fingerprint = Annotated[str, typer.Argument(help="The group's fingerprint (fp_...).")]


@app.command("list")
def list_failures(
    project: Annotated[str | None, typer.Option(help="Only this project.")] = None,
    *,
    each: Annotated[
        bool, typer.Option("--each", help="One line per thread, with what was last seen.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Only this reason, such as endpoint_retired.")
    ] = None,
    accepted: Annotated[
        bool, typer.Option("--accepted", help="What a person accepted, instead of what waits for one.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Count parked threads by project, kind and reason; nothing of them is lost.

    With --each and -o csv the list can be sent to a provider: ids and dates, no content.

    Example: tenure failures list --each --reason endpoint_retired -o csv
    """
    told = {"project": project, "accepted": accepted, "order": "asc"}
    with open_client(policies=False) as client:
        groups = [
            one
            for one in client.listed("/v1/failures", told)
            if reason is None or reason in str(one["reason"])
        ]
        if each:
            show_rows(_threads(client, groups, accepted=accepted), _EACH, output)
        else:
            ordered = sorted(groups, key=lambda one: (one["project"], one["kind"], one["reason"]))
            show_rows(ordered, _COLUMNS, output)


def _threads(client: Client, groups: list[Record], *, accepted: bool) -> Iterator[Record]:
    for one in groups:
        named = cast("str", one["fingerprint"])
        yield from client.listed(path_of("failures", named), {"accepted": accepted})


@app.command("retry")
def retry(fingerprint: Fingerprint, reason: Reason, output: Output = Format.TABLE) -> None:
    """Make parked threads live again: their policies decide anew, and a later sweep plans them.

    Example: tenure failures retry fp_0193a4c2d5e6f708 --reason "the key was mended"
    """
    with open_client() as client:
        show_one(client.post(path_of("failures", fingerprint, "/retry"), {"reason": reason}), output)


@app.command("accept")
def accept(fingerprint: Fingerprint, reason: Reason, output: Output = Format.TABLE) -> None:
    """Take note of why threads are parked: they stay so, and the list shows them no more.

    Example: tenure failures accept fp_0193a4c2d5e6f708 --reason "the provider confirmed in RET-204"
    """
    with open_client() as client:
        show_one(client.post(path_of("failures", fingerprint, "/accept"), {"reason": reason}), output)
