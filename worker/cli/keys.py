"""`tenure keys`: who may do what over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.client import open_client, path_of
from worker.cli.options import instant_text
from worker.cli.output import Column, Format, Output, say, show_one, show_rows

_COLUMNS = (
    Column("id", "id", whole=True),
    Column("label", "label"),
    Column("scopes", "scopes"),
    Column("projects", "projects"),
    Column("created_at", "created_at", whole=True),
    Column("expires_at", "expires_at", whole=True),
    Column("revoked_at", "revoked_at", whole=True),
    Column("last_used_at", "last_used_at", whole=True),
)


def create(
    label: Annotated[str, typer.Option(help="Whose key it is, or what for.")],
    scopes: Annotated[
        list[str], typer.Option("--scope", help="A scope such as threads:write; may be repeated.")
    ],
    projects: Annotated[
        list[str] | None, typer.Option("--project", help="A project; all of them if none.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", help="A date or instant after which it ends.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Make an API key. It is shown once and kept nowhere.

    Example: tenure keys create --label importer --scope threads:write --project support-eu
    """
    body = {"label": label, "scopes": scopes, "projects": projects or ["*"]}
    expires_at = instant_text("--expires", expires)
    with open_client(policies=False) as client:
        made = client.post("/v1/keys", body if expires_at is None else {**body, "expires_at": expires_at})
    say("The key is shown once: keep it now.")
    show_one(made, output)


def list_keys(
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100, output: Output = Format.TABLE
) -> None:
    """List the keys, revoked ones too; secrets are not kept.

    Example: tenure keys list
    """
    with open_client(policies=False) as client:
        show_rows(client.listed("/v1/keys", limit=limit), _COLUMNS, output)


def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="The key's public id.")],
    output: Output = Format.TABLE,
) -> None:
    """Revoke a key at once.

    Example: tenure keys revoke aB3dE6gH9jK2
    """
    with open_client(policies=False) as client:
        show_one(client.post(path_of("keys", key, "/revoke")), output)


def rotate(
    key: Annotated[str, typer.Argument(metavar="ID", help="The key's public id.")],
    until: Annotated[
        str | None, typer.Option("--until", help="Until when the old key goes on; 24 hours unless given.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Make a successor with the same rights; the old key goes on until a set time.

    Example: tenure keys rotate aB3dE6gH9jK2 --until 2026-12-01
    """
    ends_at = instant_text("--until", until)
    with open_client(policies=False) as client:
        made = client.post(path_of("keys", key, "/rotate"), {} if ends_at is None else {"ends_at": ends_at})
    say("The key is shown once: keep it now.")
    show_one(made, output)
