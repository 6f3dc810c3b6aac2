"""Spans, made by OpenTelemetry's SDK and sent by OTLP over HTTP; imported only where traces are asked for.

The SDK reads its own variables: where to send, with which headers, which sampler, how large a batch.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker import __version__
from worker.telemetry.asked import Asked
from worker.telemetry.listed import ListedExporter
from worker.telemetry.traces import Facts, SpanKind

_KINDS = {
    "internal": trace.SpanKind.INTERNAL,
    "client": trace.SpanKind.CLIENT,
    "producer": trace.SpanKind.PRODUCER,
    "consumer": trace.SpanKind.CONSUMER,
}
_ERROR = "error.type"
_TRACEPARENT = "traceparent"
# A collector that does not answer keeps no process from ending.
_CLOSE_SECONDS = 3.0
_W3C = TraceContextTextMapPropagator()


class OpenSpan:
    """One span of the SDK, under way."""

    def __init__(self, inner: trace.Span) -> None:
        self._inner = inner

    def note(self, facts: Facts) -> None:
        """Add facts; `error.type` makes it a failed span."""
        for name, value in facts.items():
            if value is not None:
                self._inner.set_attribute(name, value)
        if facts.get(_ERROR) is not None:
            self._inner.set_status(StatusCode.ERROR)


class SdkTracer:
    """Makes spans with the SDK's provider (see `traces.Tracer`)."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider
        self._tracer = provider.get_tracer("tenure", __version__)

    @contextmanager
    def span(
        self, name: str, kind: SpanKind, facts: Facts, links: Sequence[str], parent: str | None
    ) -> Iterator[OpenSpan]:
        """Open a span as the current one of this thread or task."""
        with self._tracer.start_as_current_span(
            name,
            context=None if parent is None else _W3C.extract({_TRACEPARENT: parent}),
            kind=_KINDS[kind],
            attributes={key: value for key, value in facts.items() if value is not None},
            links=[Link(place) for one in links if (place := _place(one)).is_valid],
            record_exception=False,
            set_status_on_exception=False,
        ) as inner:
            opened = OpenSpan(inner)
            try:
                yield opened
            except BaseException as e:
                opened.note({_ERROR: type(e).__name__})
                raise

    def note(self, facts: Facts) -> None:
        """Add facts to the current span."""
        OpenSpan(trace.get_current_span()).note(facts)

    def ids(self) -> tuple[str, str] | None:
        """Return the ids of the current trace and span."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)

    def here(self) -> str | None:
        """Return the current span as a traceparent where it is sampled: a link to another leads nowhere."""
        if not trace.get_current_span().get_span_context().trace_flags.sampled:
            return None
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier.get(_TRACEPARENT)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Leave the trace for a while."""
        token = contexts.attach(contexts.Context())
        try:
            yield
        finally:
            contexts.detach(token)

    def close(self) -> None:
        """Send what is left; gives up after three seconds."""
        closing = threading.Thread(target=self.provider.shutdown, name="tenure-traces", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


def _place(traceparent: str) -> SpanContext:
    return trace.get_current_span(_W3C.extract({_TRACEPARENT: traceparent})).get_span_context()


def make_tracer(asked: Asked, role: str) -> SdkTracer:
    """Return what sends spans to where the OTEL_ variables say."""
    return tracer_over(BatchSpanProcessor(ListedExporter(OTLPSpanExporter())), asked, role)


def tracer_over(processor: SpanProcessor, asked: Asked, role: str) -> SdkTracer:
    """Return what makes spans and hands them to this processor."""
    resource = Resource.create(
        {
            "service.name": asked.service,
            "service.version": __version__,
            "service.instance.id": f"{role}:{socket.gethostname()}:{os.getpid()}",
        }
    )
    # Ended by `close`, in a bounded time; at exit it would wait for as long as a collector hangs.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return SdkTracer(provider)
