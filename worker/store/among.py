"""Whether a column is one of many values that are given as one parameter.

A list of parameters is another statement for each length: SQLAlchemy writes it out anew, and PostgreSQL reads
and plans as many values one by one. As one array, or one text of JSON, it stays one statement.
"""

from __future__ import annotations

from typing import Any, Self

from sqlalchemy import JSON, Boolean, ColumnElement, String, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType

_TEXTS = JSON().with_variant(ARRAY(String, dimensions=1), "postgresql")


class _Among(FunctionElement[bool]):
    """Column, list."""

    inherit_cache = True
    type = Boolean()

    def self_group(self, against: OperatorType | None = None) -> Self:  # noqa: ARG002 - SQLAlchemy gives it
        """Stay as it is: written as ``... = 1`` on SQLite, no index would be found by it."""
        return self


def among(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Say that a column of texts is one of the list that is given as the parameter ``name``."""
    return _Among(column, bindparam(name, type_=_TEXTS))


@compiles(_Among, "sqlite")
def _on_sqlite(element: _Among, compiler: SQLCompiler, **options: object) -> str:
    column, values = (compiler.process(one, **options) for one in element.clauses)
    return f"({column} IN (SELECT one.value FROM json_each({values}) AS one))"  # noqa: S608 - compiled SQL


@compiles(_Among, "postgresql")
def _on_postgresql(element: _Among, compiler: SQLCompiler, **options: object) -> str:
    column, values = (compiler.process(one, **options) for one in element.clauses)
    return f"({column} = ANY ({values}))"
