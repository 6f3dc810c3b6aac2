"""Change threads, and note activity at them."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel, Field, model_validator

from worker.flows.change import Change, Touched, change, touch
from worker.http.auth import ThreadsWrite
from worker.http.etags import etag, versions_of
from worker.http.fields import AnyId, Instant, Name, Strict, Tags
from worker.http.finding import find_thread, show_thread
from worker.http.refusals import Ambiguous
from worker.http.services import Given
from worker.http.thread_shapes import ThreadShape
from worker.model.clock import rfc3339
from worker.model.errors import NotFound, TenureError

router = APIRouter(prefix="/v1/threads", tags=["threads"])

_MOST = 1000
IfMatch = Annotated[str | None, Header(alias="If-Match", description="The thread's ETag; required.")]


class ChangeBody(Strict):
    """What to set: `tags` replaces all tags, `ttl` null takes the TTL away, `created_at` can be set once."""

    owner: Name | None = None
    tags: Tags | None = None
    ttl: Annotated[str, Field(min_length=1, max_length=40)] | None = None
    created_at: Instant | None = None

    @model_validator(mode="after")
    def _says_something(self) -> ChangeBody:
        if not self.model_fields_set:
            msg = "must change something: owner, tags, ttl or created_at"
            raise ValueError(msg)
        nulls = [name for name in ("owner", "tags", "created_at") if name in self.model_fields_set]
        if any(getattr(self, name) is None for name in nulls):
            msg = "only ttl may be null"
            raise ValueError(msg)
        return self

    def change(self) -> Change:
        """Return it as the flow takes it."""
        return Change(
            owner=self.owner or "",
            tags=dict(self.tags or {}),
            ttl=self.ttl,
            created_at=self.created_at,
            given=frozenset(self.model_fields_set),
        )


class TouchBody(Strict):
    """When the thread was last used; now, if left out."""

    at: Instant | None = None


class TouchManyBody(Strict):
    """Which threads were used, by our ids or external ones, and when."""

    ids: Annotated[list[AnyId], Field(min_length=1, max_length=_MOST)]
    at: Instant | None = None


class TouchedShape(BaseModel):
    """How touching one of the ids ended; ``id`` is as it was given."""

    id: str
    thread: str | None
    status: Literal["touched", "unchanged", "refused"]
    last_activity_at: str | None
    code: str | None


class TouchedManyShape(BaseModel):
    """One answer for each id, in the order of the ids."""

    object: Literal["touched"] = "touched"
    data: list[TouchedShape]


@router.post("/touch", response_model=TouchedManyShape)
def touch_threads(body: TouchManyBody, who: ThreadsWrite, given: Given) -> TouchedManyShape:
    """Note activity at up to 1,000 threads; one that is refused blocks no other."""
    known: dict[str, str] = {}
    refused: dict[str, TenureError] = {}
    with given.database.read() as db:
        for name in dict.fromkeys(body.ids):
            try:
                known[name] = find_thread(db, name, who).thread.id
            except (NotFound, Ambiguous) as e:
                refused[name] = e
    done = touch(
        given.database,
        sorted(set(known.values())),
        at=body.at,
        actor=who.actor,
        clock=given.clock,
        lease=given.lease,
    )
    told = [_told(one, done[known[one]]) if one in known else _refused(one, refused[one]) for one in body.ids]
    return TouchedManyShape(data=told)


@router.patch("/{thread_id}", response_model=ThreadShape, responses={412: {}, 428: {}})
def change_thread(  # noqa: PLR0917 - FastAPI passes by name
    thread_id: str,
    body: ChangeBody,
    response: Response,
    who: ThreadsWrite,
    given: Given,
    if_match: IfMatch = None,
) -> ThreadShape:
    """Change a live thread as its ETag says it stands: 428 without If-Match, 412 when it was changed since.

    409 `held` or `retained` where a hold or a legal retain rule would lose it, `ttl_beyond_policy` for a TTL
    that a delete rule does not allow, `in_flight` where a DELETE may have left.
    """
    versions = versions_of(if_match)
    with given.database.read() as db:
        found = find_thread(db, thread_id, who)
    stored = change(
        given.database,
        found.thread.id,
        body.change(),
        versions=versions,
        actor=who.actor,
        clock=given.clock,
        lease=given.lease,
    )
    response.headers["ETag"] = etag(stored)
    with given.database.read() as db:
        return show_thread(db, stored, now=given.clock.now())


@router.post("/{thread_id}/touch", response_model=ThreadShape)
def touch_thread(
    thread_id: str, response: Response, who: ThreadsWrite, given: Given, body: TouchBody | None = None
) -> ThreadShape:
    """Note activity at a thread; an earlier instant than the known one changes nothing."""
    with given.database.read() as db:
        found = find_thread(db, thread_id, who).thread.id
    at = body.at if body else None
    done = touch(given.database, [found], at=at, actor=who.actor, clock=given.clock, lease=given.lease)[found]
    if done.refused is not None:
        raise done.refused
    response.headers["ETag"] = etag(done.stored)
    with given.database.read() as db:
        return show_thread(db, done.stored, now=given.clock.now())


def _told(name: str, done: Touched) -> TouchedShape:
    if done.refused is not None:
        return _refused(name, done.refused, done.stored.thread.id)
    active = done.stored.thread.last_activity_at
    return TouchedShape(
        id=name,
        thread=done.stored.thread.id,
        status="touched" if done.changed else "unchanged",
        last_activity_at=rfc3339(active) if active else None,
        code=None,
    )


def _refused(name: str, why: TenureError, thread: str | None = None) -> TouchedShape:
    return TouchedShape(id=name, thread=thread, status="refused", last_activity_at=None, code=why.code)
