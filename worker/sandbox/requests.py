"""What the routes read from a request: caller, body, backdating, and the page that is asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse

from worker.model.clock import parse_rfc3339
from worker.sandbox.answers import bad_request, listing, not_found
from worker.sandbox.faults import Fault
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.shapes import shown
from worker.sandbox.store import SandboxStore, StoredObject

BACKDATING_HEADER = "x-sandbox-created-at"
_DEFAULT_PAGE = 20


def store_of(request: Request) -> SandboxStore:
    """Return the store of the app that serves this request."""
    return cast("SandboxStore", request.app.state.store)


def fault_of(request: Request) -> Fault | None:
    """Return the fault that the route itself must act out."""
    return cast("Fault | None", request.scope.get("sandbox.fault"))


def project_of(request: Request) -> str | None:
    """Return the provider project that the caller names."""
    return request.headers.get("openai-project")


def visible(request: Request, kind: ObjectKind, object_id: str) -> StoredObject:
    """Return the container; another project's is as absent as one that never was."""
    found = store_of(request).get(kind, object_id)
    if found is None or not found.is_visible_to(project_of(request)):
        raise not_found(kind, object_id)
    return found


def backdated(request: Request) -> int | None:
    """Read the creation time that the caller wants, in Unix seconds: a number or RFC 3339."""
    text = request.headers.get(BACKDATING_HEADER)
    if text is None:
        return None
    return unix_seconds(text)


def unix_seconds(text: str) -> int:
    """Read Unix seconds or RFC 3339; refused as a bad request."""
    try:
        return int(text) if text.lstrip("-").isdigit() else int(parse_rfc3339(text).timestamp())
    except ValueError as malformed:
        raise bad_request(
            f"{text!r} is neither Unix seconds nor RFC 3339.", param=BACKDATING_HEADER
        ) from malformed


async def json_body(request: Request) -> dict[str, Any]:
    """Read a JSON object; nothing at all counts as an empty one."""
    raw = await request.body()
    try:
        body = json.loads(raw) if raw else {}
    except ValueError as malformed:
        raise bad_request("We could not parse the JSON body of your request.") from malformed
    if not isinstance(body, dict):
        raise bad_request("The body must be a JSON object.")
    return body


def objects_in(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Read a list of JSON objects that may be missing or null."""
    given = body.get(name) or []
    if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
        raise bad_request(f"Invalid type for '{name}': expected an array of objects.", param=name)
    return given


async def upload(request: Request) -> tuple[str, str, int]:
    """Read a file upload, multipart (RFC 7578) or plain JSON; returns name, purpose and bytes."""
    content_type = request.headers.get("content-type", "")
    if not content_type.startswith("multipart/form-data"):
        body = await json_body(request)
        content = str(body.get("content", "")).encode()
        return str(body.get("filename", "upload")), str(body.get("purpose", "user_data")), len(content)
    whole = BytesParser(policy=HTTP).parsebytes(
        f"content-type: {content_type}\r\n\r\n".encode() + await request.body()
    )
    filename, purpose, size = "", "user_data", 0
    for part in whole.iter_parts():
        content = cast("bytes", part.get_payload(decode=True) or b"")
        name = part.get_param("name", header="content-disposition")
        if name == "file":
            filename, size = part.get_filename("upload"), len(content)
        elif name == "purpose":
            purpose = content.decode()
    if not filename:
        raise bad_request("'file' is a required property", param="file")
    return filename, purpose, size


def page_of(request: Request, stored: Sequence[StoredObject], *, largest: int = 100) -> JSONResponse:
    """Cut the page that is asked for: ``limit``, ``after``, ``order`` (newest first if not given)."""
    query = request.query_params
    order = query.get("order", "desc")
    limit = query.get("limit", str(min(_DEFAULT_PAGE, largest) if largest == 100 else largest))  # noqa: PLR2004
    if order not in {"asc", "desc"}:
        raise bad_request(f"Invalid value: '{order}'. Supported values are: 'asc' and 'desc'.", param="order")
    if not limit.isdigit() or not 1 <= int(limit) <= largest:
        raise bad_request(f"Invalid 'limit': expected an integer from 1 to {largest}.", param="limit")
    rows = list(stored) if order == "asc" else list(reversed(stored))
    if after := query.get("after"):
        rows = _following(rows, after)
    size = int(limit)
    return listing([shown(row) for row in rows[:size]], has_more=len(rows) > size)


def _following(rows: list[StoredObject], after: str) -> list[StoredObject]:
    for index, row in enumerate(rows):
        if row.id == after:
            return rows[index + 1 :]
    raise bad_request(f"Invalid 'after': '{after}' is not in this list.", param="after")
