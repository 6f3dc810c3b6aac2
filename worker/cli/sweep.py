"""`tenure sweep` and `tenure sweeps`: plan now what beat would plan, release it, and look at sweeps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer

from worker.cli.client import Client, Refused, is_remote, open_client, path_of
from worker.cli.exits import Ended, Exit
from worker.cli.output import Column, Format, Output, Record, progress, say, show_one, show_rows
from worker.model.clock import SystemClock

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
_PLANNED = (
    Column("thread", "id", whole=True),
    Column("external_id", "external_id", whole=True),
    Column("project", "project"),
    Column("policy", "policy"),
    Column("eligible_at", "decision.eligible_at", whole=True),
)
_SHOWN = 20
_FIRST_LOOK_SECONDS, _LOOK_SECONDS = 0.1, 2.0
_GUARD_BLOCKS = "guard_blocks"

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
            made = _work_off(client, made)
        _show(made, output)
        if dry_run and output is Format.TABLE:
            _show_plan(client, made)
    _end(made, dry_run=dry_run)


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


def _work_off(client: Client, made: Sequence[Record]) -> list[Record]:
    """Work off in this process where no service does; look until all is, and return how the sweeps stand."""
    with progress("working off") as told:
        if not is_remote():
            _work_off_here([str(one["policy"]) for one in made], told)
        return _wait(client, made, told)


def _work_off_here(policies: Sequence[str], told: Callable[[int, int], None]) -> None:
    from worker.cli.local import local
    from worker.cli.service import service_lock
    from worker.cli.work_off import work_off

    with local(policies=False) as tenure, service_lock(tenure.settings) as ours:
        # A shared database has workers of its own, and a pacer that this process does not share.
        if ours and tenure.settings.is_embedded and tenure.settings.is_sqlite:
            work_off(tenure, policies, progress=told)


def _wait(client: Client, made: Sequence[Record], told: Callable[[int, int], None]) -> list[Record]:
    """Look until no worker has, or is about to take up, anything of these policies."""
    clock, seconds, most = SystemClock(), _FIRST_LOOK_SECONDS, 0
    while True:
        found: list[Record] = [client.get(path_of("sweeps", str(one["id"]))) for one in made]
        left = sum(int(one["busy"]) for one in found)
        if left == 0:
            return found
        most = max(most, left)
        told(most - left, most)
        clock.wait(seconds)
        seconds = min(seconds * 2, _LOOK_SECONDS)


def _show(made: Sequence[Record], output: Format) -> None:
    if output is Format.JSON:
        show_one({"sweeps": list(made)}, output)
    else:
        show_rows(made, _COLUMNS, output)


def _show_plan(client: Client, made: Sequence[Record]) -> None:
    """Show the first threads of the plans as they stand in the registry."""
    planned = [(str(one["policy"]), str(named)) for one in made for named in one["plan"]["threads"]]
    if not planned:
        return
    typer.echo("")
    rows = [{**_thread(client, named), "policy": policy} for policy, named in planned[:_SHOWN]]
    show_rows(rows, _PLANNED, Format.TABLE)
    more = sum(int(one["planned"]) for one in made) - len(rows)
    if more > 0:
        say(f"... and {more} more.")


def _thread(client: Client, named: str) -> Record:
    try:
        return client.get(path_of("threads", named))
    except Refused:
        return {"id": named}  # a key that may sweep need not be one that may read threads


def _end(made: Sequence[Record], *, dry_run: bool) -> None:
    """End as the worst of the sweeps ended."""
    states = {str(one["state"]) for one in made}
    paused = {one["project"]: one["reason"] for made_one in made for one in made_one.get("paused", ())}
    if paused and not dry_run:
        _say_paused(paused)
    if parked := sum(int(one["parked"]) for one in made):
        say(f"parked for a person: {parked}; `tenure failures list` says why.")
        raise typer.Exit(Exit.FAILED)
    if "blocked" in states or (paused and not dry_run):
        raise typer.Exit(Exit.BLOCKED)
    if "awaiting_approval" in states:
        raise typer.Exit(Exit.PENDING)


def _say_paused(paused: Mapping[str | None, str]) -> None:
    for project, reason in paused.items():
        where, option = (f" for {project}", f" --project {project}") if project else ("", "")
        why = reason or "no reason given"
        say(f"deletes are paused{where}: {why}; `tenure resume{option}` lets them go on.")


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
        try:
            done = client.post(
                path_of("sweeps", sweep_id, "/approvals"), {"digest": digest, "reason": reason}
            )
        except Refused as e:
            if e.problem_code == _GUARD_BLOCKS:
                raise Ended(e.problem, repair=e.repair, exit_code=Exit.BLOCKED) from e
            raise
    _show([done], output)
    _end([done], dry_run=False)
