"""Errors are named for the fact, carry it, and name the repair."""

from __future__ import annotations


class TenureError(Exception):
    """Base of every error that Tenure can explain to a person.

    ``problem`` says what is so, ``repair`` what to do about it.
    """

    code: str = "error"

    def __init__(self, problem: str, *, repair: str = "") -> None:
        super().__init__(f"{problem} {repair}".strip())
        self.problem = problem
        self.repair = repair


class Invalid(TenureError):
    """Something given from outside has the wrong form; ``pointer`` is a JSON pointer to the place."""

    code = "invalid"

    def __init__(self, problem: str, *, repair: str = "", pointer: str = "", code: str = "") -> None:
        super().__init__(problem, repair=repair)
        self.pointer = pointer
        if code:
            self.code = code


class NotFound(TenureError):
    """Nothing with this id is visible to the caller."""

    code = "not_found"


class Unavailable(TenureError):
    """A service that is needed (database, Redis, provider) does not answer."""

    code = "unavailable"
