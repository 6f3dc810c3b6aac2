"""`tenure discover`: what the provider holds and nobody registered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.client import refuse_remote
from worker.cli.exits import Exit, Misused
from worker.cli.output import Column, Format, Output, Record, progress, say, show_one, show_rows

if TYPE_CHECKING:
    from worker.flows.discover import Coverage

_COLUMNS = (
    Column("kind", "kind"),
    Column("found", "found"),
    Column("registered", "registered"),
    Column("unregistered", "unregistered"),
    Column("problem", "problem"),
)


def discover(
    project: Annotated[str, typer.Option(help="The project whose account is listed.")],
    *,
    adopt: Annotated[bool, typer.Option("--adopt", help="Register what was found.")] = False,
    owner: Annotated[str | None, typer.Option(help="Who answers for what is adopted.")] = None,
    ttl: Annotated[str | None, typer.Option(help="The TTL of what is adopted, such as 30d.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """List what the provider holds and nobody registered, for kinds that can be listed.

    Example: tenure discover --project support-eu --adopt --owner team-support
    """
    refuse_remote("discover")
    if adopt and owner is None:
        raise Misused("--adopt needs an owner.", repair="Say --owner team-support.")
    from worker.cli.local import local
    from worker.flows.discover import adopt as adopt_found
    from worker.flows.discover import discover as look

    with local() as tenure, progress("listing") as told:
        tools = tenure.tools()

        async def list_all() -> list[Coverage]:
            try:
                return await look(tools, project, progress=lambda seen: told(seen, seen))
            finally:
                await tools.close()

        coverage = asyncio.run(list_all())
        if adopt and owner is not None:
            made = adopt_found(tools, project, coverage, owner=owner, ttl=ttl, now=tenure.clock.now())
            say(f"{made} adopted for {owner}")
    _show(project, coverage, output)
    if any(one.problem for one in coverage):
        raise typer.Exit(Exit.FAILED)


def _show(project: str, coverage: Sequence[Coverage], output: Format) -> None:
    rows: list[Record] = [
        {
            "kind": one.kind.value,
            "found": one.found,
            "registered": one.registered,
            "unregistered": len(one.unregistered),
            "ids": [found.id for found in one.unregistered],
            "problem": one.problem,
        }
        for one in coverage
    ]
    if output is Format.JSON:
        show_one({"project": project, "kinds": rows}, output)
    else:
        show_rows(rows, _COLUMNS, output)
