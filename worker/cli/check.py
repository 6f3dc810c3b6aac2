"""One line of `tenure doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from worker.cli.output import Record


class Status(StrEnum):
    """A problem needs a person; a warning may be as it should; info only tells."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one look found."""

    check: str
    status: Status
    what: str
    repair: str = ""

    @property
    def is_problem(self) -> bool:
        """Whether a person must do something."""
        return self.status is Status.PROBLEM

    def as_record(self) -> Record:
        """Return it as data."""
        return {"check": self.check, "status": self.status.value, "what": self.what, "repair": self.repair}


def problem_of(check: str, what: str, repair: str) -> Check:
    """Return a line that needs a person."""
    return Check(check=check, status=Status.PROBLEM, what=what, repair=repair)
