"""Instants in SQL: timestamps on PostgreSQL, whole microseconds since 1970 on SQLite.

SQLite's columns hold texts; they are read once per row, so that the rest is plain arithmetic. No instant
is later than the last of the year 9999, where Python ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, literal_column, type_coerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeEngine

from worker.policy.compile.calendar import LAST
from worker.policy.durations import Duration

Instant = ColumnElement[Any]

LAST_ON_POSTGRESQL = "timestamptz '9999-12-31 23:59:59.999999+00'"
_SMALLEST, _LARGEST = "-9223372036854775808", "9223372036854775807"
# SQLite's min() and max() take 127 arguments.
_AT_ONCE = 100
_SECOND = 1_000_000


def number(value: int) -> ColumnElement[Any]:
    """Return a whole number that stands in the statement itself: it is the bundle's, and needs no binding."""
    return literal_column(str(value))


def instant(stored: ColumnElement[Any]) -> Instant:
    """Read a stored date, or a bound one of the same type."""
    return _Instant(stored)


def stored(at: Instant, type_: TypeEngine[Any]) -> ColumnElement[Any]:
    """Return the instant as a column of that type holds it."""
    return type_coerce(_Stored(at), type_)


def plus(at: Instant, length: Duration) -> Instant:
    """Return the instant plus a duration: months, clamped to the month's end, then the rest."""
    return _Plus(at, number(length.months), number(int(length.rest.total_seconds())))


def minus_seconds(at: Instant, seconds: int) -> Instant:
    """Return the instant some seconds before."""
    return _Plus(at, number(0), number(-seconds))


def start_for(end: Instant, length: Duration, after: Instant) -> Instant:
    """Return the earliest instant later than ``after`` from which the length ends no sooner than ``end``."""
    return _StartFor(end, number(length.months), number(int(length.rest.total_seconds())), after)


def earliest(instants: Sequence[Instant]) -> Instant:
    """Return the earliest that is not NULL; NULL where none is."""
    return _Earliest(*instants) if instants else _Nothing()


def latest(instants: Sequence[Instant]) -> Instant:
    """Return the latest that is not NULL; NULL where none is."""
    return _Latest(*instants) if instants else _Nothing()


class Moment(FunctionElement[Any]):
    """An expression of this file and its neighbours; each database has its own text for it."""

    inherit_cache = True
    type = NullType()


class _Instant(Moment):
    inherit_cache = True


class _Stored(Moment):
    inherit_cache = True


class _Plus(Moment):
    inherit_cache = True


class _StartFor(Moment):
    inherit_cache = True


class _Earliest(Moment):
    inherit_cache = True


class _Latest(Moment):
    inherit_cache = True


class _Nothing(Moment):
    inherit_cache = True


def parts_of(element: Moment, compiler: SQLCompiler, options: dict[str, object]) -> list[str]:
    """Return the arguments as SQL."""
    return [compiler.process(one, **options) for one in element.clauses]


@compiles(_Instant, "sqlite")
def _instant_on_sqlite(element: _Instant, compiler: SQLCompiler, **options: object) -> str:
    # Without its fraction: SQLite rounds that, and the last microsecond would be the next second.
    (text,) = parts_of(element, compiler, options)
    whole = f"CAST(strftime('%s', substr({text}, 1, 19)) AS INTEGER)"
    return f"({whole} * {_SECOND} + CAST(substr({text}, 21, 6) AS INTEGER))"


@compiles(_Instant, "postgresql")
def _instant_on_postgresql(element: _Instant, compiler: SQLCompiler, **options: object) -> str:
    (at,) = parts_of(element, compiler, options)
    return f"CAST({at} AS TIMESTAMPTZ)"


@compiles(_Stored, "sqlite")
def _stored_on_sqlite(element: _Stored, compiler: SQLCompiler, **options: object) -> str:
    (at,) = parts_of(element, compiler, options)
    fraction = f"((({at}) % {_SECOND} + {_SECOND}) % {_SECOND})"
    whole = f"(({at}) - {fraction}) / {_SECOND}"
    return f"(strftime('%Y-%m-%d %H:%M:%S', {whole}, 'unixepoch') || printf('.%06d', {fraction}))"


@compiles(_Stored, "postgresql")
def _stored_on_postgresql(element: _Stored, compiler: SQLCompiler, **options: object) -> str:
    return parts_of(element, compiler, options)[0]


@compiles(_Plus, "sqlite")
def _plus_on_sqlite(element: _Plus, compiler: SQLCompiler, **options: object) -> str:
    at, months, seconds = parts_of(element, compiler, options)
    moved = at if months == "0" else f"tenure_months_after({at}, {months})"
    return f"min({moved} + {int(seconds) * _SECOND}, {LAST})"


@compiles(_Plus, "postgresql")
def _plus_on_postgresql(element: _Plus, compiler: SQLCompiler, **options: object) -> str:
    at, months, seconds = parts_of(element, compiler, options)
    end = f"LEAST({_moved(at, months)} + make_interval(secs => {seconds}), {LAST_ON_POSTGRESQL})"
    # LEAST would take an unknown date for the last one.
    return f"CASE WHEN {at} IS NOT NULL THEN {end} END"


def _moved(at: str, months: str) -> str:
    # Months are counted in UTC, whatever the session's zone; seconds need none.
    return at if months == "0" else f"({in_utc(at)} + make_interval(months => {months})) AT TIME ZONE 'UTC'"


def in_utc(at: str) -> str:
    """Return a timestamp as the wall-clock time of UTC, in PostgreSQL's words."""
    return f"(({at}) AT TIME ZONE 'UTC')"


@compiles(_StartFor, "sqlite")
def _start_for_on_sqlite(element: _StartFor, compiler: SQLCompiler, **options: object) -> str:
    end, months, seconds, after = parts_of(element, compiler, options)
    if months == "0":
        return f"({end} - {int(seconds) * _SECOND})"
    return f"tenure_start_for({end}, {months}, {seconds}, {after})"


@compiles(_StartFor, "postgresql")
def _start_for_on_postgresql(element: _StartFor, compiler: SQLCompiler, **options: object) -> str:
    end, months, seconds, after = parts_of(element, compiler, options)
    if months == "0":
        return f"({end} - make_interval(secs => {seconds}))"
    due = f"({in_utc(end)} - make_interval(secs => {seconds}))"
    month = f"(date_trunc('month', {due}) - make_interval(months => {months}))"
    after_it = f"({month} + make_interval(months => 1))"
    day = f"({month} + (date_trunc('day', {due}) - date_trunc('month', {due})))"
    start = f"GREATEST({day}, date_trunc('day', {in_utc(after)})) + ({due} - date_trunc('day', {due}))"
    # As Duration.start_for: the month may lack that day.
    return f"(CASE WHEN {day} >= {after_it} THEN {after_it} ELSE {start} END AT TIME ZONE 'UTC')"


@compiles(_Earliest, "sqlite")
def _earliest_on_sqlite(element: _Earliest, compiler: SQLCompiler, **options: object) -> str:
    return _folded("min", parts_of(element, compiler, options), _LARGEST)


@compiles(_Latest, "sqlite")
def _latest_on_sqlite(element: _Latest, compiler: SQLCompiler, **options: object) -> str:
    return _folded("max", parts_of(element, compiler, options), _SMALLEST)


def _folded(function: str, parts: Sequence[str], nothing: str) -> str:
    """Fold any number of parts; SQLite's own functions are NULL as soon as one argument is."""
    known = [f"ifnull({part}, {nothing})" for part in parts]
    while len(known) > 1:
        groups = [known[start : start + _AT_ONCE] for start in range(0, len(known), _AT_ONCE)]
        known = [f"{function}({', '.join(some)})" if len(some) > 1 else some[0] for some in groups]
    return f"nullif({known[0]}, {nothing})"


@compiles(_Earliest, "postgresql")
def _earliest_on_postgresql(element: _Earliest, compiler: SQLCompiler, **options: object) -> str:
    return f"LEAST({', '.join(parts_of(element, compiler, options))})"


@compiles(_Latest, "postgresql")
def _latest_on_postgresql(element: _Latest, compiler: SQLCompiler, **options: object) -> str:
    return f"GREATEST({', '.join(parts_of(element, compiler, options))})"


@compiles(_Nothing, "sqlite")
def _nothing_on_sqlite(_: _Nothing, __: SQLCompiler, **___: object) -> str:
    return "NULL"


@compiles(_Nothing, "postgresql")
def _nothing_on_postgresql(_: _Nothing, __: SQLCompiler, **___: object) -> str:
    return "CAST(NULL AS TIMESTAMPTZ)"
