"""A page of threads in the form that the caller accepts: JSON, csv for a spreadsheet, or thread by line."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import orjson

from worker.audit.deletions import line
from worker.http.thread_shapes import ThreadShape

_COLUMNS = (
    *("id", "kind", "external_id", "project", "owner", "tags", "ttl"),
    *("created_at", "last_activity_at", "registered_at", "state"),
)


class Form(StrEnum):
    """The media types of a list of threads."""

    JSON = "application/json"
    CSV = "text/csv"
    JSONL = "application/jsonl"


_NAMES = {form.value: form for form in Form} | {"application/x-ndjson": Form.JSONL}


def form_of(accept: str) -> Form:
    """Return the form that an Accept header asks for first; whatever else it says is answered as JSON."""
    weighed = sorted(enumerate(accept.split(",")), key=lambda one: (-_weight(one[1]), one[0]))
    for _, part in weighed:
        name = part.partition(";")[0].strip().lower()
        if name in {"*/*", "application/*"}:
            break
        if name in _NAMES:
            return _NAMES[name]
    return Form.JSON


def _weight(part: str) -> float:
    _, _, weight = part.replace(" ", "").partition(";q=")
    try:
        return float(weight or 1)
    except ValueError:
        return 0.0


def written(shown: Sequence[ThreadShape], form: Form) -> bytes:
    """Write threads as csv, safe for spreadsheets, or one a line."""
    if form is Form.JSONL:
        texts = (orjson.dumps(one.model_dump(mode="json")) for one in shown)
        return b"".join(text + b"\n" for text in texts)
    head = (*_COLUMNS, "outcome", "decided_by", "eligible_at", "grade")
    return "".join(line(cells) for cells in (head, *map(_cells, shown))).encode()


def _cells(one: ThreadShape) -> Sequence[str]:
    told: dict[str, Any] = one.model_dump(mode="json")
    told["tags"] = ";".join(f"{key}={value}" for key, value in sorted(one.tags.items()))
    decided = one.decision
    grade = (one.evidence or {}).get("grade")
    last = (decided.outcome.value, decided.decided_by, decided.eligible_at, grade)
    return [str(cell) if cell is not None else "" for cell in (*(told[name] for name in _COLUMNS), *last)]
