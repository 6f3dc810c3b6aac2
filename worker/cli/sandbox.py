"""`tenure sandbox`: the local provider alone. What it deletes is gone from it, and nothing of it is real."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from worker.cli.exits import Ended, Exit
from worker.cli.output import Column, Format, say, show_rows
from worker.sandbox.dialects import DIALECTS, Dialect, parse_dialect
from worker.sandbox.faults import FAULTS, FaultRule, UnknownFaultName, parse_faults

_HOST = "127.0.0.1"
_LIST = "list"
_FAULT_HELP = (
    "A way to fail, name[:kind][@method][*count]; may be repeated. `--fault list` prints all of them."
)
EPILOG = "\n\n".join(["Faults:", *(f"{name.value}: {facts.summary}." for name, facts in FAULTS.items())])
"""What the help of the command ends with: every fault, one paragraph each."""


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free port.")] = 8401,
    latency_ms: Annotated[float, typer.Option(min=0, max=60_000, help="How long every answer takes.")] = 50,
    rate: Annotated[
        str | None, typer.Option(help="Most requests, such as 300/min; more are throttled.")
    ] = None,
    fault: Annotated[list[str] | None, typer.Option(help=_FAULT_HELP)] = None,
    dialect: Annotated[
        str, typer.Option(help=f"Whose words errors are written in: {', '.join(DIALECTS)}.")
    ] = Dialect.OPENAI.value,
) -> None:
    """Run a provider on this machine that keeps and deletes for real, and fails on demand.

    Example: tenure sandbox --port 8401 --latency-ms 50 --rate 300/min --fault lost-reply:conversation*1
    """
    if fault == [_LIST]:
        rows = [{"fault": name.value, "does": facts.summary} for name, facts in FAULTS.items()]
        show_rows(rows, (Column("fault", "fault", whole=True), Column("does", "does")), Format.TABLE)
        return
    from worker.sandbox.options import SandboxOptions, parse_rate
    from worker.sandbox.server import serve

    options = SandboxOptions(
        latency=timedelta(milliseconds=latency_ms),
        rate=parse_rate(rate) if rate else None,
        faults=_faults(fault or []),
        dialect=parse_dialect(dialect),
    )
    try:
        serve(options, _HOST, port, _announce)
    except OSError as e:
        problem = f"{_HOST}:{port} cannot be listened on: {e.strerror}."
        raise Ended(
            problem, repair="Stop what uses it, or give another --port.", exit_code=Exit.FAILED
        ) from e


def _faults(texts: list[str]) -> tuple[FaultRule, ...]:
    """Read the faults; whoever writes a name that is none is shown all of them."""
    try:
        return parse_faults(texts)
    except UnknownFaultName as e:
        width = max(len(name) for name in FAULTS)
        known = [f"  {name.value:{width}}  {facts.summary}" for name, facts in FAULTS.items()]
        lines = ["Known faults, written name[:kind][@method][*count]:", *known]
        raise Ended(e.problem, repair="\n".join(lines)) from e


def _announce(base_url: str) -> None:
    typer.echo(base_url)
    say("This is the sandbox: a provider for trying Tenure. It keeps everything in memory. Ctrl-C ends it.")
