"""Order, look at and approve sweeps. A sweep reaches every project of its policy, so its key must too."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from worker.flows.claim import anything_ready
from worker.flows.sweep import approve
from worker.flows.sweeping import order_sweeps, summary
from worker.http.auth import PlansApprove, SweepsRead, SweepsRun, needs_every_project
from worker.http.fields import Digest, Name, Reason, Strict, is_word
from worker.http.lists import Page, Paging, Shown, cut, page_of
from worker.http.services import Given, Services
from worker.model.clock import rfc3339
from worker.model.errors import NotFound
from worker.store import sweeps
from worker.store.sweeps import Sweep

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"])

# How far back the list goes.
_NEWEST = 1000
_WHAT = "A sweep"
SweepCursor = Annotated[str, Field(pattern=r"^swp_[0-9a-f]{32}$")]


class SweepBody(Strict):
    """One policy, or with null erasures and every enforced delete policy."""

    policy: Name | None = None
    dry_run: bool = False


class ApprovalBody(Strict):
    """Approve exactly the plan of this digest."""

    digest: Digest
    reason: Reason


class SweepsQuery(Paging):
    """The filters of `GET /v1/sweeps`."""

    after: SweepCursor | None = None
    before: SweepCursor | None = None
    policy: Name | None = None


class PlanShape(BaseModel):
    """The plan's digest and the first 100 thread ids."""

    digest: str | None
    threads: list[str]


class PauseShape(BaseModel):
    """A pause that keeps open items of the policy where they are; ``project`` null is the one of all."""

    project: str | None
    reason: str


class SweepShape(Shown):
    """One sweep and what has become of its plan.

    `busy` counts the items of its policy, whichever sweep planned them, that a worker has or takes up as soon
    as it can: whoever waits for the policy to be worked off waits until it is 0.
    """

    object: Literal["sweep"] = "sweep"
    policy: str
    slot: str
    state: str
    dry_run: bool
    bundle: str
    begun_at: str
    released_at: str | None
    ordered_by: str
    population: int | None
    planned: int
    done: int
    spared: int
    waiting: int
    parked: int
    busy: int
    grades: dict[str, int]
    reasons: list[str]
    paused: list[PauseShape]
    plan: PlanShape


class SweepsShape(BaseModel):
    """The sweeps of one order."""

    sweeps: list[SweepShape]


@router.post("", status_code=201, response_model=SweepsShape)
def create_sweeps(body: SweepBody, who: SweepsRun, given: Given) -> SweepsShape:
    """Plan now and release what the guards allow; a dry run stops after the plan."""
    needs_every_project(who, _WHAT)
    made = order_sweeps(
        given.database, policy=body.policy, dry_run=body.dry_run, actor=who.actor, clock=given.clock
    )
    _wake(given)
    with given.database.read() as db:
        return SweepsShape(sweeps=[_shape(db, one, given) for one in made])


@router.get("", response_model=Page[SweepShape])
def get_sweeps(query: Annotated[SweepsQuery, Query()], who: SweepsRead, given: Given) -> dict[str, Any]:
    """List the newest sweeps."""
    needs_every_project(who, _WHAT)
    with given.database.read() as db:
        found = sweeps.page(db, limit=_NEWEST, policy=query.policy)
        rows, more = cut(found, lambda one: one.id, query, after=query.after, before=query.before)
        return page_of([_shape(db, one, given) for one in rows], has_more=more)


@router.get("/{sweep_id}", response_model=SweepShape)
def get_sweep(sweep_id: str, who: SweepsRead, given: Given) -> SweepShape:
    """Read one sweep with its plan and grades."""
    needs_every_project(who, _WHAT)
    with given.database.read() as db:
        found = sweeps.get(db, sweep_id) if is_word(sweep_id) else None
        if found is None:
            raise _unknown()
        return _shape(db, found, given)


@router.post("/{sweep_id}/approvals", response_model=SweepShape)
def approve_sweep(sweep_id: str, body: ApprovalBody, who: PlansApprove, given: Given) -> SweepShape:
    """Approve a waiting plan by its digest: exactly that list runs, and each item is decided again."""
    needs_every_project(who, _WHAT)
    if not is_word(sweep_id):
        raise _unknown()
    done = approve(
        given.database,
        sweep_id,
        digest=body.digest,
        reason=body.reason,
        actor=who.actor,
        clock=given.clock,
    )
    _wake(given)
    with given.database.read() as db:
        return _shape(db, done, given)


def _unknown() -> NotFound:
    return NotFound("No sweep has this id.", repair="`tenure sweeps list` shows them.")


def _wake(given: Services) -> None:
    for credential in anything_ready(given.database, given.clock):
        given.wake(credential)


def _shape(db: Connection, one: Sweep, given: Services) -> SweepShape:
    return SweepShape.model_validate(
        {
            **summary(db, one, now=given.clock.now()),
            "slot": one.slot,
            "dry_run": one.dry_run,
            "bundle": one.bundle,
            "begun_at": rfc3339(one.begun_at),
            "released_at": rfc3339(one.released_at) if one.released_at else None,
            "ordered_by": one.ordered_by,
            "population": one.population,
        }
    )
