"""What the routes read from a request: caller, body, upload and backdating."""

from __future__ import annotations

import json
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, cast

from starlette.requests import Request

from worker.model.clock import parse_rfc3339
from worker.sandbox.answers import bad_request, not_found
from worker.sandbox.faults import Fault
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.resource_shapes import file_counts
from worker.sandbox.shapes import shown
from worker.sandbox.store import ELSEWHERE, SandboxStore, StoredObject

BACKDATING_HEADER = "x-sandbox-created-at"
FAULT_KEY = "sandbox.fault"
"""Key in the ASGI scope: the fault that the route itself must act out."""


def store_of(request: Request) -> SandboxStore:
    """Return the store of the app that serves this request."""
    return cast("SandboxStore", request.app.state.store)


def fault_of(request: Request) -> Fault | None:
    """Return the fault that the route itself must act out."""
    return cast("Fault | None", request.scope.get(FAULT_KEY))


def project_of(request: Request) -> str | None:
    """Return the provider project that the caller names, in the path or in a header."""
    if fault_of(request) is Fault.WRONG_KEY_404:
        return ELSEWHERE
    return request.path_params.get("project") or request.headers.get("openai-project")


def visible(request: Request, kind: ObjectKind, object_id: str) -> StoredObject:
    """Return the container; another project's is as absent as one that never was."""
    found = store_of(request).get(kind, object_id)
    if found is None or not found.is_visible_to(project_of(request)):
        raise not_found(kind, object_id)
    return found


def all_visible(request: Request, kind: ObjectKind) -> list[StoredObject]:
    """Return all objects of that kind that the caller sees, oldest arrival first."""
    project = project_of(request)
    return [stored for stored in store_of(request).every(kind) if stored.is_visible_to(project)]


def as_read(request: Request, stored: StoredObject) -> dict[str, Any]:
    """Return an object as a GET shows it to this caller: a vector store with its counts."""
    answer = shown(stored)
    if stored.kind is ObjectKind.VECTOR_STORE:
        answer["file_counts"] = file_counts(len(store_of(request).children(stored.id)))
    if fault_of(request) is Fault.WRONG_ID:
        answer["id"] = store_of(request).ids.make(stored.kind)
    return answer


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
