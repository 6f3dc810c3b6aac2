"""`tenure discover`: what the provider holds and nobody registered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.client import refuse_remote
from worker.cli.exits import Ended, Exit, Misused
from worker.cli.output import Column, Format, Output, Record, progress, say, show_one, show_rows
from worker.model.clock import rfc3339

if TYPE_CHECKING:
    from worker.flows.discover import Coverage
    from worker.store.coverages import KindCoverage

_COLUMNS = (
    Column("kind", "kind"),
    Column("found", "found"),
    Column("registered", "registered"),
    Column("unregistered", "unregistered"),
    Column("problem", "problem"),
)
_STORED_COLUMNS = (*_COLUMNS, Column("looked at", "looked_at"))


def discover(
    project: Annotated[str, typer.Option(help="The project whose account is listed.")],
    *,
    adopt: Annotated[bool, typer.Option("--adopt", help="Register what was found.")] = False,
    owner: Annotated[str | None, typer.Option(help="Who answers for what is adopted.")] = None,
    ttl: Annotated[str | None, typer.Option(help="The TTL of what is adopted, such as 30d.")] = None,
    last: Annotated[
        bool, typer.Option("--last", help="Show what the coverage sweep found, and ask the provider nothing.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """List what the provider holds and nobody registered, for kinds that can be listed.

    Example: tenure discover --project support-eu --adopt --owner team-support
    """
    refuse_remote("discover")
    if adopt and owner is None:
        raise Misused("--adopt needs an owner.", repair="Say --owner team-support.")
    if last and adopt:
        raise Misused("--last knows only numbers.", repair="Leave out --last: adopting needs a new list.")
    if last:
        _show_last(project, output)
        return
    from worker.cli.local import local
    from worker.flows.discover import adopt as adopt_found
    from worker.flows.discover import discover as look
    from worker.flows.discover import known_project, unlisted_kinds

    with local() as tenure, progress("listing") as told:
        tools = tenure.tools()

        async def list_all() -> list[Coverage]:
            try:
                return await look(tools, project, progress=lambda seen: told(seen, seen))
            finally:
                await tools.close()

        coverage = asyncio.run(list_all())
        for kind, why in unlisted_kinds(known_project(tenure.database, project)).items():
            say(f"not listed: {kind.value} ({why})")
        if adopt and owner is not None:
            made = adopt_found(tools, project, coverage, owner=owner, ttl=ttl, now=tenure.clock.now())
            say(f"{made} adopted for {owner}")
    _show(project, coverage, output)
    if any(one.problem for one in coverage):
        raise typer.Exit(Exit.FAILED)


def _show_last(project: str, output: Format) -> None:
    from worker.cli.local import local
    from worker.flows.discover import known_project
    from worker.store import coverages

    with local() as tenure:
        known_project(tenure.database, project)
        with tenure.database.read() as db:
            found = coverages.of_projects(db, [project]).get(project, ())
    if not found:
        raise Ended(
            f"No coverage sweep of {project} has ended yet.",
            repair="`tenure up`, or beat and a worker, make one every TENURE_COVERAGE_HOURS.",
        )
    rows = [_stored(one) for one in found]
    if output is Format.JSON:
        show_one({"project": project, "kinds": rows}, output)
    else:
        show_rows(rows, _STORED_COLUMNS, output)
    if any(one.problem for one in found):
        raise typer.Exit(Exit.FAILED)


def _stored(one: KindCoverage) -> Record:
    return {
        "kind": one.kind.value,
        "found": one.found,
        "registered": one.registered,
        "unregistered": one.unregistered,
        "problem": one.problem,
        "looked_at": rfc3339(one.looked_at),
    }


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
