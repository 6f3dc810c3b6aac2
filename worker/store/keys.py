"""API keys (only digests of their secrets) and small facts about the service."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from worker.store.engine import changed
from worker.store.tables import api_key, fact


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """One key: ``projects`` names what it may see, `*` everything."""

    id: str
    label: str
    secret_sha256: str
    scopes: tuple[str, ...]
    projects: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


def add_key(db: Connection, new: StoredKey) -> None:
    """Insert a key."""
    db.execute(
        insert(api_key).values(
            id=new.id,
            label=new.label,
            secret_sha256=new.secret_sha256,
            scopes=list(new.scopes),
            projects=list(new.projects),
            created_at=new.created_at,
            expires_at=new.expires_at,
        )
    )


def get_key(db: Connection, key_id: str) -> StoredKey | None:
    """Return one key by its public id."""
    row = db.execute(select(api_key).where(api_key.c.id == key_id)).first()
    return None if row is None else _to_key(row)


def get_keys(db: Connection, key_ids: Collection[str]) -> dict[str, StoredKey]:
    """Return keys by their public ids; one that is not there is left out."""
    rows = db.execute(select(api_key).where(api_key.c.id.in_(sorted(set(key_ids)))))
    return {row.id: _to_key(row) for row in rows}


def list_keys(db: Connection) -> list[StoredKey]:
    """Return every key, oldest first."""
    return [_to_key(row) for row in db.execute(select(api_key).order_by(api_key.c.created_at, api_key.c.id))]


def revoke_key(db: Connection, key_id: str, now: datetime) -> bool:
    """Revoke a key; False when there is none that stands."""
    standing = update(api_key).where(api_key.c.id == key_id, api_key.c.revoked_at.is_(None))
    return changed(db, standing.values(revoked_at=now)) == 1


def end_key(db: Connection, key_id: str, at: datetime) -> None:
    """Let a key end at this instant; its row says nothing of its successor, the entry does."""
    db.execute(update(api_key).where(api_key.c.id == key_id).values(expires_at=at))


def note_use(db: Connection, key_id: str, now: datetime, *, unless_since: datetime) -> None:
    """Note that a key was used; nothing is written where a use since then stands already."""
    stale = or_(api_key.c.last_used_at.is_(None), api_key.c.last_used_at < unless_since)
    db.execute(update(api_key).where(api_key.c.id == key_id, stale).values(last_used_at=now))


def _to_key(row: Row[Any]) -> StoredKey:
    return StoredKey(
        id=row.id,
        label=row.label,
        secret_sha256=row.secret_sha256,
        scopes=_texts(row.scopes),
        projects=_texts(row.projects),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )


def _texts(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(values)


def note_fact(db: Connection, name: str, value: object, at: datetime) -> None:
    """Keep a small fact about the service, replacing what it was; the last of two writers counts."""
    move = update(fact).where(fact.c.name == name).values(value=value, at=at)
    if changed(db, move):
        return
    try:
        with db.begin_nested():
            db.execute(insert(fact).values(name=name, value=value, at=at))
    except IntegrityError:
        db.execute(move)


_FACT = select(fact.c.value, fact.c.at).where(fact.c.name == bindparam("of_fact"))


def read_fact(db: Connection, name: str) -> tuple[Any, datetime] | None:
    """Return a fact and when it was noted."""
    row = db.execute(_FACT, {"of_fact": name}).first()
    return None if row is None else (row.value, row.at)
