"""What came in over the wire: tests count requests here and read their headers."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from worker.model.clock import rfc3339, utc_now
from worker.sandbox.faults import Fault

_SHOWN_HEADERS = {"project": "openai-project", "organization": "openai-organization"}


class NeverSeen(TimeoutError):
    """What was waited for did not happen within the time given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """One request, counted from 1. ``status`` is None until it is answered, or if it never is.

    ``headers`` have lower-case names; of a repeated one the last value counts.
    """

    n: int
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    at: datetime
    request_id: str
    fault: Fault | None = None
    status: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the entry without secrets: the key appears as a SHA-256 only."""
        key = self.headers.get("authorization")
        return {
            "n": self.n,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "status": self.status,
            "fault": self.fault,
            "request_id": self.request_id,
            "at": rfc3339(self.at),
            "authorization_sha256": hashlib.sha256(key.encode()).hexdigest() if key else None,
            **{name: self.headers.get(header) for name, header in _SHOWN_HEADERS.items()},
        }


class RequestLog:
    """Thread-safe; keeps the newest ``keep`` requests and never renumbers them."""

    def __init__(self, keep: int, *, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self._changed = threading.Condition()
        self._kept: deque[RecordedRequest] = deque(maxlen=keep)
        self._last = 0

    def arrived(
        self, *, method: str, path: str, query: str, headers: Mapping[str, str], request_id: str
    ) -> int:
        """Note a request before anything is done about it; returns its number."""
        with self._changed:
            self._last += 1
            entry = RecordedRequest(
                n=self._last,
                method=method,
                path=path,
                query=query,
                headers=headers,
                at=self._now(),
                request_id=request_id,
            )
            self._kept.append(entry)
            self._changed.notify_all()
            return entry.n

    def struck(self, number: int, fault: Fault) -> None:
        """Note which fault befell the request."""
        self._change(number, lambda entry: replace(entry, fault=fault))

    def answered(self, number: int, status: int) -> None:
        """Note the status that is about to go out."""
        self._change(number, lambda entry: replace(entry, status=status))

    def since(self, number: int = 0) -> tuple[RecordedRequest, ...]:
        """Return the requests after that number, oldest first."""
        with self._changed:
            return tuple(entry for entry in self._kept if entry.n > number)

    def wait_for(
        self, predicate: Callable[[Sequence[RecordedRequest]], bool], timeout: float
    ) -> tuple[RecordedRequest, ...]:
        """Wait until the log satisfies the predicate and return it; raises NeverSeen."""
        with self._changed:
            if not self._changed.wait_for(lambda: predicate(tuple(self._kept)), timeout):
                seen = ", ".join(f"{entry.method} {entry.path} {entry.status}" for entry in self._kept)
                raise NeverSeen(f"not seen within {timeout} s; the log holds: {seen or 'nothing'}")
            return tuple(self._kept)

    def _change(self, number: int, change: Callable[[RecordedRequest], RecordedRequest]) -> None:
        with self._changed:
            index = number - 1 - (self._last - len(self._kept))
            if index >= 0:
                self._kept[index] = change(self._kept[index])
                self._changed.notify_all()
