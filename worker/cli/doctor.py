"""`tenure doctor`: look at all that must hold for Tenure to work, and name the repair of what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.cli.exits import Ended
from worker.cli.output import Column, Format, Output, say, show_rows
from worker.model.errors import TenureError

if TYPE_CHECKING:
    from worker.cli.checks import Check

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


def doctor(output: Output = Format.TABLE) -> None:
    """Check settings, database, log, policies, beat and what is stopped: exit 1 where something must be done.

    Example: tenure doctor -o json
    """
    found, everything = _look()
    show_rows([one.as_record() for one in found], _COLUMNS, output)
    broken = [one for one in found if one.is_problem]
    if broken:
        raise Ended(f"{len(broken)} of {len(found)} checks need a person.")
    say("Nothing needs a person." if everything else _FROM_AFAR)


def _look() -> tuple[list[Check], bool]:
    """Return what was found, and whether all was looked at that can be."""
    from worker.cli.checks import Check, Status, local_checks, remote_checks
    from worker.settings import load_settings

    try:
        settings = load_settings()
    except TenureError as e:
        return [Check(check="settings", status=Status.PROBLEM, what=e.problem, repair=e.repair)], True
    if settings.url:
        good = Check(check="settings", status=Status.OK, what="TENURE_URL is set: asked over the network")
        return [good, *remote_checks(settings)], False
    good = Check(check="settings", status=Status.OK, what=f"data folder {settings.data_dir}")
    return [good, *local_checks(settings)], True
