"""The command line: every command under its name. What takes long to load, the command itself loads."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from worker.cli import (
    audit,
    database,
    discover,
    doctor,
    failures,
    holds,
    importing,
    keys,
    orders,
    policy,
    sandbox,
    sweep,
    threads,
    versions,
)
from worker.cli.client import refuse_remote
from worker.cli.exits import exit_code_of
from worker.cli.output import Format, Output, say
from worker.model.errors import TenureError


class _Told(TyperGroup):
    """Ends expected errors with a message and the exit code that they stand for, never with a traceback."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own
        """Run the command."""
        try:
            return super().invoke(ctx)
        except TenureError as e:
            say(f"error: {e.problem}")
            if e.repair:
                say(e.repair)
            raise typer.Exit(exit_code_of(e)) from e


app = typer.Typer(
    cls=_Told,
    name="tenure",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Decides how long an AI provider may keep a thread, deletes it in time, and proves what it saw.",
)


def main() -> None:
    """Run `tenure` with the arguments of this process."""
    # A closed pipe or a strange encoding must not lose what is said: unknown characters are escaped.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    app()


def up(
    *,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Run a local provider beside it.")] = False,
) -> None:
    """Serve API, worker and beat in one process, on SQLite in the data folder.

    Example: tenure up --sandbox
    """
    from worker.cli import service

    refuse_remote("up")
    service.up(sandbox=sandbox)


def api() -> None:
    """Serve the HTTP API alone; needs PostgreSQL and Redis.

    Example: tenure api
    """
    from worker.cli import service

    refuse_remote("api")
    service.api()


def worker() -> None:
    """Work items off; needs PostgreSQL and Redis.

    Example: tenure worker
    """
    from worker.cli import service

    refuse_remote("worker")
    service.worker()


def beat() -> None:
    """Tick: activate policies, plan sweeps, wake workers, seal the log; needs PostgreSQL and Redis.

    Example: tenure beat
    """
    from worker.cli import service

    refuse_remote("beat")
    service.beat()


def demo(
    thread_count: Annotated[int, typer.Option("--threads", min=1, help="How many threads take part.")] = 40,
    output: Output = Format.TABLE,
) -> None:
    """Show all of it on this machine: register, hold, delete, verify, seal, export; nothing real is touched.

    Example: tenure demo --threads 100 -o json
    """
    from worker.cli import demo as show

    show.demo(thread_count, output)


def _serve_commands() -> None:
    for name, command in (("up", up), ("api", api), ("worker", worker), ("beat", beat), ("demo", demo)):
        app.command(name)(command)
    app.command("sandbox", epilog=sandbox.EPILOG)(sandbox.sandbox)


def _thread_commands() -> None:
    app.command("register")(threads.register)
    app.command("import")(importing.import_file)
    group = typer.Typer(no_args_is_help=True, help="Look at threads, or take back a registration.")
    group.command("list")(threads.list_threads)
    group.command("show")(threads.show)
    group.command("withdraw")(threads.withdraw)
    app.add_typer(group, name="threads")
    app.command("explain")(threads.explain)


def _protection_commands() -> None:
    group = typer.Typer(no_args_is_help=True, help="Place, list and release holds.")
    group.command("place")(holds.place)
    group.command("list")(holds.list_holds)
    group.command("release")(holds.release)
    app.add_typer(group, name="hold")
    app.command("erase")(orders.erase)
    app.add_typer(orders.erasures, name="erasures")
    app.command("pause")(orders.pause)
    app.command("resume")(orders.resume)
    app.add_typer(failures.app, name="failures")


def _other_commands() -> None:
    app.add_typer(policy.app, name="policy")
    sweep.register(app)
    app.add_typer(audit.app, name="audit")
    group = typer.Typer(no_args_is_help=True, help="Make, list, rotate and revoke API keys.")
    group.command("create")(keys.create)
    group.command("list")(keys.list_keys)
    group.command("rotate")(keys.rotate)
    group.command("revoke")(keys.revoke)
    app.add_typer(group, name="keys")
    app.add_typer(database.app, name="db")
    app.command("discover")(discover.discover)
    app.command("doctor")(doctor.doctor)
    app.command("version")(versions.version)


_serve_commands()
_thread_commands()
_protection_commands()
_other_commands()
