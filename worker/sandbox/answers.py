"""Answers of the provider: errors, lists and deletions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from worker.sandbox.dialects import Dialect, Problem, written
from worker.sandbox.kinds import FACTS, ObjectKind, Target

LANDING = "/sandbox/landing"
DIALECT_KEY = "sandbox.dialect"
"""Key in the ASGI scope: the dialect in which this request is to be refused."""


class ErrorAnswer(JSONResponse):
    """An error that is written in the dialect of the request, which is known when it goes out."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(written(problem, Dialect.OPENAI), status_code=problem.status)
        self._problem = problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the body and send it."""
        self.body = self.render(written(self._problem, scope.get(DIALECT_KEY, Dialect.OPENAI)))
        self.headers["content-length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


class Refused(Exception):
    """A request that is answered with an error of the provider."""

    def __init__(self, answer: Response) -> None:
        super().__init__(f"answered {answer.status_code}")
        self.answer = answer


def error(
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    kind: str = "invalid_request_error",
) -> ErrorAnswer:
    """Return an error in the provider's words."""
    return ErrorAnswer(Problem(status=status, message=message, code=code, param=param, kind=kind))


def absent(kind: ObjectKind, object_id: str) -> ErrorAnswer:
    """Return the 404 that names the missing object."""
    facts = FACTS[kind]
    return ErrorAnswer(
        Problem(
            status=404,
            message=facts.absent.format(id=object_id),
            param="id" if kind is ObjectKind.FILE else None,
            plainly=f"{facts.noun} '{object_id}' not found.",
        )
    )


def not_found(kind: ObjectKind, object_id: str) -> Refused:
    """Refuse with the 404 that names the missing object."""
    return Refused(absent(kind, object_id))


def nothing_here() -> ErrorAnswer:
    """Return a 404 that names nothing."""
    return error(404, "Not found.")


def bad_request(message: str, *, param: str | None = None) -> Refused:
    """Return a 400."""
    return Refused(error(400, message, param=param))


def invalid_url(target: Target) -> ErrorAnswer:
    """Return the 404 of an address that the provider does not serve."""
    message = f"Invalid URL ({target.method} {target.path})"
    return ErrorAnswer(Problem(status=404, message=message, about_route=True))


def wrong_method(target: Target) -> ErrorAnswer:
    """Return the 405 of an address that is served for other methods."""
    message = f"Not allowed to {target.method} on {target.path} (HINT: Perhaps you meant to use POST)"
    return ErrorAnswer(Problem(status=405, message=message, about_route=True))


def no_route() -> JSONResponse:
    """Return the 404 of a gateway that has no such route, in any dialect."""
    return JSONResponse({"detail": "Not Found"}, status_code=404)


def no_key() -> ErrorAnswer:
    """Return the 401 of a request without a bearer."""
    return error(401, "You didn't provide an API key. Send it as: Authorization: Bearer YOUR_KEY")


def refused_key() -> ErrorAnswer:
    """Return the 401 of a key that is not known."""
    return error(401, "Incorrect API key provided.", code="invalid_api_key")


def forbidden() -> ErrorAnswer:
    """Return the 403 of a key without the needed scope."""
    return error(
        403, "You have insufficient permissions for this operation. Missing scopes: api.sandbox.write."
    )


def throttled(wait: timedelta, *, limit: int) -> ErrorAnswer:
    """Return the 429; Retry-After is in whole seconds, at least 1."""
    answer = throttled_silently(limit=limit)
    answer.headers["retry-after"] = str(max(1, math.ceil(wait.total_seconds())))
    answer.headers["x-ratelimit-limit-requests"] = str(limit)
    answer.headers["x-ratelimit-remaining-requests"] = "0"
    answer.headers["x-ratelimit-reset-requests"] = f"{wait.total_seconds():.3f}s"
    return answer


def throttled_silently(*, limit: int) -> ErrorAnswer:
    """Return a 429 that names no time to come back."""
    message = f"Rate limit reached for requests. Limit: {limit}. Please try again later."
    return error(429, message, code="rate_limit_exceeded", kind="requests")


def server_error() -> ErrorAnswer:
    """Return the 500."""
    return error(
        500, "The server had an error while processing your request. Sorry about that!", kind="server_error"
    )


def redirected(target: Target, *, status: int) -> RedirectResponse:
    """Return a redirect to a page that looks like a deletion of this object to whoever follows it."""
    kind, object_id = target.kind or ObjectKind.FILE, target.object_id or "landing"
    query = urlencode({"id": object_id, "object": FACTS[kind].deleted})
    return RedirectResponse(f"{LANDING}?{query}", status_code=status)


def landing(query: Mapping[str, str]) -> JSONResponse:
    """Return what a followed redirect finds: it must never count as a deletion."""
    object_id, literal = query.get("id", "landing"), query.get("object", "sandbox.landing")
    return JSONResponse({"id": object_id, "object": literal, "deleted": True})


def html_page() -> HTMLResponse:
    """Return what a captive gateway sends."""
    return HTMLResponse("<!doctype html><title>Tenure sandbox</title><p>Please sign in to continue.</p>")


def deletion(kind: ObjectKind, object_id: str, *, deleted: bool = True) -> JSONResponse:
    """Return the answer to a DELETE, with the object literal of that kind."""
    return JSONResponse({"id": object_id, "object": FACTS[kind].deleted, "deleted": deleted})


def listing(page: list[dict[str, Any]], *, has_more: bool) -> JSONResponse:
    """Return one page in OpenAI's list shape."""
    return JSONResponse(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": has_more,
        }
    )
