"""Many rows as the parameters of one statement: an array for each column (PostgreSQL).

As many statements as rows would be as many messages, each read and planned anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import String, Table, bindparam, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.selectable import TableValuedAlias
from sqlalchemy.types import TypeEngine


def given_rows(table: Table, names: Sequence[str]) -> TableValuedAlias:
    """Return the rows that `as_arrays` makes parameters of, in their order and with the table's columns."""
    arrays = [bindparam(f"all_{name}", type_=_array_of(table.c[name].type)) for name in names]
    return func.unnest(*arrays).table_valued(*names).render_derived()


def as_arrays(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the parameters of rows that all have these columns."""
    return {f"all_{name}": [row[name] for row in rows] for name in names}


def _array_of(type_: TypeEngine[Any]) -> ARRAY[Any]:
    # Without a length: a text that is too long would be cut to it in silence; so its column refuses it.
    # Of one dimension: a list in a column of JSON is a value.
    return ARRAY(String() if isinstance(type_, String) else type_, dimensions=1)
