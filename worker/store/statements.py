"""Statements as spans: how long the database took, for whom. Watched only where traces are made.

A span tells the operation and, of a write, the table; never the statement or its values.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, event

from worker.telemetry import traces

_KNOWN = frozenset({"BEGIN", "DELETE", "INSERT", "PRAGMA", "SELECT", "SET", "UPDATE", "WITH"})
_OPEN = "tenure_open_spans"


def watch(engine: Engine) -> None:
    """Open a span for each statement of this engine that is sent inside another span.

    Outside of any, such as while a worker looks whether there is anything to do, none is made: each would be
    a trace of its own.
    """
    event.listen(engine, "before_cursor_execute", _begin)
    event.listen(engine, "after_cursor_execute", _end)
    event.listen(engine, "handle_error", _fail)


def _begin(connection: Connection, _: object, statement: str, *more: Any) -> None:  # noqa: ANN401 - SQLAlchemy's
    if traces.here() is None:
        return
    operation = statement.lstrip().partition(" ")[0].upper()
    operation = operation if operation in _KNOWN else "OTHER"
    table = _written(more[1])
    facts = {
        "db.system.name": connection.dialect.name,
        "db.operation.name": operation,
        "db.collection.name": table,
    }
    stack = ExitStack()
    stack.enter_context(_span(f"{operation} {table}" if table else operation, facts))
    # A connection sends one statement at a time.
    connection.info[_OPEN] = stack


def _span(name: str, facts: traces.Facts) -> AbstractContextManager[traces.Span]:
    return traces.span(name, kind="client", facts=facts)


def _written(context: Any) -> str | None:  # noqa: ANN401 - the driver's own, None for a bare statement
    """Return the table that a statement writes to, as SQLAlchemy compiled it."""
    statement = getattr(getattr(context, "compiled", None), "statement", None)
    return getattr(getattr(statement, "table", None), "name", None)


def _end(connection: Connection, *_: object) -> None:
    if (opened := connection.info.pop(_OPEN, None)) is not None:
        opened.close()


def _fail(failed: ExceptionContext) -> None:
    connection, why = failed.connection, failed.original_exception
    if connection is not None and (opened := connection.info.pop(_OPEN, None)) is not None:
        opened.__exit__(type(why), why, None)
