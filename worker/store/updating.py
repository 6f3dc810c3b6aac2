"""Updating many rows at once, each to values of its own.

DANGER. A row that was not there, or had moved on, is one that somebody is told a lie about: every update
proves that it changed as many rows as it was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, Update, bindparam, update

from worker.model.errors import TenureError
from worker.store.arrays import as_arrays, given_rows


class RowsMoved(TenureError):
    """Rows that the caller had locked were not as he saw them: nothing of the transaction is kept."""

    code = "rows_moved"


@dataclass(frozen=True, slots=True, kw_only=True)
class EachRow:
    """How rows of a table are found by ``keys``, under which condition, and what else changes in each.

    The statements are built once for each set of columns. PostgreSQL takes all rows in one, with an array for
    each column; SQLite is in this process, and takes them one by one.
    """

    table: Table
    keys: tuple[str, ...]
    where: ColumnElement[bool] | None = None
    also: Mapping[str, ColumnElement[Any]] = field(default_factory=dict)
    _built: dict[tuple[bool, tuple[str, ...]], Update] = field(default_factory=dict, init=False)

    def update(self, db: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Update rows to the columns that each names beside its keys.

        Raises RowsMoved where one is not there; none may be given twice.
        """
        by_arrays = db.dialect.name == "postgresql"
        for names, same in groupby(sorted(rows, key=_names), key=_names):
            found = list(same)
            given: Any = as_arrays(names, found) if by_arrays else [_as_given(row) for row in found]
            statement = self._statement(names, by_arrays=by_arrays)
            changed = db.execute(statement, given).rowcount
            if changed != len(found):
                problem = f"{changed} of {len(found)} rows of {self.table.name} were there to be changed."
                raise RowsMoved(problem, repair="Look for a writer that changes rows without their locks.")

    def _statement(self, names: tuple[str, ...], *, by_arrays: bool) -> Update:
        key = (by_arrays, names)
        if key not in self._built:
            given: Any = (
                given_rows(self.table, names).c if by_arrays else {n: bindparam(f"given_{n}") for n in names}
            )
            found = [self.table.c[name] == given[name] for name in self.keys]
            also = [] if self.where is None else [self.where]
            values = {name: given[name] for name in names if name not in self.keys}
            self._built[key] = update(self.table).where(*found, *also).values({**self.also, **values})
        return self._built[key]


def _names(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(row))


def _as_given(row: Mapping[str, Any]) -> dict[str, Any]:
    return {f"given_{name}": value for name, value in row.items()}
