"""Spans: what hangs below what, what leads back to what, and what never leaves the process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from sqlalchemy import create_engine, insert, select, text
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from worker.store.statements import watch
from worker.store.tables import trace_start
from worker.store.tables.base import metadata
from worker.telemetry import traces
from worker.telemetry.asked import Asked
from worker.telemetry.listed import ListedExporter
from worker.telemetry.logs import _add_trace
from worker.telemetry.spans import SdkTracer, tracer_over

SECRETS = (
    "sk-proj-0123456789abcdef",
    "tnr_abc123_s3cretpart_c0ffee",
    "Bearer eyJhbGciOi.x.y",
    "postgresql://tenure:pa55word@db:5432/tenure",
)
HIDDEN = ("0123456789abcdef", "s3cretpart", "eyJhbGciOi", "pa55word", "conv_secret")


@dataclass(frozen=True, slots=True)
class Traced:
    """A process that traces, and what it has sent."""

    tracer: SdkTracer
    sent: InMemorySpanExporter

    def spans(self) -> dict[str, ReadableSpan]:
        return {one.name: one for one in self.sent.get_finished_spans()}


@pytest.fixture
def traced() -> Iterator[Traced]:
    sent = InMemorySpanExporter()
    tracer = tracer_over(SimpleSpanProcessor(ListedExporter(sent)), Asked(service="tenure"), "test")
    traces.use(tracer)
    try:
        yield Traced(tracer, sent)
    finally:
        traces.end_tracing()


def _context(span: ReadableSpan) -> SpanContext:
    context = span.context
    assert isinstance(context, SpanContext)
    return context


def test_a_span_hangs_below_the_one_around_it_and_goes_on_from_a_traceparent(traced: Traced) -> None:
    with traces.span("outer"), traces.span("inner"):
        here = traces.here()
    with traces.span("elsewhere", kind="consumer", parent=here):
        pass
    found = traced.spans()
    assert found["inner"].parent == _context(found["outer"])
    elsewhere = found["elsewhere"]
    assert elsewhere.parent is not None
    assert elsewhere.parent.span_id == _context(found["inner"]).span_id
    assert len({_context(one).trace_id for one in found.values()}) == 1


def test_what_is_begun_apart_is_a_trace_of_its_own_and_a_link_leads_back(traced: Traced) -> None:
    with traces.span("registered"):
        begun = traces.here()
    assert begun is not None
    with traces.span("backlog"), traces.apart():
        assert traces.here() is None
        with traces.span("thread", links=[begun, "no traceparent"]):
            pass
    found = traced.spans()
    assert found["thread"].parent is None
    assert _context(found["thread"]).trace_id != _context(found["backlog"]).trace_id
    assert [one.context.span_id for one in found["thread"].links] == [_context(found["registered"]).span_id]


@pytest.mark.parametrize("parent", ["", "00-zz-1-01", "nonsense"])
def test_a_message_with_a_foreign_traceparent_is_the_beginning_of_a_trace(
    traced: Traced, parent: str
) -> None:
    with traces.span("process", parent=parent):
        pass
    assert traced.spans()["process"].parent is None


def test_what_is_raised_passes_through_and_only_its_class_is_told(traced: Traced) -> None:
    with pytest.raises(ValueError, match="conv_secret"), traces.span("broken"):
        raise ValueError("conv_secret of sk-proj-0123456789abcdef")
    broken = traced.spans()["broken"]
    assert dict(broken.attributes or {}) == {"error.type": "ValueError"}
    assert (broken.status.status_code, broken.status.description, broken.events) == (
        StatusCode.ERROR,
        None,
        (),
    )


def test_what_is_not_listed_stays_and_what_is_listed_is_redacted(traced: Traced) -> None:
    tracer = traced.tracer.provider.get_tracer("some.library")
    leaking = SpanContext(
        1, 2, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("v", "conv_secret")])
    )
    parent = trace.set_span_in_context(trace.NonRecordingSpan(leaking))
    with tracer.start_as_current_span(
        f"GET {SECRETS[0]}",
        context=parent,
        kind=SpanKind.SERVER,
        links=[Link(leaking, {"url.full": "conv_secret"})],
    ) as span:
        for name in (
            "url.path",
            "url.query",
            "url.full",
            "db.query.text",
            "server.address",
            "user_agent.original",
        ):
            span.set_attribute(name, "conv_secret")
        span.set_attribute("tenure.project", " ".join(SECRETS))
        span.set_attribute("http.route", "/v1/threads/{thread_id}" + "x" * 500)
        span.set_attribute("tenure.state", ["conv_secret"])
        span.set_attribute("http.response.status_code", 200)
        span.add_event("exception", {"exception.message": "conv_secret"})
        span.set_status(Status(StatusCode.ERROR, "conv_secret"))
    (sent,) = traced.sent.get_finished_spans()
    assert [word for word in HIDDEN if word in sent.to_json()] == []
    assert set(sent.attributes or {}) == {"tenure.project", "http.route", "http.response.status_code"}
    assert len(str((sent.attributes or {})["http.route"])) == 200
    assert sent.parent is not None
    assert (sent.parent.trace_id, sent.parent.span_id) == (1, 2)


def test_whom_we_call_is_told_and_by_which_name_we_are_called_is_not(traced: Traced) -> None:
    for kind in (SpanKind.CLIENT, SpanKind.SERVER):
        tracer = traced.tracer.provider.get_tracer("some.library")
        with tracer.start_as_current_span(kind.name, kind=kind, attributes={"server.address": "api.example"}):
            pass
    told = {name: dict(one.attributes or {}) for name, one in traced.spans().items()}
    assert told == {"CLIENT": {"server.address": "api.example"}, "SERVER": {}}


def test_a_statement_is_a_span_without_its_text_and_only_inside_another(traced: Traced) -> None:
    engine = create_engine("sqlite://")
    watch(engine)
    metadata.create_all(engine, tables=[trace_start])
    row = {"subject": "conv_secret", "traceparent": "x"}
    with traces.span("work"), engine.begin() as connection:
        connection.execute(insert(trace_start).values(row))
        connection.execute(select(trace_start).where(trace_start.c.subject == "conv_secret"))
        with pytest.raises(OperationalError):
            connection.execute(text("select conv_secret from nowhere"))
        connection.execute(text("select 1"))
    found = traced.sent.get_finished_spans()
    assert [one.name for one in found] == ["INSERT trace_start", "SELECT", "SELECT", "SELECT", "work"]
    assert [dict(one.attributes or {}).get("error.type") for one in found[:4]] == [
        None,
        None,
        "OperationalError",
        None,
    ]
    assert all(one.parent == _context(found[-1]) for one in found[:4])
    assert "conv_secret" not in "".join(one.to_json() for one in found)
    engine.dispose()


def test_a_line_of_the_log_names_its_trace(traced: Traced) -> None:
    with traces.span("work"):
        inside = dict(_add_trace(None, "", {"event": "thing.happened"}))
    outside = dict(_add_trace(None, "", {"event": "thing.happened"}))
    work = _context(traced.spans()["work"])
    assert inside["trace_id"] == trace.format_trace_id(work.trace_id)
    assert inside["span_id"] == trace.format_span_id(work.span_id)
    assert outside == {"event": "thing.happened"}


def test_tracing_that_cannot_be_had_is_told_once_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    with capture_logs() as logs:
        traces.set_up_tracing("api")
    assert [one["event"] for one in logs] == ["traces.unavailable"]
    assert traces.tracing() is None
