"""Stages: subqueries that a database computes once per row and never merges into what stands around them.

Both would otherwise put a stage's expressions wherever its columns are used, and compute them each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Subquery, select

from worker.policy.compile.bits import Words


def stage(
    name: str, before: FromClause, new: Mapping[str, ColumnElement[Any]], *, without: Sequence[str] = ()
) -> Subquery:
    """Return a stage with every column of the one before, but for some, and new ones beside them."""
    carried = [column for column in before.c if column.key not in {*new, *without}]
    query = select(*carried, *(column.label(key) for key, column in new.items())).select_from(before)
    return query.offset(0).subquery(name)


def spread(prefix: str, words: Words) -> dict[str, ColumnElement[Any]]:
    """Return the words of a set as named columns."""
    return {f"{prefix}{index}": word for index, word in enumerate(words)}


def words_of(stage: FromClause, prefix: str, size: int) -> Words:
    """Return the words of a set from a stage's columns."""
    return [stage.c[f"{prefix}{index}"] for index in range(size)]


def names_of(prefix: str, size: int) -> list[str]:
    """Return the names of a set's columns."""
    return [f"{prefix}{index}" for index in range(size)]
