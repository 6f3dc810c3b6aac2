"""Traces: spans over the borders of processes, where the operator's OTEL_ variables ask for them.

This is all that the rest of Tenure knows of tracing. Switched off, which is the default, nothing is imported
for it and a span is one comparison. What spans are made of is `spans`; what leaves the process is `listed`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, Protocol, TypeAlias

import structlog

from worker.telemetry.asked import Asked, TracesUnavailable, asked_for

Facts: TypeAlias = Mapping[str, "str | int | None"]
SpanKind: TypeAlias = Literal["internal", "client", "producer", "consumer"]


class Span(Protocol):
    """What is under way; tell it what is known by its end."""

    def note(self, facts: Facts) -> None:
        """Add facts; those that are None are left out, and `error.type` makes it a failed one."""


class Tracer(Protocol):
    """What makes spans. There is one over OpenTelemetry's SDK, and none while tracing is off."""

    @property
    def provider(self) -> Any:  # noqa: ANN401 - OpenTelemetry's, which is not imported here
        """OpenTelemetry's own TracerProvider, for libraries that make spans of themselves."""

    def span(
        self, name: str, kind: SpanKind, facts: Facts, links: Sequence[str], parent: str | None
    ) -> AbstractContextManager[Span]:
        """Open a span; see `span` below."""

    def note(self, facts: Facts) -> None:
        """Add facts to the current span."""

    def here(self) -> str | None:
        """Return where we are as a W3C traceparent; None outside any span that is recorded."""

    def ids(self) -> tuple[str, str] | None:
        """Return the ids of the current trace and span in hex; None outside any."""

    def apart(self) -> AbstractContextManager[None]:
        """Leave the trace for a while; see `apart` below."""

    def close(self) -> None:
        """Send what is left, for a bounded time."""


class _Nothing:
    def note(self, facts: Facts) -> None:
        del facts


_NOTHING = _Nothing()
_NO_FACTS: Facts = {}
_current: list[Tracer] = []


def set_up_tracing(role: str) -> None:
    """Begin to trace in this process where the environment asks for it; call it after a fork.

    Traces never keep a process from starting: what is missing for them is said in a warning.
    """
    try:
        asked = asked_for()
        if asked is None or _current:
            return
        _current.append(_make(asked, role))
    except TracesUnavailable as e:
        structlog.get_logger().warning("traces.unavailable", problem=e.problem, repair=e.repair)


def _make(asked: Asked, role: str) -> Tracer:
    # The SDK takes a tenth of a second to import, and is an extra that may not be installed.
    try:
        from worker.telemetry.spans import make_tracer  # noqa: PLC0415 - see above
    except ImportError as e:
        problem = f"Traces are asked for, and {e.name or 'OpenTelemetry'} is not installed."
        raise TracesUnavailable(problem, repair="Install tenure[otel], or unset OTEL_TRACES_EXPORTER.") from e
    return make_tracer(asked, role)


def end_tracing() -> None:
    """Send what is left and trace no more; takes no longer than a few seconds, whatever hangs."""
    while _current:
        _current.pop().close()


def use(tracer: Tracer) -> None:
    """Trace with this from here on."""
    _current[:] = [tracer]


def tracing() -> Tracer | None:
    """Return what spans are made with, None while tracing is off."""
    return _current[0] if _current else None


@contextmanager
def span(
    name: str,
    *,
    kind: SpanKind = "internal",
    facts: Facts = _NO_FACTS,
    links: Sequence[str] = (),
    parent: str | None = None,
) -> Iterator[Span]:
    """Open a span below the current one, or below ``parent``, which like ``links`` are W3C traceparents.

    What is raised inside passes through, and its class is noted; its words are not.
    """
    if not _current:
        yield _NOTHING
        return
    with _current[0].span(name, kind, facts, links, parent) as opened:
        yield opened


def note(facts: Facts) -> None:
    """Add facts to the current span, which may be a library's."""
    if _current:
        _current[0].note(facts)


def ids() -> tuple[str, str] | None:
    """Return the ids of the current trace and span in hex, for a line of the log; None outside any."""
    return _current[0].ids() if _current else None


def here() -> str | None:
    """Return where we are as a W3C traceparent, to be kept or sent; None where nothing is recorded."""
    return _current[0].here() if _current else None


@contextmanager
def apart() -> Iterator[None]:
    """Leave the current trace: what is begun inside is a trace of its own."""
    if not _current:
        yield
        return
    with _current[0].apart():
        yield
