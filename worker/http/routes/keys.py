"""Make, list, rotate and revoke API keys."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Connection

from worker.flows.key import (
    EVERY_PROJECT,
    Principal,
    check_rights,
    create_key,
    note_look,
    require_within,
    revoke_key,
)
from worker.flows.rotate_key import rotate_key
from worker.http.auth import KeysAdmin
from worker.http.fields import Instant, Name, Strict, is_word
from worker.http.lists import Page, Paging, Shown, cut, page_of
from worker.http.refusals import AlreadyRevoked, ProjectBound
from worker.http.services import Given
from worker.model.clock import rfc3339
from worker.model.errors import NotFound
from worker.store import keys
from worker.store.keys import StoredKey

router = APIRouter(prefix="/v1/keys", tags=["keys"])

KeyCursor = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,40}$")]


class KeyBody(Strict):
    """A new key; ``projects`` are exact names, or `*` for all."""

    label: Name
    scopes: Annotated[list[Name], Field(max_length=50)]
    projects: Annotated[list[Name], Field(max_length=500)]
    expires_at: Instant | None = None


class RotationBody(Strict):
    """``ends_at``: until when the old key goes on; 24 hours from now unless given, 90 days at most."""

    ends_at: Instant | None = None


class KeysQuery(Paging):
    """The parameters of `GET /v1/keys`."""

    after: KeyCursor | None = None
    before: KeyCursor | None = None


class KeyShape(Shown):
    """A key; its secret is kept nowhere."""

    object: Literal["key"] = "key"
    label: str
    scopes: list[str]
    projects: list[str]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class NewKeyShape(KeyShape):
    """A key that was just made, with the only sight of its text."""

    key: str


class RotatedShape(NewKeyShape):
    """The successor of a key; ``replaces`` goes on until ``replaced_ends_at``."""

    replaces: str
    replaced_ends_at: str


@router.post("", status_code=201, response_model=NewKeyShape)
def post_key(body: KeyBody, who: KeysAdmin, given: Given) -> NewKeyShape:
    """Make a key; its text is shown once. A key makes keys for its own projects and scopes only."""
    if who.projects is not None and not set(body.projects) <= set(who.projects):
        problem = f"This key may make keys only for: {', '.join(who.projects)}."
        raise ProjectBound(problem, repair="Name some of these, or use a key whose projects are `*`.")
    check_rights(body.scopes, body.projects)
    require_within(who, body.scopes)
    made = create_key(
        given.database,
        label=body.label,
        scopes=body.scopes,
        projects=body.projects,
        actor=who.actor,
        clock=given.clock,
        expires_at=body.expires_at,
    )
    with given.database.read() as db:
        return NewKeyShape(**_shape(_found(db, made.id, who)).model_dump(), key=made.text)


@router.get("", response_model=Page[KeyShape])
def get_keys(query: Annotated[KeysQuery, Query()], who: KeysAdmin, given: Given) -> dict[str, Any]:
    """List keys, revoked ones too; looking is an entry."""
    with given.database.read() as db:
        found = [one for one in keys.list_keys(db) if _visible(one, who)]
    rows, more = cut(found, lambda one: one.id, query, after=query.after, before=query.before)
    note_look(given.database, "GET /v1/keys", rows=len(rows), actor=who.actor, clock=given.clock)
    return page_of([_shape(one) for one in rows], has_more=more)


@router.post("/{key_id}/revoke", response_model=KeyShape)
def post_revoke(key_id: str, who: KeysAdmin, given: Given) -> KeyShape:
    """Revoke a key at once."""
    with given.database.read() as db:
        _found(db, key_id, who)
    if not revoke_key(given.database, key_id, actor=who.actor, clock=given.clock):
        raise AlreadyRevoked("The key is revoked already.")
    with given.database.read() as db:
        return _shape(_found(db, key_id, who))


@router.post("/{key_id}/rotate", status_code=201, response_model=RotatedShape)
def post_rotate(key_id: str, body: RotationBody, who: KeysAdmin, given: Given) -> RotatedShape:
    """Make a successor with the same rights; its text is shown once, and the old key ends later."""
    with given.database.read() as db:
        _found(db, key_id, who)
    done = rotate_key(given.database, key_id, who=who, clock=given.clock, ends_at=body.ends_at)
    with given.database.read() as db:
        shape = _shape(_found(db, done.successor.id, who)).model_dump()
    return RotatedShape(
        **shape, key=done.successor.text, replaces=key_id, replaced_ends_at=rfc3339(done.ends_at)
    )


def _visible(stored: StoredKey, who: Principal) -> bool:
    return who.projects is None or (
        EVERY_PROJECT not in stored.projects and set(stored.projects) <= set(who.projects)
    )


def _found(db: Connection, key_id: str, who: Principal) -> StoredKey:
    found = keys.get_key(db, key_id) if is_word(key_id) else None
    if found is None or not _visible(found, who):
        raise NotFound("No key has this id.", repair="`tenure keys list` shows them.")
    return found


def _shape(stored: StoredKey) -> KeyShape:
    return KeyShape(
        id=stored.id,
        label=stored.label,
        scopes=list(stored.scopes),
        projects=list(stored.projects),
        created_at=rfc3339(stored.created_at),
        expires_at=rfc3339(stored.expires_at) if stored.expires_at else None,
        revoked_at=rfc3339(stored.revoked_at) if stored.revoked_at else None,
        last_used_at=rfc3339(stored.last_used_at) if stored.last_used_at else None,
    )
