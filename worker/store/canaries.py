"""Canaries that were made and not yet seen to be gone: none is ever left at a provider unnoticed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from worker.model.thread import Kind
from worker.store.tables import canary


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """One object that Tenure made at a provider to see whether a route answers."""

    project: str
    kind: Kind
    external_id: str


def keep(db: Connection, made: Canary, now: datetime) -> None:
    """Remember a canary before its DELETE."""
    db.execute(
        insert(canary).values(
            project=made.project, kind=made.kind.value, external_id=made.external_id, made_at=now
        )
    )


def forget(db: Connection, gone: Canary) -> None:
    """Forget a canary that was seen to be gone."""
    db.execute(
        delete(canary).where(
            canary.c.project == gone.project,
            canary.c.kind == gone.kind.value,
            canary.c.external_id == gone.external_id,
        )
    )


def among(db: Connection, kind: Kind, external_ids: Sequence[str]) -> set[str]:
    """Return which of these ids are canaries that were not seen to be gone yet."""
    query = select(canary.c.external_id).where(
        canary.c.kind == kind.value, canary.c.external_id.in_(external_ids)
    )
    return set(db.execute(query).scalars())


def left(db: Connection, projects: Collection[str], *, made_before: datetime) -> list[Canary]:
    """Return canaries that a crash left behind."""
    rows = db.execute(
        select(canary)
        .where(canary.c.project.in_(sorted(projects)), canary.c.made_at < made_before)
        .order_by(canary.c.made_at)
    )
    return [Canary(project=row.project, kind=Kind(row.kind), external_id=row.external_id) for row in rows]
