"""`tenure doctor`: look at all that must hold for Tenure to work, and name the repair of what does not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, assert_never

import typer

from worker.cli.exits import Ended, Misused
from worker.cli.output import Column, Format, Output, say, show_rows
from worker.model.errors import TenureError
from worker.model.evidence import Class

if TYPE_CHECKING:
    from worker.cli.check import Check
    from worker.flows.examine import Examined, KindExamined
    from worker.policy.document import Project
    from worker.settings import Settings

_COLUMNS = (
    Column("check", "check"),
    Column("status", "status"),
    Column("what", "what"),
    Column("repair", "repair"),
)

_FROM_AFAR = (
    "Only /healthz and /readyz were looked at, and they are well. Log, policies, keys, beat, pauses, sweeps "
    "and parked threads are checked by `tenure doctor` on the service's own machine, without TENURE_URL."
)
_MOST_AHEAD = timedelta(seconds=60)


def doctor(
    *,
    projects: Annotated[
        bool, typer.Option("--projects", help="Read one registered thread per kind at each provider, too.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Check settings, database, log, policies, beat and what is stopped: exit 1 where something must be done.

    Example: tenure doctor --projects -o json
    """
    found, everything = _look(projects=projects)
    show_rows([one.as_record() for one in found], _COLUMNS, output)
    broken = [one for one in found if one.is_problem]
    if broken:
        raise Ended(f"{len(broken)} of {len(found)} checks need a person.")
    say("Nothing needs a person." if everything else _FROM_AFAR)


def _look(*, projects: bool) -> tuple[list[Check], bool]:
    """Return what was found, and whether all was looked at that can be."""
    from worker.cli.check import Check, Status
    from worker.cli.checks import PROVIDER_KEY, local_checks, remote_checks
    from worker.settings import load_settings

    try:
        settings = load_settings()
    except TenureError as e:
        return [Check(check="settings", status=Status.PROBLEM, what=e.problem, repair=e.repair)], True
    if settings.url:
        if projects:
            problem = "`tenure doctor --projects` asks with the keys of this machine, and TENURE_URL is set."
            raise Misused(problem, repair="Unset TENURE_URL, and run it where the workers are.")
        good = Check(check="settings", status=Status.OK, what="TENURE_URL is set: asked over the network")
        return [good, *remote_checks(settings)], False
    good = Check(check="settings", status=Status.OK, what=f"data folder {settings.data_dir}")
    found = local_checks(settings)
    # Without a sound database and policies nobody knows which projects there are.
    if projects and any(one.check == "policies" and one.status is Status.OK for one in found):
        found = [one for one in found if one.check != PROVIDER_KEY]
        found += _project_checks(settings)
    return [good, *found], True


def _project_checks(settings: Settings) -> list[Check]:
    """Examine every project of the bundle in force; migrates nothing and puts nothing in force."""
    from worker.cli.surroundings import ambient, retention
    from worker.flows.decide import bundle_in_force
    from worker.flows.examine import examine
    from worker.flows.inquire import inquire
    from worker.telemetry import set_up_logging
    from worker.wiring import wire

    set_up_logging(settings.log_format, "warning")
    tenure = wire(settings, role="cli")
    try:
        with tenure.database.read() as db:
            known = list(bundle_in_force(db).projects.values())
        tools = tenure.tools()

        async def ask_all() -> list[Check]:
            rows: list[Check] = []
            try:
                for project in known:
                    rows += _rows(await examine(tools, project))
                    told = await inquire(tools, project, allowed=settings.provider_keys)
                    rows += [retention(project, told)] if told else []
            finally:
                await tools.close()
            return rows

        asked = asyncio.run(ask_all())
    finally:
        tenure.database.dispose()
    return [*ambient(known, os.environ), *asked]


def _rows(found: Examined) -> Iterator[Check]:
    from worker.cli.check import Check, Status
    from worker.cli.checks import key_repair

    project = found.project
    name, base_url = f"project {project.name}", project.account.base_url
    if found.failure is not None:
        what = f"{found.failure.problem} Nothing was asked at {base_url}."
        repair = key_repair(project, found.failure)
        yield Check(check=name, status=Status.PROBLEM, what=what, repair=repair)
        return
    rest = "" if found.kinds else "; no live thread is registered, so nothing was asked"
    yield Check(check=name, status=Status.OK, what=f"base URL {base_url}; its key resolves{rest}")
    for one in found.kinds:
        yield _kind_row(name, project, one)
        if one.end_warning:
            repair = (
                "Have what is due there deleted before its end; afterwards nothing can be confirmed, and "
                "`tenure failures list --each -o csv` is what to send to the provider."
            )
            yield Check(check=f"{name} end", status=Status.WARNING, what=one.end_warning, repair=repair)
    if found.ahead is not None:
        yield _clock_row(name, found.ahead)


def _clock_row(name: str, ahead: timedelta) -> Check:
    from worker.cli.check import Check, Status

    seconds = round(ahead.total_seconds())
    side = "ahead of" if seconds >= 0 else "behind"
    what = f"Our clock is {abs(seconds)} s {side} the provider's."
    if abs(ahead) <= _MOST_AHEAD:
        return Check(check=f"{name} clock", status=Status.OK, what=what)
    repair = "Set this machine's clock by NTP: due dates follow it."
    return Check(check=f"{name} clock", status=Status.WARNING, what=what, repair=repair)


def _kind_row(name: str, project: Project, one: KindExamined) -> Check:
    from worker.cli.check import Check, Status

    check, kind = f"{name} {one.kind.value}", one.kind.value
    if one.failure is not None or one.seen is None:
        what = one.failure.problem if one.failure else "It was not asked."
        repair = (one.failure.repair if one.failure else "") or "Run it again."
        return Check(check=check, status=Status.PROBLEM, what=what, repair=repair)
    seen = one.seen
    if seen.seen is Class.PRESENT:
        return Check(check=check, status=Status.OK, what="A registered live one was read: present.")
    told = ", ".join(str(part) for part in (seen.status, seen.detail) if part) or "no answer"
    what, repair = _finding(seen.seen, kind, one.reads, project.account.base_url)
    status = Status.WARNING if seen.seen is Class.THROTTLED else Status.PROBLEM
    return Check(check=check, status=status, what=f"{what} ({told})", repair=repair)


def _finding(seen: Class, kind: str, reads: int, base_url: str) -> tuple[str, str]:
    """Return what a read that did not find its thread means, and its repair."""
    match seen:
        case Class.DENIED:
            return "The key is refused.", f"Give the project a key that may read and delete a {kind}."
        case Class.ROUTE_ABSENT:
            return (
                f"No endpoint for a {kind} answers at {base_url}.",
                "Check base_url and profile; if the provider retired it, no deletion there can be confirmed.",
            )
        case Class.OBJECT_ABSENT:
            return (
                f"Of the registered live ones {reads} were read, and none is there.",
                "Check that the key belongs to the provider project that they were made in.",
            )
        case Class.THROTTLED:
            return "The provider asks for a pause.", "Run it again later; lower the project's rate."
        case (
            Class.ERROR
            | Class.PRESENT
            | Class.ACKNOWLEDGED
            | Class.MALFORMED
            | Class.LOST
            | Class.UNSENT
            | Class.NONE
        ):
            return "It could not be read.", f"Check that this machine reaches {base_url}, then run it again."
        case other:
            assert_never(other)
