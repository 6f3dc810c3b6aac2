"""`tenure hold`: protection that beats everything until it is released."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from worker.cli.client import open_client, path_of
from worker.cli.exits import Misused
from worker.cli.options import Reason
from worker.cli.output import Column, Format, Output, Record, say, show_one, show_rows
from worker.model.errors import Invalid
from worker.model.thread import infer_kind

_COLUMNS = (
    Column("id", "id", whole=True),
    Column("matter", "matter"),
    Column("reason", "reason"),
    Column("scope", "scope"),
    Column("matched", "matched"),
    Column("state", "state"),
    Column("placed_at", "placed_at", whole=True),
    Column("released_at", "released_at", whole=True),
)
_OWN = "thr_"


def place(
    *,
    matter: Annotated[str, typer.Option(help="The case that the hold belongs to.")],
    reason: Reason,
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="A thread, by our id or the external one.")
    ] = None,
    owners: Annotated[
        list[str] | None, typer.Option("--owner", help="An owner; * and ? are wildcards.")
    ] = None,
    projects: Annotated[
        list[str] | None, typer.Option("--project", help="A project; * and ? are wildcards.")
    ] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="KEY=VALUE, or KEY for any value.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Place a hold. It is effective when this command returns, for threads registered later too.

    What is given must all match; several values of one option are alternatives, several tags are not.

    Example: tenure hold place --matter case-7 --reason "court order" --owner team-support
    """
    scope = {"ids": ids, "owners": owners, "projects": projects, "tags": _selectors(tags or [])}
    given = {name: value for name, value in scope.items() if value}
    if not given:
        raise Misused("A hold needs a scope.", repair="Give --id, --owner, --project or --tag.")
    with open_client() as client:
        placed = client.post("/v1/holds", {"matter": matter, "reason": reason, "scope": given})
    show_one(placed, output)
    _warn(placed)


def _selectors(texts: list[str]) -> list[dict[str, Any]]:
    return [_selector(text) for text in texts]


def _selector(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not key or (equals and not value):
        raise Misused(
            f"--tag {text!r} is neither KEY=VALUE nor KEY.", repair="Write for example --tag case=7."
        )
    return {"key": key, "operator": "In", "values": [value]} if equals else {"key": key, "operator": "Exists"}


def _warn(placed: Record) -> None:
    for name, meaning in (
        ("too_late", "DELETE had left before the hold was placed"),
        ("uncertain", "whether DELETE was done before the hold is not known yet"),
    ):
        for one in placed.get(name) or ():
            say(f"warning: {one['id'] if isinstance(one, dict) else one}: {meaning}.")
    for one in placed.get("unknown") or ():
        say(f"warning: {one}: {_of_unknown(str(one))}")


def _of_unknown(named: str) -> str:
    """Say what becomes of an id that no thread has."""
    try:
        infer_kind(named)
    except Invalid as e:
        if e.code == "unknown_kind":
            return "not registered, and only an agent_session could be: no other kind has ids like this."
        if named.startswith(_OWN):
            return "no thread has this id of Tenure's own, and none will: the hold protects nothing by it."
        return f"it can never be registered, so the hold protects nothing by it. {e.problem} {e.repair}"
    return "not registered; the hold covers it once it is."


def list_holds(
    matter: Annotated[str | None, typer.Option(help="Only this matter's.")] = None,
    state: Annotated[str | None, typer.Option(help="active or released; both if left out.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    output: Output = Format.TABLE,
) -> None:
    """List holds, the newest first, released ones too.

    Example: tenure hold list -o json
    """
    with open_client() as client:
        show_rows(
            client.listed("/v1/holds", {"matter": matter, "state": state}, limit=limit), _COLUMNS, output
        )


def release(
    hold: Annotated[str, typer.Argument(metavar="ID", help="The hold's id (hold_...).")],
    reason: Reason,
    output: Output = Format.TABLE,
) -> None:
    """Release a hold: what it protected is decided again from now on.

    Example: tenure hold release hold_0193 --reason "case closed"
    """
    with open_client() as client:
        show_one(client.post(path_of("holds", hold, "/release"), {"reason": reason}), output)
