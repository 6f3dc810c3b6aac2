"""How a command ends: the exit codes, and the errors that carry one of their own."""

from __future__ import annotations

from enum import IntEnum

from worker.model.errors import TenureError, Unavailable

_SETTINGS = "settings_invalid"
# A log that its anchors do not know: nothing is signed, and nothing deleted.
_REFUSED = frozenset({"log_behind", "log_broken", "log_differs", "log_refused", "log_uncompared"})
# What a hold, or work that is under way, keeps from being shredded.
_BLOCKED = _REFUSED | {"bodies_needed"}


class Exit(IntEnum):
    """What the exit code of every command means."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PENDING = 3  # changes pending, or an approval is needed
    BLOCKED = 4  # by a guard, a hold, a pause or a log that an anchor refuses
    UNREACHABLE = 5
    UNVERIFIED = 6


class Ended(TenureError):
    """A command ends here, with this exit code."""

    code = "ended"

    def __init__(self, problem: str, *, repair: str = "", exit_code: Exit = Exit.FAILED) -> None:
        super().__init__(problem, repair=repair)
        self.exit_code = exit_code


class Misused(Ended):
    """The command line asks for something that cannot be."""

    code = "usage"

    def __init__(self, problem: str, *, repair: str = "") -> None:
        super().__init__(problem, repair=repair, exit_code=Exit.USAGE)


def exit_code_of(error: TenureError) -> Exit:
    """Return the exit code of an error that reached the top."""
    match error:
        case Ended():
            return error.exit_code
        case Unavailable():
            return Exit.UNREACHABLE
        case _:
            # By its code: naming the class would load all settings for `tenure version`, and a database URL
            # is told by the store, which knows no settings.
            if error.code in _BLOCKED:
                return Exit.BLOCKED
            return Exit.USAGE if error.code == _SETTINGS else Exit.FAILED
