"""How instants, lists and what people wrote stand in a body.

Every text or list from outside that has no natural bound is cut here: an entry that is too big to record
would otherwise keep a deletion from ever being settled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime

from worker.audit.entry import Json
from worker.model.clock import rfc3339

_LIST_BYTES = 2000
_SAID_BYTES = 1000
_LONGEST_CHARACTER = 6  # as in \\u0001


def when(at: datetime | None) -> str | None:
    """Write an instant that may be unknown."""
    return rfc3339(at) if at else None


def listing(name: str, values: Iterable[str], *, most: int = _LIST_BYTES) -> dict[str, Json]:
    """Write a list, and where it is too long its beginning, its length and the digest of all of it.

    ``most`` is how many bytes it may take.
    """
    whole = list(values)
    kept: list[Json] = []
    room = most
    for one in whole:
        room -= max(2 * len(one.encode()) + 3, _written(one))
        if room < 0:
            digest = hashlib.sha256("\n".join(whole).encode()).hexdigest()
            return {name: kept, f"{name}_count": len(whole), f"{name}_sha256": digest}
        kept.append(one)
    return {name: kept}


def said(text: str | None) -> str | None:
    """Cut what a person wrote at 1,000 bytes, visibly."""
    if text is None:
        return None
    kept = within(text, _SAID_BYTES)
    return text if kept == text else kept + "…"


def within(text: str, limit: int) -> str:
    """Return as much of a text as takes at most ``limit`` bytes in JSON, quotation marks around it aside."""
    kept = text[:limit]
    while (over := _written(kept) - limit) > 0:
        # A character takes six bytes at most.
        kept = kept[: len(kept) - max(1, over // _LONGEST_CHARACTER)]
    return kept


def _written(text: str) -> int:
    """Return how many bytes JSON writes a text as, quotation marks around it aside."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return len(text)  # as nearly all are: a writer costs ten times as much
    return len(json.dumps(text, ensure_ascii=False).encode(errors="replace")) - 2
