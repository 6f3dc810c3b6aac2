"""Problems: every refusal in one shape, `application/problem+json` (RFC 9457).

`errors` holds JSON pointers (RFC 6901) and reasons, never what was sent. What Tenure cannot explain is a
plain 500: its reason goes to the log, not to the caller.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path

from worker.audit.entry import BodyRefused
from worker.flows.answer_once import AnswerNotKept, IdempotencyKeyReused, StillRunning
from worker.flows.approve import NoApprovalNeeded, OwnProposal, PreviewVoid, WrongDigest
from worker.flows.ask_export import TooManyExports
from worker.flows.change import Stale
from worker.flows.decide import BundleUnreadable, NoBundle
from worker.flows.hold import AlreadyReleased
from worker.flows.key import KeyRefused, WiderThanOwn
from worker.flows.preview import BundleRefused
from worker.flows.register import Conflict, RegisteredElsewhere
from worker.flows.rotate_key import KeyEnded
from worker.flows.sweep import NotApprovable, NotRecomputed
from worker.flows.withdraw import InFlight, NotLive
from worker.http.catalogue import CATALOGUE, title_of
from worker.http.refusals import (
    AlreadyRevoked,
    Ambiguous,
    ExportExpired,
    ExportNotReady,
    Forbidden,
    HeadersTooLarge,
    MalformedIdempotencyKey,
    NoCondition,
    ProjectBound,
    Throttled,
    Unreadable,
    WrongMediaType,
)
from worker.model.clock import rfc3339
from worker.model.errors import Invalid, NotFound, TenureError, Unavailable
from worker.policy.findings import Finding
from worker.policy.permit import BeyondPolicy, Held, Retained
from worker.store.migrate import SchemaOutdated
from worker.store.unwritable import cannot_write
from worker.telemetry import ERROR_TYPE, log

MEDIA_TYPE = "application/problem+json"
_UNWRITABLE = (
    "The database cannot be written: its disk is full or read-only. Nothing of this request was kept, and "
    "what was committed before is there; `tenure doctor` names the place."
)
_UNAVAILABLE = 503
_OTHER_METHOD = 405
_RETRY_SECONDS = 5
_EXPORT_SECONDS = 60
_QUOTED = re.compile(r'"[^"]*"')
_LONGEST_POINTER = 200
_MOST_FINDINGS = 100

_STATUSES: Sequence[tuple[type[TenureError], int]] = (
    (KeyRefused, 401),
    (Forbidden, 403),
    (ProjectBound, 403),
    (WiderThanOwn, 403),
    (NotFound, 404),
    (Conflict, 409),
    (RegisteredElsewhere, 409),
    (AlreadyReleased, 409),
    (NotApprovable, 409),
    (PreviewVoid, 409),
    (WrongDigest, 409),
    (OwnProposal, 409),
    (NoApprovalNeeded, 409),
    (InFlight, 409),
    (NotLive, 409),
    (Ambiguous, 409),
    (AlreadyRevoked, 409),
    (KeyEnded, 409),
    (Held, 409),
    (Retained, 409),
    (BeyondPolicy, 409),
    (Stale, 412),
    (NoCondition, 428),
    (StillRunning, 409),
    (AnswerNotKept, 409),
    (IdempotencyKeyReused, 422),
    (MalformedIdempotencyKey, 400),
    (ExportNotReady, 409),
    (ExportExpired, 410),
    (WrongMediaType, 415),
    (Throttled, 429),
    (HeadersTooLarge, 431),
    (Unreadable, 400),
    (Invalid, 422),
    (TooManyExports, 429),
    (BodyRefused, 422),
    (BundleRefused, 422),
    (NoBundle, 503),
    (BundleUnreadable, 503),
    (NotRecomputed, 503),
    (SchemaOutdated, 503),
    (Unavailable, 503),
)
_CODES: Mapping[int, str] = {
    400: "malformed_json",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    413: "too_large",
    415: "unsupported_media_type",
}


class ErrorItem(BaseModel):
    """One place that must change; ``in`` is body, query or path, ``pointer`` a JSON pointer into it."""

    model_config = ConfigDict(populate_by_name=True)

    place: Literal["body", "query", "path"] = Field(alias="in")
    pointer: str
    detail: str
    code: str


class ProblemShape(BaseModel):
    """What every refusal looks like (RFC 9457); a conflict also has ``diff``."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[ErrorItem]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One refusal before it is written."""

    status: int
    code: str
    detail: str
    errors: Sequence[Mapping[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, *, instance: str, request_id: str) -> Response:
        """Write it for one request."""
        body = {
            "type": f"/docs/problems/{self.code if self.code in CATALOGUE else 'error'}",
            "title": title_of(self.code),
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "request_id": request_id,
            "errors": list(self.errors),
            **self.more,
        }
        return JSONResponse(body, self.status, headers=dict(self.headers), media_type=MEDIA_TYPE)


INTERNAL = Problem(
    status=500, code="internal", detail="Something broke inside Tenure; its log has the reason."
)


def problem_of(refused: Exception) -> Problem:
    """Say what a caller may know of an error; an unknown one is `internal`."""
    match refused:
        case TenureError():
            return _of_fact(refused)
        case RequestValidationError():
            return _of_fields(refused)
        case HTTPException():
            code = _CODES.get(refused.status_code, "error")
            return Problem(
                status=refused.status_code,
                code=code,
                detail=f"{title_of(code)}.",
                headers=refused.headers or {},
            )
        case DBAPIError() if cannot_write(refused):
            # Without the words of the database, which may name its file or its host.
            return unavailable("unavailable", _UNWRITABLE)
        case OperationalError() | InterfaceError() | PoolExhausted():
            return unavailable("unavailable", "The database does not answer.")
        case _:
            return INTERNAL


async def answer_problem(request: Request, refused: Exception) -> Response:
    """Handle an error of a route; what cannot be explained goes on to whoever logs it."""
    problem = problem_of(refused)
    if problem is INTERNAL:
        raise refused
    if problem.status == _OTHER_METHOD:
        problem = replace(problem, headers=_allow(request) or problem.headers)
    request.state.problem = problem.code
    tell_operators(problem, refused, request_id=request.state.request_id)
    return problem.answer(instance=request.url.path, request_id=request.state.request_id)


def _allow(request: Request) -> dict[str, str]:
    """Name the methods of every route with this path; the framework names those of the first one only."""
    paths: Mapping[str, Mapping[str, object]] = request.app.openapi()["paths"]
    found = {
        method.upper()
        for template, methods in paths.items()
        if compile_path(template)[0].match(request.url.path)
        for method in methods
    }
    return {"allow": ", ".join(sorted(found))} if found else {}


def tell_operators(problem: Problem, refused: Exception, *, request_id: str) -> None:
    """Log the reason of what is not the caller's fault; the answer itself does not give it."""
    if problem is INTERNAL:
        log().error("request.failed", request_id=request_id, exc_info=refused)
    elif problem.status == _UNAVAILABLE:
        log().warning(
            "request.postponed",
            request_id=request_id,
            code=problem.code,
            reason=str(refused),
            **{ERROR_TYPE: type(refused).__name__},
        )


def _of_fact(refused: TenureError) -> Problem:
    status = next((number for kind, number in _STATUSES if isinstance(refused, kind)), 400)
    detail = f"{refused.problem} {refused.repair}".strip()
    match refused:
        case Invalid():
            told = _without_input(refused)
            place = {"in": "body", "pointer": refused.pointer, "detail": told, "code": refused.code}
            return Problem(status=status, code=refused.code, detail=told, errors=[place])
        case Conflict():
            more = {"diff": [_plain(one) for one in refused.diff], "existing": refused.existing}
            return Problem(status=status, code=refused.code, detail=detail, more=more)
        case BundleRefused():
            places = [_place(one) for one in refused.findings[:_MOST_FINDINGS]]
            return Problem(status=status, code=refused.code, detail=detail, errors=places)
        case Throttled() | StillRunning():
            return Problem(status=status, code=refused.code, detail=detail, headers=refused.headers)
        case KeyRefused():
            headers = {"WWW-Authenticate": 'Bearer realm="tenure"'}
            return Problem(status=status, code=refused.code, detail=detail, headers=headers)
        case TooManyExports():
            return Problem(
                status=status, code=refused.code, detail=detail, headers={"Retry-After": str(_EXPORT_SECONDS)}
            )
        case _:
            pass
    if status == _UNAVAILABLE:
        return unavailable(refused.code, detail)
    return Problem(status=status, code=refused.code, detail=detail)


def _place(finding: Finding) -> dict[str, str]:
    """Say where in which file, without the words that it quotes."""
    at = f"line {finding.line}, column {finding.col}: " if finding.line else ""
    told = _QUOTED.sub('"…"', f"{finding.code} {finding.message} {finding.fix}").strip()
    return {
        "in": "body",
        "pointer": _pointer(["files", finding.file]),
        "detail": at + told,
        "code": "invalid",
    }


def unavailable(code: str, detail: str, **more: object) -> Problem:
    """Say that something that is needed does not answer now, and when to come back."""
    headers = {"Retry-After": str(_RETRY_SECONDS)}
    return Problem(status=_UNAVAILABLE, code=code, detail=detail, headers=headers, more=more)


def _without_input(refused: Invalid) -> str:
    # Some facts quote what was given; the caller has it, and logs between us need not.
    told = _QUOTED.sub(lambda quoted: '"…"' if quoted.start() else "The value", refused.problem)
    return f"{told} {refused.repair}".strip()


def _plain(difference: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: rfc3339(value) if isinstance(value, datetime) else value for name, value in difference.items()
    }


def _of_fields(refused: RequestValidationError) -> Problem:
    found = refused.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return Problem(status=400, code="malformed_json", detail="The body is not JSON.")
    places = [str(one["loc"][0]) for one in found]
    errors = [{"in": place, **item} for place, item in zip(places, error_items(found, 1), strict=True)]
    return Problem(status=422, code="invalid", detail="Some of what was sent is not valid.", errors=errors)


def error_items(found: Sequence[Mapping[str, Any]], skip: int = 0) -> list[dict[str, str]]:
    """Turn pydantic's errors into pointers and reasons; ``skip`` leaves out the first parts of the place."""
    return [
        {
            "pointer": _pointer(one["loc"][skip:]),
            "detail": str(one["msg"]).removeprefix("Value error, "),
            "code": "unknown_field" if one["type"] == "extra_forbidden" else str(one["type"]),
        }
        for one in found
    ]


def _pointer(loc: Sequence[int | str]) -> str:
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in loc if part != "[key]"]
    return "".join(f"/{part}" for part in parts)[:_LONGEST_POINTER]
