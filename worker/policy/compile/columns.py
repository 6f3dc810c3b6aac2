"""Which columns of a thread's row the rules look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, FromClause

from worker.policy.compile.text import tag_value


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of the threads: text, and ``tags`` a JSON (or JSONB) object of texts.

    ``known`` holds the values of tags that were read before, by key.
    """

    id: ColumnElement[Any]
    external_id: ColumnElement[Any]
    project: ColumnElement[Any]
    kind: ColumnElement[Any]
    owner: ColumnElement[Any]
    tags: ColumnElement[Any]
    known: Mapping[str, ColumnElement[Any]] = field(default_factory=dict)

    def tag(self, key: str) -> ColumnElement[Any]:
        """Return the value of one tag, NULL where it is missing."""
        return self.known[key] if key in self.known else tag_value(self.tags, key)

    @classmethod
    def of(cls, threads: FromClause, *, known: Mapping[str, ColumnElement[Any]] | None = None) -> Columns:
        """Return the columns of a table, an alias or a subquery that has them under these names."""
        c = threads.c
        return cls(
            id=c.id,
            external_id=c.external_id,
            project=c.project,
            kind=c.kind,
            owner=c.owner,
            tags=c.tags,
            known=known or {},
        )
