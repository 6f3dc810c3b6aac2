"""Needed: which bodies must stay, since a hold covers them or what they tell is not at its end.

DANGER. What is not named here may be destroyed. The caller has taken the protection rows FOR SHARE before, so
that a hold that has answered is read here, and one that is placed now waits until the bodies are gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import Connection

from worker.audit.entry import EntryType
from worker.model.decision import Hold
from worker.model.thread import Thread
from worker.policy.match import glob_matches, scope_matches
from worker.store import gone, needs, protections, references, threads
from worker.store.gone import Kept, newest_of
from worker.store.scope import projects_touched

_ABOUT_ORDERS = frozenset({EntryType.ERASURE_ORDERED, EntryType.ERASURE_ANSWERED})


class Need(StrEnum):
    """Why a body stays, the first that holds."""

    HELD = "held"  # an active hold covers its thread, its project, or, where it has neither, anything
    ORDERED = "ordered"  # an erasure that is not settled covers its thread
    OPEN = "open"  # its thread is not at its end, or will be read again
    YOUNG = "young"  # its thread has an entry that is younger
    LEANED = "leaned"  # it is the control of a thread whose own bodies stay


@dataclass(slots=True, kw_only=True)
class Needed:
    """Looks at holds, orders and threads in the caller's transaction; what a hold touches is remembered."""

    _projects: dict[str, frozenset[str]] = field(default_factory=dict)

    def judge(self, db: Connection, bodies: Sequence[Kept], *, old: int) -> dict[int, Need]:
        """Return which of these bodies must stay, and why; ``old`` is the first leaf that is young."""
        holds = protections.active_holds(db)
        controls = gone.supports(db, bodies)
        subjects = {one.subject for one in bodies if one.subject is not None}
        subjects.update(*(one.threads for one in controls.values()))
        staying = self._threads(db, subjects, holds, old)
        touched = self._touched(db, holds)
        unsettled = any(one.type in _ABOUT_ORDERS for one in bodies) and needs.any_unsettled(db)
        found: dict[int, Need] = {}
        for one in bodies:
            if one.subject is not None:
                need = staying.get(one.subject)
            elif one.project is not None and _any_touches(one.project, holds, touched):
                need = Need.HELD
            elif one.index in controls:
                need = Need.LEANED if _is_leaned_on(controls[one.index], staying) else None
            elif one.project is not None:
                need = None
            elif holds:
                need = Need.HELD
            else:
                need = None
            if need is None and unsettled and one.type in _ABOUT_ORDERS:
                need = Need.ORDERED
            if need is not None:
                found[one.index] = need
        return found

    def _threads(
        self, db: Connection, ids: Collection[str], holds: Sequence[Hold], old: int
    ) -> dict[str, Need]:
        """Return which of these threads keep their bodies, and why."""
        young = {name for name, newest in newest_of(db, ids).items() if newest >= old}
        return dict.fromkeys(young, Need.YOUNG) | of_threads(db, ids, holds)

    def _touched(self, db: Connection, holds: Iterable[Hold]) -> frozenset[str]:
        """Return the projects of which some thread may be covered by a hold; a hold is never edited."""
        found: set[str] = set()
        for hold in holds:
            if hold.id not in self._projects:
                self._projects[hold.id] = frozenset(projects_touched(db, hold.scope))
            found |= self._projects[hold.id]
        return frozenset(found)


def _is_leaned_on(control: gone.Supports, staying: Collection[str]) -> bool:
    """A list that was cut does not name all who lean on the control: somebody may."""
    return not control.is_whole or any(one in staying for one in control.threads)


def _any_touches(project: str, holds: Iterable[Hold], touched: frozenset[str]) -> bool:
    return project in touched or any(
        glob_matches(pattern, project) for hold in holds for pattern in hold.scope.projects
    )


def of_threads(db: Connection, ids: Collection[str], holds: Sequence[Hold]) -> dict[str, Need]:
    """Return which of these threads' bodies must stay, and why."""
    found = dict.fromkeys(needs.unended(db, ids), Need.OPEN)
    found |= dict.fromkeys(needs.ordered(db, ids), Need.ORDERED)
    # A hold that names a child holds what is told of its container.
    containers = set(references.containers_of(db, {one for hold in holds for one in hold.scope.ids}))
    for name, stored in threads.many(db, ids).items():
        if name in containers or _is_held(stored.thread, holds):
            found[name] = Need.HELD
    return found


def _is_held(thread: Thread, holds: Iterable[Hold]) -> bool:
    return any(scope_matches(hold.scope, thread) for hold in holds)


def holds_on_owner(holds: Iterable[Hold], owner: str) -> list[Hold]:
    """Return the holds that cover an owner as such, also where the owner has no thread yet."""
    return [
        hold
        for hold in holds
        if not hold.scope.ids
        and not hold.scope.tags
        and hold.scope.owners
        and any(glob_matches(pattern, owner) for pattern in hold.scope.owners)
    ]
