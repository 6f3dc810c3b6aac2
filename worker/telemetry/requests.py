"""Which request over HTTP is being served here: named in every logged line and every recorded entry.

It is known in the task that serves it and in the threads of its route, and nowhere else: what a worker does
later belongs to no request, though one may have woken it (`woken_by`).
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from structlog.contextvars import bound_contextvars, get_contextvars

_NAME = "request_id"


def serving(request_id: str) -> AbstractContextManager[None]:
    """Name the request that is served inside."""
    return bound_contextvars(**{_NAME: request_id})


def current_request() -> str | None:
    """Return the id of the request that is served here, if one is."""
    found = get_contextvars().get(_NAME)
    return found if isinstance(found, str) else None
