"""Logs, set up once per process: structlog, JSON lines for machines, colours for a terminal.

A line has the names of OpenTelemetry's log data model and semantic conventions where those have one, and the
words of Tenure's glossary otherwise. docs/operations.md lists both.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, TypeAlias

import structlog

from worker import __version__
from worker.telemetry import traces
from worker.telemetry.asked import service_name
from worker.telemetry.meters import Alert, count

ERROR_TYPE = "error.type"

_Event: TypeAlias = MutableMapping[str, Any]
# Whatever looks like a secret is cut before it reaches any output.
_SECRETS = re.compile(
    r"(sk-[A-Za-z0-9_-]{8,}|tnr_[A-Za-z0-9]+_[A-Za-z0-9]+_[A-Za-z0-9]+|(?<=Bearer )\S+|(?<=://)[^/\s:@]*:[^@/\s]+(?=@))"
)


def redact(text: str) -> str:
    """Return the text with keys, bearer tokens and passwords in URLs cut out."""
    return _SECRETS.sub("[redacted]", text)


def _redact_event(_: object, __: str, event: _Event) -> Mapping[str, Any]:
    return {key: _redacted(value) for key, value in event.items()}


def _redacted(value: object) -> object:
    """Return the value with every text in it redacted, however deep."""
    match value:
        case str():
            return redact(value)
        case Mapping():
            return {key: _redacted(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted(inner) for inner in value]
        case _:
            return value


def _add_trace(_: object, __: str, event: _Event) -> _Event:
    """Name the trace that a line belongs to, where traces are made."""
    if (ids := traces.ids()) is not None:
        event["trace_id"], event["span_id"] = ids
    return event


def _tell_exception(_: object, __: str, event: _Event) -> _Event:
    """Turn an exception into text, under the names that the conventions have for it."""
    raised = _raised(event.pop("exc_info", None))
    if raised is None:
        return event
    event["exception.type"] = type(raised).__name__
    event["exception.message"] = str(raised)
    event["exception.stacktrace"] = "".join(traceback.format_exception(raised))
    event.setdefault(ERROR_TYPE, type(raised).__name__)
    return event


def _raised(told: object) -> BaseException | None:
    """Return the exception that a line is about: given itself, as a triple, or as "the current one"."""
    match told:
        case BaseException() as raised:
            return raised
        case (_, BaseException() as raised, _):
            return raised
        case None | False:
            return None
        case _:
            return sys.exc_info()[1]


def _show_exception(_: object, __: str, event: _Event) -> _Event:
    """Let the terminal show a traceback as one: `exception` is its word for the text of it."""
    if "exception.stacktrace" in event:
        event["exception"] = event.pop("exception.stacktrace")
    return event


def _name_fields(_: object, __: str, event: _Event) -> _Event:
    """Give a line the names of the log data model: a library's has a body, one of ours an event's name."""
    foreign = "logger" in event
    event["body" if foreign else "event_name"] = event.pop("event", "")
    event["severity_text"] = str(event.pop("level", "")).upper()
    event["service.name"], event["service.version"] = service_name(), __version__
    return event


def set_up_logging(log_format: Literal["", "console", "json"] = "", level: str = "info") -> None:
    """Send every log of this process to stderr: one JSON object a line, or readable on a terminal."""
    readable = log_format == "console" or (log_format == "" and sys.stderr.isatty())
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        _add_trace,
        _tell_exception,
        _redact_event,
    ]
    last: list[structlog.types.Processor] = (
        [_show_exception, structlog.dev.ConsoleRenderer()]
        if readable
        else [_name_fields, structlog.processors.JSONRenderer(sort_keys=True)]
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    _adopt_stdlib([structlog.stdlib.add_logger_name, *shared], last, number)


def _adopt_stdlib(
    first: list[structlog.types.Processor], last: list[structlog.types.Processor], number: int
) -> None:
    """Libraries log through the standard library; their lines take the same form."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=first,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))


def log() -> structlog.typing.FilteringBoundLogger:
    """Return the logger; events are named ``noun.verb_past``."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


def raise_alert(what: Alert, **facts: object) -> None:
    """Tell the people who operate Tenure: the log event ``alert.raised``, and a count of it."""
    count(lambda to: to.alerts.labels(alert=what).inc())
    log().error("alert.raised", alert=what, **facts)
