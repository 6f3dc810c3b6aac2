"""Wait for DELETEs that were armed before a protection: its answer must tell the truth about them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from worker.model.clock import Clock
from worker.model.evidence import Class
from worker.model.work import Lease, Stage
from worker.store import attempts
from worker.store.attempts import AttemptKey, OpenAttempt
from worker.store.engine import Database

_LOOK_EVERY = 0.05
_MARGIN = timedelta(seconds=5)
# With these answers nothing was deleted by this request, or nothing left at all.
_HARMLESS = frozenset(
    {Class.UNSENT, Class.THROTTLED, Class.DENIED, Class.ROUTE_ABSENT, Class.OBJECT_ABSENT, Class.NONE}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """What had left before the protection took effect. ``children_deleted`` counts by thread id."""

    too_late: tuple[str, ...] = ()
    children: dict[str, int]
    uncertain: tuple[str, ...] = ()

    def as_too_late(self) -> list[dict[str, object]]:
        """Return the API's `too_late` list."""
        whole = [{"id": one, "what": "thread", "children_deleted": 0} for one in self.too_late]
        parts = [
            {"id": one, "what": "children", "children_deleted": count}
            for one, count in sorted(self.children.items())
            if one not in self.too_late
        ]
        return [*whole, *parts]


def wait_for_armed(
    database: Database, keys: Collection[AttemptKey], *, clock: Clock, lease: Lease
) -> InFlight:
    """Wait until each attempt has its answer, at most a request's timeout and 5 s, then tell.

    The protection is committed already: whatever arms later sees it. So only these attempts matter,
    also those of workers whose lease ran out.
    """
    if not keys:
        return InFlight(children={})
    until = clock.monotonic() + (lease.request_timeout + _MARGIN).total_seconds()
    while True:
        with database.read() as db:
            found = attempts.attempts_named(db, keys)
        if all(one.answer is not None for one in found) or clock.monotonic() >= until:
            return _told(found)
        clock.wait(_LOOK_EVERY)


def may_have_left(one: OpenAttempt) -> bool:
    """Whether this attempt's DELETE may have deleted something: answered so, or not answered yet."""
    return one.answer is None or one.answer not in _HARMLESS or one.children_deleted > 0


def _told(found: Collection[OpenAttempt]) -> InFlight:
    containers = [one for one in found if one.stage is Stage.CONTAINER]
    too_late = {one.thread_id for one in containers if one.answer is not None and one.answer not in _HARMLESS}
    uncertain = {one.thread_id for one in found if one.answer is None}
    children = {
        one.thread_id: one.children_deleted
        for one in found
        if one.stage is Stage.CHILDREN and one.children_deleted
    }
    return InFlight(
        too_late=tuple(sorted(too_late)), children=children, uncertain=tuple(sorted(uncertain - too_late))
    )
