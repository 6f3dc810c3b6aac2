"""Pages: what a list names, and when it can be relied on.

DANGER. A child that a page hides is a child that is believed gone. Invariant: whatever is not a complete,
well-formed page is an `error` without ids, never a short list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from worker.model.evidence import Class
from worker.model.thread import Kind
from worker.providers.classify import Answer, Verdict, creation_of, is_object_id, json_object, refusal
from worker.providers.profiles import Profile

# Where a thread names the files and vector stores of its tools (OpenAPI document, ThreadObject).
_NAMED = (("code_interpreter", "file_ids", Kind.FILE), ("file_search", "vector_store_ids", Kind.VECTOR_STORE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One page; ``verdict.seen`` is `present` only for one that can be relied on."""

    verdict: Verdict
    ids: tuple[str, ...] = ()
    created: tuple[datetime | None, ...] = ()
    has_more: bool = False

    @property
    def last(self) -> str | None:
        """The ``after`` of the next page."""
        return self.ids[-1] if self.ids else None


def read_listing(kind: Kind, external_id: str, answer: Answer, profile: Profile) -> Listing:
    """Read one page of children."""
    if answer.status != HTTPStatus.OK:
        return Listing(verdict=refusal(answer, profile, kind=kind, object_id=external_id))
    return _page(answer, literal=None)


def read_collection(kind: Kind, answer: Answer, profile: Profile) -> Listing:
    """Read one page of all objects of a kind; a 404 is a missing route here, whatever it says."""
    if answer.status != HTTPStatus.OK:
        return Listing(verdict=refusal(answer, profile, kind=kind, object_id=""))
    return _page(answer, literal=profile.facts(kind).read_object)


def named_in(answer: Answer) -> tuple[tuple[Kind, str], ...]:
    """Return the files and vector stores that a thread's body names in ``tool_resources``."""
    tools = (json_object(answer.body) or {}).get("tool_resources")
    found: list[tuple[Kind, str]] = []
    for tool, key, kind in _NAMED:
        entry = tools.get(tool) if isinstance(tools, dict) else None
        ids = entry.get(key) if isinstance(entry, dict) else None
        found += [(kind, one) for one in ids if is_object_id(one)] if isinstance(ids, list) else []
    return tuple(dict.fromkeys(found))


def _page(answer: Answer, *, literal: str | None) -> Listing:
    body = json_object(answer.body)
    rows = _rows(body, literal) if body is not None else None
    if body is None or rows is None:
        return _unreliable("not_a_list")
    has_more = body.get("has_more")
    if not isinstance(has_more, bool) or (has_more and not rows):
        return _unreliable("has_more_unclear")
    return Listing(
        verdict=Verdict(seen=Class.PRESENT),
        ids=tuple(str(one["id"]) for one in rows),
        created=tuple(creation_of(one) for one in rows),
        has_more=has_more,
    )


def _rows(body: Mapping[str, object], literal: str | None) -> list[dict[str, object]] | None:
    data = body.get("data")
    if body.get("object") != "list" or not isinstance(data, list):
        return None
    rows = [one for one in data if isinstance(one, dict) and is_object_id(one.get("id"))]
    if literal is not None:
        rows = [one for one in rows if one.get("object") == literal]
    return rows if len(rows) == len(data) else None


def _unreliable(detail: str) -> Listing:
    return Listing(verdict=Verdict(seen=Class.ERROR, detail=detail))
