"""Logs, set up once per process: structlog, JSON lines for machines, colours for a terminal."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

import structlog

from worker.telemetry.meters import Alert, count

# Whatever looks like a secret is cut before it reaches any output.
_SECRETS = re.compile(
    r"(sk-[A-Za-z0-9_-]{8,}|tnr_[A-Za-z0-9]+_[A-Za-z0-9]+_[A-Za-z0-9]+|(?<=Bearer )\S+|(?<=://)[^/\s:@]*:[^@/\s]+(?=@))"
)


def redact(text: str) -> str:
    """Return the text with keys, bearer tokens and passwords in URLs cut out."""
    return _SECRETS.sub("[redacted]", text)


def _redact_event(_: object, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
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


def set_up_logging(log_format: Literal["", "console", "json"] = "", level: str = "info") -> None:
    """Send every log of this process to stderr: one JSON object a line, or readable on a terminal."""
    readable = log_format == "console" or (log_format == "" and sys.stderr.isatty())
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="@timestamp"),
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer(sort_keys=True)
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    _adopt_stdlib(shared, renderer, number)


def _adopt_stdlib(
    shared: list[structlog.types.Processor], renderer: structlog.types.Processor, number: int
) -> None:
    """Libraries log through the standard library; their lines take the same form."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
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
