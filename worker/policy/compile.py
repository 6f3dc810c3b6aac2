"""A policy's ``match`` and ``except`` as one SQL expression, equal in meaning to ``matches``.

The one file here that imports SQLAlchemy; a test holds both equal on SQLite and PostgreSQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, ColumnElement, String, and_, false, literal, not_, or_, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from worker.model.decision import TagSelector
from worker.model.errors import Invalid
from worker.policy.document import Match, Policy

_ESCAPE = "!"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of the threads: text, and ``tags`` a JSON (or JSONB) object of texts."""

    project: ColumnElement[Any]
    kind: ColumnElement[Any]
    owner: ColumnElement[Any]
    tags: ColumnElement[Any]


def match_clause(policy: Policy, columns: Columns) -> ColumnElement[bool]:
    """Return the condition that a thread's row is covered by the policy; it is never NULL."""
    clause = _covered(policy.match, columns)
    if policy.except_ is None:
        return clause
    return and_(clause, not_(_covered(policy.except_, columns)))


def _covered(match: Match, columns: Columns) -> ColumnElement[bool]:
    if match.all:
        return true()
    wanted: list[ColumnElement[bool]] = []
    if match.projects:
        wanted.append(or_(*(_glob(columns.project, pattern) for pattern in match.projects)))
    if match.kinds:
        wanted.append(columns.kind.in_([kind.value for kind in match.kinds]))
    if match.owners:
        wanted.append(or_(*(_glob(columns.owner, pattern) for pattern in match.owners)))
    wanted.extend(_tag(columns.tags, selector) for selector in match.tags)
    return and_(*wanted) if wanted else false()


def _glob(column: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
    if "*" not in pattern and "?" not in pattern:
        return column == pattern
    return _Glob(column, literal(_for_glob(pattern)), literal(_for_like(pattern)))


def _tag(tags: ColumnElement[Any], selector: TagSelector) -> ColumnElement[bool]:
    value = _TagValue(tags, literal(selector.key))
    match selector.operator:
        case "In":
            return and_(value.is_not(None), value.in_(selector.values))
        case "NotIn":
            return or_(value.is_(None), value.not_in(selector.values))
        case "Exists":
            return value.is_not(None)
        case "DoesNotExist":
            return value.is_(None)
        case other:
            raise Invalid(
                f'The operator "{other}" is unknown.',
                repair="Use In, NotIn, Exists or DoesNotExist.",
                code="bad_operator",
            )


class _Glob(FunctionElement[bool]):
    """An anchored, case-sensitive glob: column, pattern for GLOB, pattern for LIKE."""

    inherit_cache = True
    type = Boolean()


@compiles(_Glob, "sqlite")
def _glob_on_sqlite(element: _Glob, compiler: SQLCompiler, **options: object) -> str:
    # SQLite's LIKE ignores case; its GLOB does not, and knows the same two wildcards.
    column, glob, _ = element.clauses
    return f"({compiler.process(column, **options)} GLOB {compiler.process(glob, **options)})"


@compiles(_Glob, "postgresql")
def _glob_on_postgresql(element: _Glob, compiler: SQLCompiler, **options: object) -> str:
    column, _, like = element.clauses
    text, pattern = compiler.process(column, **options), compiler.process(like, **options)
    return f"({text} LIKE {pattern} ESCAPE '{_ESCAPE}')"


def _for_glob(pattern: str) -> str:
    # A bracket is refused in policies; should one get here, it stands for itself.
    return pattern.replace("[", "[[]")


def _for_like(pattern: str) -> str:
    for special in (_ESCAPE, "%", "_"):
        pattern = pattern.replace(special, _ESCAPE + special)
    return pattern.replace("*", "%").replace("?", "_")


class _TagValue(FunctionElement[str]):
    """The text of one tag, or NULL where it is missing: tags, key. The key is bound, never part of a path."""

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
