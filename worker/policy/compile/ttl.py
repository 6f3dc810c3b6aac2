"""A producer's TTL, a text, in SQL: when it is over, or NULL where the text is no duration.

On SQLite the parser itself is asked. PostgreSQL reads the same grammar by one regular expression; a test
holds both equal.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from worker.policy.compile.instants import LAST_ON_POSTGRESQL, Instant, Moment, in_utc, parts_of

_ISO = (
    "P(?=[0-9T])(?:([0-9]+)Y)?(?:([0-9]+)M)?(?:([0-9]+)W)?(?:([0-9]+)D)?"
    "(?:T(?=[0-9])(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)S)?)?"
)
_PATTERN = f"^(?:{_ISO}|(0|[1-9][0-9]*)([hdw]))$"
# At most nine digits, asked apart: bounds within the pattern make it 20 times slower to prepare.
_TOO_LONG = "[0-9]{10}"
_COUNTED = (
    "coalesce(p[1]::bigint, 0) * 12 + coalesce(p[2]::bigint, 0) AS months,"
    " coalesce(p[3]::bigint, 0) * 604800 + coalesce(p[4]::bigint, 0) * 86400"
    " + coalesce(p[5]::bigint, 0) * 3600 + coalesce(p[6]::bigint, 0) * 60 + coalesce(p[7]::bigint, 0)"
    " + coalesce(p[8]::bigint, 0)"
    " * CASE p[9] WHEN 'h' THEN 3600 WHEN 'd' THEN 86400 ELSE 604800 END AS seconds"
)
# A hundred years from 2000-01-01, in months and in seconds: what is longer in either is longer in all.
_MOST_MONTHS, _MOST_SECONDS = 1200, 36525 * 86400
_LENGTH = "make_interval(months => CAST(months AS integer))"


def ttl_end(start: Instant, ttl: ColumnElement[Any]) -> Instant:
    """Return when a TTL that starts then is over; NULL where the text is no duration."""
    return _TtlEnd(start, ttl)


class _TtlEnd(Moment):
    inherit_cache = True


@compiles(_TtlEnd, "sqlite")
def _ttl_end_on_sqlite(element: _TtlEnd, compiler: SQLCompiler, **options: object) -> str:
    start, ttl = parts_of(element, compiler, options)
    return f"tenure_ttl_end({start}, {ttl})"


@compiles(_TtlEnd, "postgresql")
def _ttl_end_on_postgresql(element: _TtlEnd, compiler: SQLCompiler, **options: object) -> str:
    start, ttl = parts_of(element, compiler, options)
    read = f"SELECT regexp_match({ttl}, '{_PATTERN}') AS p"
    sound = f"p IS NOT NULL AND {ttl} !~ '{_TOO_LONG}'"
    counted = f"SELECT {_COUNTED} FROM ({read}) AS read WHERE {sound} OFFSET 0"  # noqa: S608 - compiled SQL
    rest = "make_interval(secs => seconds)"
    end = f"({in_utc(start)} + {_LENGTH}) AT TIME ZONE 'UTC' + {rest}"
    # The inner CASE is reached only with numbers that an interval can hold.
    sane = f"months <= {_MOST_MONTHS} AND seconds <= {_MOST_SECONDS} AND months + seconds > 0"
    short = f"timestamp '2000-01-01' + {_LENGTH} + {rest} <= timestamp '2100-01-01'"
    capped = f"LEAST({end}, {LAST_ON_POSTGRESQL})"
    answer = f"CASE WHEN {sane} THEN CASE WHEN {short} THEN {capped} END END"
    return f"(SELECT {answer} FROM ({counted}) AS counted)"  # noqa: S608 - compiled SQL
