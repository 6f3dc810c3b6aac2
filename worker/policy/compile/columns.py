"""Which columns of a thread's row the rules look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of the threads: text, and ``tags`` a JSON (or JSONB) object of texts."""

    id: ColumnElement[Any]
    external_id: ColumnElement[Any]
    project: ColumnElement[Any]
    kind: ColumnElement[Any]
    owner: ColumnElement[Any]
    tags: ColumnElement[Any]

    @classmethod
    def of(cls, threads: FromClause) -> Columns:
        """Return the columns of a table, an alias or a subquery that has them under these names."""
        c = threads.c
        return cls(
            id=c.id, external_id=c.external_id, project=c.project, kind=c.kind, owner=c.owner, tags=c.tags
        )
