"""Lists in OpenAI's shape, so that its pagers walk them: keyset by id, never by offset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import URL
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

Limit = Annotated[int, Field(ge=1, le=100)]
Row = TypeVar("Row")


class Shown(BaseModel):
    """Something that a list shows, under its id."""

    object: str
    id: str


One = TypeVar("One", bound=Shown)


class Page(BaseModel, Generic[One]):
    """One page; ``after`` = ``last_id`` asks for the next while ``has_more``."""

    object: Literal["list"] = "list"
    data: list[One]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Paging(BaseModel):
    """The parameters of every list; an unknown one is refused, since a filter with a typo lists too much."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Limit = 20
    order: Literal["asc", "desc"] = "desc"

    @property
    def ascending(self) -> bool:
        """Whether the oldest come first."""
        return self.order == "asc"


def page_of(data: Sequence[One], *, has_more: bool) -> dict[str, Any]:
    """Return the list shape around these."""
    return {
        "object": "list",
        "data": data,
        "first_id": data[0].id if data else None,
        "last_id": data[-1].id if data else None,
        "has_more": has_more,
    }


class Answer(JSONResponse):
    """JSON; a list that goes on names its next page: `Link: <...>; rel="next"` (RFC 8288)."""

    _next: str | None = None

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - Starlette's own
        """Write it, and keep where the next page begins."""
        if isinstance(content, dict) and content.get("object") == "list" and content.get("has_more"):
            self._next = content.get("last_id")
        return orjson.dumps(content)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; the address is that of this request, with another ``after``."""
        if self._next is not None:
            self.headers["link"] = link_next(URL(scope=scope), self._next)
        await super().__call__(scope, receive, send)


def link_next(url: URL, after: str) -> str:
    """Return the header's value; relative, since a proxy may give this service another name."""
    further = url.remove_query_params("before").include_query_params(after=after)
    return f'<{further.path}?{further.query}>; rel="next"'


def cut(
    found: Sequence[Row], key: Callable[[Row], str], paging: Paging, *, after: str | None, before: str | None
) -> tuple[list[Row], bool]:
    """Cut one page out of a short list that was read whole; returns it and whether there is more.

    A cursor whose row is gone still has its place, since ids sort by when they were made.
    """
    up = paging.ascending
    rows = sorted(found, key=key, reverse=not up)
    if after is not None:
        rows = [one for one in rows if (key(one) > after if up else key(one) < after)]
    if before is not None:
        rows = [one for one in rows if (key(one) < before if up else key(one) > before)]
    return trim(rows, paging.limit, backwards=before is not None and after is None)


def trim(rows: Sequence[Row], limit: int, *, backwards: bool) -> tuple[list[Row], bool]:
    """Keep one page of rows: the last ones where the page ends before a cursor."""
    kept = rows[-limit:] if backwards else rows[:limit]
    return list(kept), len(rows) > limit
