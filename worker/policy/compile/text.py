"""Conditions on texts that both databases read alike: sets, anchored globs and the value of a tag."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import JSON, Boolean, ColumnElement, String, Text, case, false, literal, or_, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

# A longer list is one bound value: a statement may hold only so many of them.
_FEW = 8
_TEXTS = JSON().with_variant(ARRAY(Text()), "postgresql")
# SQLite nests each OR one deeper, and goes no deeper than 1000.
_AT_ONCE = 50
_RUN = re.compile(r"\*+")
_WILD = re.compile(r"[*?]")
_SPECIAL = re.compile(r"[.^$+()\[\]{}|\\]")


def any_of(clauses: Sequence[ColumnElement[bool]]) -> ColumnElement[bool]:
    """Return whether any of the conditions holds, however many there are."""
    if len(clauses) <= _AT_ONCE:
        return or_(false(), *clauses)
    parts = [or_(*clauses[start : start + _AT_ONCE]) for start in range(0, len(clauses), _AT_ONCE)]
    return case(*((part, true()) for part in parts), else_=false())


def one_of(column: ColumnElement[Any], values: Sequence[str]) -> ColumnElement[bool]:
    """Return whether the text is one of these, case and all."""
    if len(values) <= _FEW:
        return column.in_(values)
    return _OneOf(column, literal(list(values), _TEXTS))


def is_glob(pattern: str) -> bool:
    """Whether the pattern fits more than itself."""
    return "*" in pattern or "?" in pattern


def glob(column: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
    """Return whether the whole text fits: ``*`` is any run, ``?`` one character, everything else itself."""
    # Two stars mean what one means; SQLite's GLOB would try every way to share the run between them.
    single = _RUN.sub("*", pattern)
    patterns = (literal(_for_glob(single), Text()), literal(_for_regex(single), Text()))
    if single.count("*") == 1 and "?" not in single:
        ends = (literal(end, Text()) for end in single.split("*"))
        return _Ends(column, patterns[0], *ends)
    piece = max(_WILD.split(single), key=len)
    return _Glob(column, *patterns, literal(piece, Text()))


def tag_value(tags: ColumnElement[Any], key: str) -> ColumnElement[Any]:
    """Return the text of one tag, or NULL where it is missing."""
    return _TagValue(tags, literal(key, Text()))


class _OneOf(FunctionElement[bool]):
    """Whether a text is in a bound list: column, list."""

    inherit_cache = True
    type = Boolean()


@compiles(_OneOf, "sqlite")
def _one_of_on_sqlite(element: _OneOf, compiler: SQLCompiler, **options: object) -> str:
    column, values = (compiler.process(one, **options) for one in element.clauses)
    return f"({column} IN (SELECT one.value FROM json_each({values}) AS one))"  # noqa: S608 - compiled SQL


@compiles(_OneOf, "postgresql")
def _one_of_on_postgresql(element: _OneOf, compiler: SQLCompiler, **options: object) -> str:
    column, values = (compiler.process(one, **options) for one in element.clauses)
    return f"({column} = ANY (CAST({values} AS TEXT[])))"


class _Ends(FunctionElement[bool]):
    """A glob with one star: column, pattern for GLOB, how the text begins, how it ends."""

    inherit_cache = True
    type = Boolean()


class _Glob(FunctionElement[bool]):
    """Any other glob: column, pattern for GLOB, regular expression, the longest text that it contains."""

    inherit_cache = True
    type = Boolean()


@compiles(_Ends, "sqlite")
@compiles(_Glob, "sqlite")
def _glob_on_sqlite(element: _Glob | _Ends, compiler: SQLCompiler, **options: object) -> str:
    # SQLite's LIKE ignores case; its GLOB does not, and knows the same two wildcards.
    column, pattern = (compiler.process(one, **options) for one in list(element.clauses)[:2])
    return f"({column} GLOB {pattern})"


@compiles(_Ends, "postgresql")
def _ends_on_postgresql(element: _Ends, compiler: SQLCompiler, **options: object) -> str:
    column, _, *ends = (compiler.process(one, **options) for one in element.clauses)
    text, (begin, end) = f'({column} COLLATE "C")', (f"CAST({one} AS TEXT)" for one in ends)
    apart = f"char_length({text}) >= char_length({begin}) + char_length({end})"
    return f"(starts_with({text}, {begin}) AND right({text}, char_length({end})) = {end} AND {apart})"


@compiles(_Glob, "postgresql")
def _glob_on_postgresql(element: _Glob, compiler: SQLCompiler, **options: object) -> str:
    # The column's collation must have no say in what a character is. A server keeps 32 compiled expressions;
    # with more of them each row would compile them all anew, so a text that cannot fit is refused before.
    column, _, regex, piece = (compiler.process(one, **options) for one in element.clauses)
    text = f'{column} COLLATE "C"'
    return f"(strpos({text}, CAST({piece} AS TEXT)) > 0 AND ({text}) ~ CAST({regex} AS TEXT))"


def _for_glob(pattern: str) -> str:
    # A bracket is refused in policies; should one get here, it stands for itself.
    return pattern.replace("[", "[[]")


def _for_regex(pattern: str) -> str:
    # (?s): "." is any character, a newline too, and "^" and "$" are the ends of the text and of no line.
    escaped = _SPECIAL.sub(r"\\\g<0>", pattern)
    return "(?s)^" + escaped.replace("*", ".*").replace("?", ".") + "$"


class _TagValue(FunctionElement[str]):
    """The text of one tag, or NULL: tags, key. The key is bound, never part of a path."""

    inherit_cache = True
    type = String()


@compiles(_TagValue, "sqlite")
def _tag_on_sqlite(element: _TagValue, compiler: SQLCompiler, **options: object) -> str:
    tags, key = (compiler.process(one, **options) for one in element.clauses)
    return f"(SELECT tag.value FROM json_each({tags}) AS tag WHERE tag.key = {key})"  # noqa: S608 - compiled SQL


@compiles(_TagValue, "postgresql")
def _tag_on_postgresql(element: _TagValue, compiler: SQLCompiler, **options: object) -> str:
    tags, key = (compiler.process(one, **options) for one in element.clauses)
    return f"({tags} ->> CAST({key} AS TEXT))"
