"""Pause and resume: the kill switch, read under the protection row by every arming."""

from __future__ import annotations

from dataclasses import dataclass

from worker.audit import bodies
from worker.flows.decide import bundle_in_force
from worker.flows.in_flight import wait_for_armed
from worker.model.clock import Clock
from worker.model.errors import Invalid
from worker.model.work import Lease
from worker.store import attempts, log, protections
from worker.store.engine import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """The switch as it stands; ``too_late`` and ``uncertain`` name DELETEs that had left before."""

    enabled: bool
    project: str | None
    reason: str
    too_late: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()


def set_deletes(
    database: Database,
    *,
    enabled: bool,
    project: str | None,
    reason: str,
    actor: str,
    clock: Clock,
    lease: Lease,
) -> Switched:
    """Switch deletes of one project, or of all, off or on; the answer to "off" means that it is effective.

    Raises Invalid for an unknown project.
    """
    scope = project or protections.EVERYTHING
    now = clock.now()
    with database.write() as db:
        if project is not None and project not in bundle_in_force(db).projects:
            problem = "No such project is known."
            raise Invalid(
                problem, repair="Name a Project document.", pointer="/project", code="unknown_project"
            )
        protections.take(db, [scope])
        protections.set_pause(db, scope, paused_at=None if enabled else now, by=actor, reason=reason)
        keys = set() if enabled else attempts.unanswered_of(db, None if project is None else [project])
        entry = bodies.switch_changed(enabled=enabled, reason=reason, project=project, at=now, actor=actor)
        log.append(db, [entry])
    flying = wait_for_armed(database, keys, clock=clock, lease=lease)
    return Switched(
        enabled=enabled,
        project=project,
        reason=reason,
        too_late=flying.too_late,
        uncertain=flying.uncertain,
    )
