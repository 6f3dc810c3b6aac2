"""Answers in the shapes of OpenAI's API: errors, lists and deletions."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from worker.sandbox.kinds import ObjectKind, Target

LANDING = "/sandbox/landing"

_NOT_FOUND = {
    ObjectKind.THREAD: "No thread found with id '{id}'.",
    ObjectKind.CONVERSATION: "Conversation with id '{id}' not found.",
    ObjectKind.RESPONSE: "Response with id '{id}' not found.",
    ObjectKind.FILE: "No such File object: {id}",
    ObjectKind.ITEM: "Item with id '{id}' not found.",
    ObjectKind.MESSAGE: "No message found with id '{id}'.",
}
_DELETED_OBJECT = {
    ObjectKind.THREAD: "thread.deleted",
    ObjectKind.CONVERSATION: "conversation.deleted",
    ObjectKind.RESPONSE: "response",
    ObjectKind.FILE: "file",
    ObjectKind.ITEM: "conversation.item",
    ObjectKind.MESSAGE: "thread.message.deleted",
}


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
) -> JSONResponse:
    """Return the provider's error envelope."""
    return JSONResponse(
        {"error": {"message": message, "type": kind, "param": param, "code": code}}, status_code=status
    )


def not_found(kind: ObjectKind, object_id: str) -> Refused:
    """Return the 404 that names the missing object."""
    param = "id" if kind is ObjectKind.FILE else None
    return Refused(error(404, _NOT_FOUND[kind].format(id=object_id), param=param))


def bad_request(message: str, *, param: str | None = None) -> Refused:
    """Return a 400."""
    return Refused(error(400, message, param=param))


def invalid_url(target: Target) -> JSONResponse:
    """Return the 404 of an address that the provider does not serve."""
    return error(404, f"Invalid URL ({target.method} {target.path})")


def wrong_method(target: Target) -> JSONResponse:
    """Return the 405 of an address that is served for other methods."""
    return error(
        405, f"Not allowed to {target.method} on {target.path} (HINT: Perhaps you meant to use POST)"
    )


def no_key() -> JSONResponse:
    """Return the 401 of a request without a bearer."""
    return error(401, "You didn't provide an API key. Send it as: Authorization: Bearer YOUR_KEY")


def refused_key() -> JSONResponse:
    """Return the 401 of a key that is not known."""
    return error(401, "Incorrect API key provided.", code="invalid_api_key")


def forbidden() -> JSONResponse:
    """Return the 403 of a key without the needed scope."""
    return error(
        403, "You have insufficient permissions for this operation. Missing scopes: api.sandbox.write."
    )


def throttled(wait: timedelta, *, limit: int) -> JSONResponse:
    """Return the 429; Retry-After is in whole seconds, at least 1."""
    answer = error(
        429,
        f"Rate limit reached for requests. Limit: {limit}. Please try again later.",
        code="rate_limit_exceeded",
        kind="requests",
    )
    answer.headers["retry-after"] = str(max(1, math.ceil(wait.total_seconds())))
    answer.headers["x-ratelimit-limit-requests"] = str(limit)
    answer.headers["x-ratelimit-remaining-requests"] = "0"
    answer.headers["x-ratelimit-reset-requests"] = f"{wait.total_seconds():.3f}s"
    return answer


def server_error() -> JSONResponse:
    """Return the 500."""
    return error(
        500, "The server had an error while processing your request. Sorry about that!", kind="server_error"
    )


def redirected() -> RedirectResponse:
    """Return a 302 to a page that looks like a deletion to whoever follows it."""
    return RedirectResponse(LANDING, status_code=302)


def landing() -> JSONResponse:
    """Return what a followed redirect finds: it must never count as a deletion."""
    return JSONResponse({"id": "landing", "object": "sandbox.landing", "deleted": True})


def html_page() -> HTMLResponse:
    """Return what a captive gateway sends."""
    return HTMLResponse("<!doctype html><title>Tenure sandbox</title><p>Please sign in to continue.</p>")


def deletion(kind: ObjectKind, object_id: str, *, deleted: bool = True) -> JSONResponse:
    """Return the answer to a DELETE, with the object literal of that kind."""
    return JSONResponse({"id": object_id, "object": _DELETED_OBJECT[kind], "deleted": deleted})


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
