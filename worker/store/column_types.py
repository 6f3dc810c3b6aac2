"""The types of columns that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, TypeDecorator
from sqlalchemy.dialects.postgresql import JSONB

_UTC = "+00:00"


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes with microseconds on both databases; SQLite stores them as sortable text.

    Every row has several, so each is turned by one function and not, as SQLAlchemy would have it, by three
    that call each other.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], object]:
        """Return what turns a value of ours into the driver's."""
        return _to_text if dialect.name == "sqlite" else _to_utc

    def result_processor(
        self,
        dialect: Dialect,
        coltype: object,  # noqa: ARG002 - SQLAlchemy gives it
    ) -> Callable[[str | None], datetime | None] | Callable[[datetime | None], datetime | None]:
        """Return what turns the driver's value into an aware UTC datetime."""
        return _from_text if dialect.name == "sqlite" else _from_aware


def _to_utc(value: datetime | None) -> datetime | None:
    """Refuse a naive datetime: it would mean another instant on another machine."""
    if value is None:
        return None
    if value.tzinfo is None:
        msg = "a naive datetime reached the database"
        raise ValueError(msg)
    return value.astimezone(UTC)


@lru_cache(maxsize=256)
def _to_text(value: datetime | None) -> str | None:
    """Return the text that SQLAlchemy's own type writes: always six digits, so that it sorts.

    Kept for a while: a group of rows is written with one and the same instant.
    """
    utc = _to_utc(value)
    return None if utc is None else utc.replace(tzinfo=None).isoformat(" ", "microseconds")


def _from_text(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value + _UTC)


def _from_aware(value: datetime | None) -> datetime | None:
    return None if value is None else value.astimezone(UTC)


Json = JSON().with_variant(JSONB(), "postgresql")
# SQLite counts rows by INTEGER only.
BigId = BigInteger().with_variant(Integer(), "sqlite")
