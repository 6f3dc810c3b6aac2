"""Place, look at and release holds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, model_validator
from sqlalchemy import Connection

from worker.flows.hold import place_hold, release_hold
from worker.flows.key import Principal
from worker.http.auth import HoldsRead, HoldsRelease, HoldsWrite
from worker.http.fields import AnyId, Name, Reason, Strict, is_word
from worker.http.lists import Page, Paging, Shown, cut, page_of
from worker.http.refusals import ProjectBound
from worker.http.services import Given
from worker.model.clock import rfc3339
from worker.model.decision import HoldScope, TagSelector
from worker.model.errors import NotFound
from worker.store import protections
from worker.store.protections import StoredHold
from worker.store.threads import live_matching_ids

router = APIRouter(prefix="/v1/holds", tags=["holds"])

_MOST = 1000
HoldCursor = Annotated[str, Field(pattern=r"^hold_[0-9a-f]{32}$")]


class SelectorBody(Strict):
    """A tag selector: `In` and `NotIn` compare values, `Exists` and `DoesNotExist` take none."""

    key: Name
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: Annotated[list[Name], Field(max_length=_MOST)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _values_fit(self) -> SelectorBody:
        if bool(self.values) != (self.operator in {"In", "NotIn"}):
            msg = "In and NotIn need values; Exists and DoesNotExist take none"
            raise ValueError(msg)
        return self


class ScopeBody(Strict):
    """What is held: all given fields must match; owners and projects are anchored globs."""

    ids: Annotated[list[AnyId], Field(max_length=_MOST)] = Field(default_factory=list)
    owners: Annotated[list[Name], Field(max_length=_MOST)] = Field(default_factory=list)
    projects: Annotated[list[Name], Field(max_length=_MOST)] = Field(default_factory=list)
    tags: Annotated[list[SelectorBody], Field(max_length=100)] = Field(default_factory=list)

    def scope(self) -> HoldScope:
        """Return it as the flow takes it."""
        return HoldScope(
            ids=tuple(self.ids),
            owners=tuple(self.owners),
            projects=tuple(self.projects),
            tags=tuple(
                TagSelector(key=one.key, operator=one.operator, values=tuple(one.values)) for one in self.tags
            ),
        )


class HoldBody(Strict):
    """A hold for a matter."""

    matter: Name
    reason: Reason
    scope: ScopeBody


class ReleaseBody(Strict):
    """Why the hold need not stand any longer."""

    reason: Reason


class HoldsQuery(Paging):
    """The filters of `GET /v1/holds`."""

    after: HoldCursor | None = None
    before: HoldCursor | None = None
    state: Literal["active", "released"] | None = None
    matter: Name | None = None


class LiveShape(BaseModel):
    """How many live threads the scope covers, and how many of these some hold covers."""

    threads: int
    held: int


class AroundShape(BaseModel):
    """The live threads of the scope right before and right after the hold was placed, or released."""

    before: LiveShape
    after: LiveShape


class HoldShape(Shown):
    """A hold, its history, and what placing and releasing it found.

    `too_late` and `uncertain` name what is not protected (for certain): a DELETE had left, or may have left,
    before the hold took effect. `live` is null only of holds that an older version placed, and while a hold
    is being placed.
    """

    object: Literal["hold"] = "hold"
    matter: str
    reason: str
    scope: ScopeBody
    state: Literal["active", "released"]
    placed_at: str
    placed_by: str
    released_at: str | None
    released_by: str | None
    release_reason: str | None
    matched: int | None
    live: AroundShape | None
    live_at_release: AroundShape | None
    unknown: list[str]
    too_late: list[dict[str, Any]]
    uncertain: list[str]


@router.post("", status_code=201, response_model=HoldShape)
def create_hold(body: HoldBody, who: HoldsWrite, given: Given) -> HoldShape:
    """Place a hold. 201 means that it is effective, also for threads that are registered later.

    A key that is bound to projects holds in those only; `scope` in the answer says which.
    """
    placed = place_hold(
        given.database,
        matter=body.matter,
        reason=body.reason,
        scope=_narrowed(body.scope.scope(), who),
        actor=who.actor,
        clock=given.clock,
        lease=given.lease,
    )
    with given.database.read() as db:
        return _shape(db, placed, who)


@router.get("", response_model=Page[HoldShape])
def get_holds(query: Annotated[HoldsQuery, Query()], who: HoldsRead, given: Given) -> dict[str, Any]:
    """List holds, newest first."""
    with given.database.read() as db:
        found = [
            one
            for one in protections.list_holds(db, active_only=query.state == "active")
            if _visible(one, who)
            and (query.state != "released" or one.released_at is not None)
            and query.matter in {None, one.hold.matter}
        ]
        rows, more = cut(found, lambda one: one.hold.id, query, after=query.after, before=query.before)
        return page_of([_shape(db, one, who) for one in rows], has_more=more)


@router.get("/{hold_id}", response_model=HoldShape)
def get_hold(hold_id: str, who: HoldsRead, given: Given) -> HoldShape:
    """Read one hold."""
    with given.database.read() as db:
        return _shape(db, _found(db, hold_id, who), who)


@router.post("/{hold_id}/release", response_model=HoldShape)
def release(hold_id: str, body: ReleaseBody, who: HoldsRelease, given: Given) -> HoldShape:
    """Release a hold; what it protected is decided again from now on."""
    with given.database.read() as db:
        _found(db, hold_id, who)
    released = release_hold(given.database, hold_id, reason=body.reason, actor=who.actor, clock=given.clock)
    with given.database.read() as db:
        return _shape(db, released, who)


def _narrowed(scope: HoldScope, who: Principal) -> HoldScope:
    """Keep a bound key's hold inside its projects; raises ProjectBound for others and for globs."""
    if who.projects is None or not (scope.ids or scope.owners or scope.projects or scope.tags):
        return scope
    if not set(scope.projects) <= set(who.projects):
        problem = f"This key may hold only in: {', '.join(who.projects)}."
        raise ProjectBound(problem, repair="Name some of these exactly, or use a key whose projects are `*`.")
    projects = scope.projects or who.projects
    return HoldScope(ids=scope.ids, owners=scope.owners, projects=projects, tags=scope.tags)


def _visible(stored: StoredHold, who: Principal) -> bool:
    if who.projects is None:
        return True
    projects = set(stored.hold.scope.projects)
    return bool(projects) and projects <= set(who.projects)


def _found(db: Connection, hold_id: str, who: Principal) -> StoredHold:
    found = protections.get_hold(db, hold_id) if is_word(hold_id) else None
    if found is None or not _visible(found, who):
        raise NotFound("No hold has this id.", repair="`tenure hold list` shows them.")
    return found


def _shape(db: Connection, stored: StoredHold, who: Principal) -> HoldShape:
    answer, scope = stored.answer, stored.hold.scope
    return HoldShape(
        id=stored.hold.id,
        matter=stored.hold.matter,
        reason=stored.reason,
        scope=ScopeBody(
            ids=list(scope.ids),
            owners=list(scope.owners),
            projects=list(scope.projects),
            tags=[
                SelectorBody.model_validate({"key": t.key, "operator": t.operator, "values": list(t.values)})
                for t in scope.tags
            ],
        ),
        state="active" if stored.released_at is None else "released",
        placed_at=rfc3339(stored.placed_at),
        placed_by=stored.placed_by,
        released_at=rfc3339(stored.released_at) if stored.released_at else None,
        released_by=stored.released_by,
        release_reason=stored.release_reason,
        matched=answer.get("matched"),
        live=answer.get("live"),
        live_at_release=answer.get("live_at_release"),
        unknown=_unknown(db, stored, who),
        too_late=list(answer.get("too_late", [])),
        uncertain=list(answer.get("uncertain", [])),
    )


def _unknown(db: Connection, stored: StoredHold, who: Principal) -> list[str]:
    """To a bound key, an id of another project is as unknown as one that nobody registered."""
    if who.projects is None:
        return list(stored.answer.get("unknown", []))
    seen = [
        one.thread for one in live_matching_ids(db, stored.hold.scope.ids) if who.may_see(one.thread.project)
    ]
    known = {name for thread in seen for name in (thread.id, thread.external_id)}
    return [one for one in stored.hold.scope.ids if one not in known]
