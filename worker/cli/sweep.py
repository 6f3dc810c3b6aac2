"""`tenure sweep` and `tenure sweeps`: plan now what beat would plan, release it, and look at sweeps."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from worker.cli.client import Client, open_client, path_of, refuse_remote
from worker.cli.exits import Ended, Exit
from worker.cli.output import Column, Format, Output, Record, progress, say, show_one, show_rows

_COLUMNS = (
    Column("sweep", "id", whole=True),
    Column("policy", "policy", whole=True),
    Column("state", "state"),
    Column("planned", "planned"),
    Column("done", "done"),
    Column("spared", "spared"),
    Column("waiting", "waiting"),
    Column("parked", "parked"),
    Column("grades", "grades"),
    Column("why", "reasons"),
)

sweeps = typer.Typer(no_args_is_help=True, help="Look at sweeps, and approve one that waits.")


def register(app: typer.Typer) -> None:
    """Add both commands to the command line."""
    app.command("sweep")(sweep)
    app.add_typer(sweeps, name="sweeps")


def sweep(
    policy: Annotated[str | None, typer.Option(help="Sweep only this policy.")] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Stop after the plan.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before releasing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Work it off, or wait until it is.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Plan now what beat would plan, and release it.

    Example: tenure sweep --policy conversations-30d --dry-run
    """
    with open_client() as client:
        if not (dry_run or yes):
            _ask(client, policy)
        made = _order(client, policy, dry_run=dry_run)
        if wait and not dry_run:
            _work_off([str(one["policy"]) for one in made])
            made = [client.get(f"/v1/sweeps/{one['id']}") for one in made]
    _show(made, output)
    _end(made)


def _order(client: Client, policy: str | None, *, dry_run: bool) -> list[Record]:
    return list(client.post("/v1/sweeps", {"policy": policy, "dry_run": dry_run})["sweeps"])


def _ask(client: Client, policy: str | None) -> None:
    """Show what a release would delete, and ask; without a terminal there is nobody to answer."""
    planned = _order(client, policy, dry_run=True)
    count = sum(int(one["planned"]) for one in planned)
    for one in planned:
        say(f"{one['policy']}: {one['planned']} due")
    if count == 0:
        return
    if not sys.stdin.isatty():
        raise Ended(f"{count} threads are due.", repair="Say --yes to release them.", exit_code=Exit.PENDING)
    answer = typer.prompt(
        f"Type {count} to delete {count} threads", err=True, default="no", show_default=False
    )
    if answer.strip() != str(count):
        raise Ended("Nothing was released.", exit_code=Exit.PENDING)


def _work_off(policies: Sequence[str]) -> None:
    """Work off in this process where no service does; else the service's tick comes by itself."""
    refuse_remote("sweep --wait")
    from worker.cli.local import local
    from worker.cli.service import service_lock
    from worker.cli.work_off import wait_for, work_off

    with local(policies=False) as tenure, service_lock(tenure.settings) as ours:
        act = work_off if ours and tenure.settings.is_embedded else wait_for
        with progress("working off") as told:
            act(tenure, policies, progress=told)


def _show(made: Sequence[Record], output: Format) -> None:
    if output is Format.JSON:
        show_one({"sweeps": list(made)}, output)
    else:
        show_rows(made, _COLUMNS, output)


def _end(made: Sequence[Record]) -> None:
    """End as the worst of the sweeps ended."""
    states = {str(one["state"]) for one in made}
    if any(int(one["parked"]) for one in made):
        raise typer.Exit(Exit.FAILED)
    if "blocked" in states:
        raise typer.Exit(Exit.BLOCKED)
    if "awaiting_approval" in states:
        raise typer.Exit(Exit.PENDING)


@sweeps.command("list")
def list_sweeps(
    policy: Annotated[str | None, typer.Option(help="Only this policy's.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    output: Output = Format.TABLE,
) -> None:
    """List the newest sweeps.

    Example: tenure sweeps list --limit 5
    """
    with open_client(policies=False) as client:
        show_rows(client.listed("/v1/sweeps", {"policy": policy}, limit=limit), _COLUMNS, output)


@sweeps.command("show")
def show_sweep(sweep_id: str, output: Output = Format.TABLE) -> None:
    """Show one sweep with its plan.

    Example: tenure sweeps show swp_0193…
    """
    with open_client(policies=False) as client:
        found = client.get(path_of("sweeps", sweep_id))
    show_one(found, output)


@sweeps.command("approve")
def approve_sweep(
    sweep_id: str,
    digest: Annotated[str, typer.Option(help="The plan's digest, as `sweeps show` prints it.")],
    reason: Annotated[str, typer.Option(help="Why it may run.")],
    output: Output = Format.TABLE,
) -> None:
    """Approve a waiting sweep: exactly the plan with this digest runs.

    Example: tenure sweeps approve swp_0193… --digest sha256:… --reason "reviewed"
    """
    with open_client() as client:
        done = client.post(path_of("sweeps", sweep_id, "/approvals"), {"digest": digest, "reason": reason})
    _show([done], output)
