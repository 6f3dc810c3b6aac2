"""What every table is made with: the one MetaData, and columns that are not NULL unless they say so."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, MetaData

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def given(name: str, type_: Any, *more: Any, **options: Any) -> Column[Any]:  # noqa: ANN401 - SQLAlchemy's own
    """Return a column that is never NULL."""
    return Column(name, type_, *more, **{"nullable": False, **options})


def maybe(name: str, type_: Any, **options: Any) -> Column[Any]:  # noqa: ANN401 - SQLAlchemy's own
    """Return a column that may be NULL."""
    return Column(name, type_, nullable=True, **options)
