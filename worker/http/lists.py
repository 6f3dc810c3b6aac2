"""Lists in OpenAI's shape, so that its pagers walk them: keyset by id, never by offset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

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
