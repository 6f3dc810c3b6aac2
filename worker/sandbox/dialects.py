"""Error dialects: the same refusal in the words of different servers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import assert_never

from worker.model.errors import Invalid


class Dialect(StrEnum):
    """Whose words an error is written in."""

    OPENAI = "openai"
    DETAIL = "detail"
    GATEWAY = "gateway"
    GATEWAY_OPAQUE = "gateway-opaque"
    FOUNDRY = "foundry"


DIALECTS: dict[Dialect, str] = {
    Dialect.OPENAI: "OpenAI's error object",
    Dialect.DETAIL: "a server of its own that writes {'detail': …}",
    Dialect.GATEWAY: "a gateway that has only responses, files and threads without DELETE, "
    "and gives every response a new id on each call",
    Dialect.GATEWAY_OPAQUE: "the same, with ids that nobody else can read",
}
"""The dialects that a sandbox can be started with; Foundry's own paths always answer in Foundry's."""


class UnknownDialect(Invalid):
    """A dialect was written that the sandbox does not speak."""

    code = "unknown_dialect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error before it is written. ``kind`` is OpenAI's ``type``.

    ``about_route`` says that the address is not served, ``plainly`` names a missing object in the words
    of a server that is not OpenAI.
    """

    status: int
    message: str
    kind: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    about_route: bool = False
    plainly: str | None = None


def parse_dialect(text: str) -> Dialect:
    """Read the name of a dialect that a sandbox can be started with; raises UnknownDialect."""
    try:
        dialect = Dialect(text.strip())
    except ValueError:
        dialect = Dialect.FOUNDRY
    if dialect not in DIALECTS:
        raise UnknownDialect(
            f"{text!r} is not a dialect that a sandbox can be started with.",
            repair=f"Write one of {', '.join(DIALECTS)}; Foundry is spoken below /api/projects/ in any case.",
            pointer="/dialect",
        )
    return dialect


def written(problem: Problem, dialect: Dialect) -> dict[str, object]:
    """Return the JSON body of an error."""
    match dialect:
        case Dialect.OPENAI:
            return _error_object(problem, problem.code)
        case Dialect.DETAIL:
            return {"detail": _detail(problem)}
        case Dialect.GATEWAY | Dialect.GATEWAY_OPAQUE if problem.about_route:
            return {"detail": _detail(problem)}
        case Dialect.GATEWAY | Dialect.GATEWAY_OPAQUE:
            return _error_object(problem, problem.code or str(problem.status))
        case Dialect.FOUNDRY:
            message = "Resource not found" if problem.about_route else problem.message
            return {"error": {"code": problem.code or str(problem.status), "message": message}}
        case _:
            assert_never(dialect)


def _error_object(problem: Problem, code: str | None) -> dict[str, object]:
    words = {"message": problem.message, "type": problem.kind, "param": problem.param, "code": code}
    return {"error": words}


def _detail(problem: Problem) -> str:
    return HTTPStatus(problem.status).phrase if problem.about_route else problem.plainly or problem.message
