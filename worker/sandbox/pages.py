"""Lists in OpenAI's shape: ``limit``, ``after``, ``before``, ``order``, and filters by field or metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse

from worker.sandbox.answers import bad_request, listing
from worker.sandbox.requests import as_read
from worker.sandbox.store import StoredObject

_DEFAULT_PAGE = 20
_LARGEST_PAGE = 100
_METADATA = re.compile(r"metadata\[(?P<key>.{1,64})\]")


def page_of(
    request: Request, stored: Sequence[StoredObject], *, largest: int = _LARGEST_PAGE, order: str = "desc"
) -> JSONResponse:
    """Cut the page that is asked for; ``order`` is the provider's default, newest first for most."""
    query = request.query_params
    order = query.get("order", order)
    limit = query.get("limit", str(_DEFAULT_PAGE if largest == _LARGEST_PAGE else largest))
    if order not in {"asc", "desc"}:
        raise bad_request(f"Invalid value: '{order}'. Supported values are: 'asc' and 'desc'.", param="order")
    if not limit.isdigit() or not 1 <= int(limit) <= largest:
        raise bad_request(f"Invalid 'limit': expected an integer from 1 to {largest}.", param="limit")
    rows = list(stored) if order == "asc" else list(reversed(stored))
    if after := query.get("after"):
        rows = rows[_place(rows, after, "after") + 1 :]
    if before := query.get("before"):
        rows = rows[: _place(rows, before, "before")]
    size = int(limit)
    return listing([as_read(request, row) for row in rows[:size]], has_more=len(rows) > size)


def filtered(
    request: Request, stored: Sequence[StoredObject], fields: Mapping[str, str]
) -> list[StoredObject]:
    """Keep what the query asks for: ``fields`` maps a parameter to a field such as ``agent.id``."""
    query = request.query_params
    wanted = {field: query[name] for name, field in fields.items() if name in query}
    labels = {match["key"]: query[name] for name in query if (match := _METADATA.fullmatch(name))}
    return [
        one
        for one in stored
        if all(_field(one, name) == value for name, value in wanted.items())
        and all(one.fields.get("metadata", {}).get(key) == value for key, value in labels.items())
    ]


def _field(stored: StoredObject, name: str) -> object:
    value: object = stored.fields
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _place(rows: list[StoredObject], cursor: str, name: str) -> int:
    for index, row in enumerate(rows):
        if row.id == cursor:
            return index
    raise bad_request(f"Invalid '{name}': '{cursor}' is not in this list.", param=name)
