"""Hold: place and release. The answer means that the hold is effective.

DANGER. Placing takes the protection row FOR UPDATE and commits; arming takes it FOR SHARE and reads the
holds after that. So an item that arms later sees the hold, and one that armed before is waited for and
named. Nothing here may answer before both are done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection

from worker.audit import bodies
from worker.flows.in_flight import wait_for_armed
from worker.model.clock import Clock
from worker.model.decision import Hold, HoldScope
from worker.model.errors import Invalid, NotFound, TenureError
from worker.model.ids import HoldId, new_id
from worker.model.thread import ThreadState
from worker.model.work import Lease, Stage
from worker.policy.match import check_glob
from worker.store import attempts, log, protections, references
from worker.store.attempts import AttemptKey
from worker.store.engine import Database
from worker.store.protections import StoredHold
from worker.store.scope import LiveCount, count_live, matching_threads, unknown_ids


class AlreadyReleased(TenureError):
    """The hold was released before; a hold is never edited, only released and placed anew."""

    code = "already_released"


# What may still be deleted: parked threads too, since un-parking returns them to live.
_UNSETTLED = frozenset({ThreadState.LIVE, ThreadState.ACKNOWLEDGED, ThreadState.PARKED})


def place_hold(
    database: Database, *, matter: str, reason: str, scope: HoldScope, actor: str, clock: Clock, lease: Lease
) -> StoredHold:
    """Place a hold and wait until it is effective; raises Invalid for an empty scope or a bad glob.

    The stored answer has `matched`, `unknown`, `too_late`, `uncertain`, and `live`: how many live threads the
    scope covers, and how many of them are held, `before` and `after`.
    """
    _check(scope)
    now = clock.now()
    placed = StoredHold(
        hold=Hold(id=HoldId(new_id("hold", now)), matter=matter, scope=scope),
        reason=reason,
        placed_at=now,
        placed_by=actor,
        answer={},
    )
    with database.write() as db:
        order = _order(db, placed)
    flying = wait_for_armed(database, order.keys, clock=clock, lease=lease)
    with database.write() as db:
        stands = protections.get_hold(db, placed.hold.id, lock=True) or placed
        answer = {
            # Somebody may have released it meanwhile, and what that found is kept.
            **stands.answer,
            "matched": order.matched,
            "live": _told(order.before, count_live(db, scope, protections.active_holds(db))),
            "unknown": order.unknown,
            "too_late": flying.as_too_late(),
            "uncertain": list(flying.uncertain),
        }
        protections.answer_hold(db, placed.hold.id, answer)
    return replace(stands, answer=answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ordered:
    """What stood when the hold was committed; ``keys`` are the attempts that had been armed before."""

    matched: int
    before: LiveCount
    unknown: list[str]
    keys: Mapping[AttemptKey, str]


def _order(db: Connection, placed: StoredHold) -> _Ordered:
    """Commit the hold with its entry, under the protection rows: what arms after this sees it."""
    scope = placed.hold.scope
    protections.take(db, protections.scopes_of(scope))
    before = count_live(db, scope, protections.active_holds(db))
    protections.add_hold(db, placed)
    matched = [one for one in matching_threads(db, scope) if one.state in _UNSETTLED]
    keys = attempts.unsettled_keys(db, [one.id for one in matched])
    # An id may name a chosen child, or what is held may have been registered after it was armed as one:
    # then the stage that deletes it is waited for, and no other.
    objects = {*scope.ids, *(one.external_id for one in matched)}
    containers = attempts.unsettled_keys(db, references.containers_of(db, objects))
    keys |= {key: one for key, one in containers.items() if key[2] == Stage.CHILDREN}
    # Written before waiting, so that no crash leaves a hold without its entry: what was armed then is
    # uncertain then, and the entries of those attempts tell how it ended.
    entry = bodies.hold_placed(
        placed.hold,
        reason=placed.reason,
        matched=len(matched),
        too_late=(),
        uncertain=sorted(set(keys.values())),
        at=placed.placed_at,
        actor=placed.placed_by,
    )
    unknown = unknown_ids(db, scope)
    log.append(db, [entry])
    return _Ordered(matched=len(matched), before=before, unknown=unknown, keys=keys)


def _told(before: LiveCount, after: LiveCount) -> dict[str, dict[str, int]]:
    return {"before": asdict(before), "after": asdict(after)}


def _check(scope: HoldScope) -> None:
    if not (scope.ids or scope.owners or scope.projects or scope.tags):
        problem = "The scope is empty: a hold on nothing protects nothing."
        raise Invalid(
            problem, repair="Give ids, owners, projects or tags.", pointer="/scope", code="empty_scope"
        )
    for field, patterns in (("owners", scope.owners), ("projects", scope.projects)):
        for number, pattern in enumerate(patterns):
            try:
                check_glob(pattern)
            except Invalid as e:
                raise Invalid(
                    e.problem, repair=e.repair, pointer=f"/scope/{field}/{number}", code=e.code
                ) from e


def release_hold(database: Database, hold_id: str, *, reason: str, actor: str, clock: Clock) -> StoredHold:
    """Release a hold; what it protected is decided again from now on.

    The stored answer then has `live_at_release` too: what is still held `after`, other holds keep.
    Raises NotFound and AlreadyReleased.
    """
    now = clock.now()
    with database.write() as db:
        found = protections.get_hold(db, hold_id)
        if found is None:
            problem = "No hold has this id."
            raise NotFound(problem, repair="`tenure hold list` shows them.")
        scope = found.hold.scope
        protections.take(db, protections.scopes_of(scope))
        # Read again, and kept from changing: what placing it found may have been written meanwhile.
        found = protections.get_hold(db, hold_id, lock=True) or found
        before = count_live(db, scope, protections.active_holds(db))
        if not protections.release_hold(db, hold_id, at=now, by=actor, reason=reason):
            problem = f"The hold of {found.hold.matter} is released already."
            raise AlreadyReleased(problem, repair="Place a new one if it must stand again.")
        after = count_live(db, scope, protections.active_holds(db))
        answer = {**found.answer, "live_at_release": _told(before, after)}
        protections.answer_hold(db, hold_id, answer)
        log.append(db, [bodies.hold_released(found.hold, reason=reason, at=now, actor=actor)])
    return replace(found, released_at=now, released_by=actor, release_reason=reason, answer=answer)
