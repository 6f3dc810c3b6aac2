"""What of a span leaves the process: what stands on the list below, and nothing else.

DANGER. Traces go to systems that many people read and that keep them long. Libraries put whole addresses,
queries, statements and messages of errors into spans, and with them ids of providers, owners and keys. So the
list says what may pass, and a library that begins to note more adds nothing to what is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanContext, SpanKind, Status

from worker.telemetry.logs import redact

# Names of OpenTelemetry's semantic conventions first, then Tenure's own words.
LISTED = frozenset(
    {
        "db.collection.name",
        "db.operation.name",
        "db.system.name",
        "error.type",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "messaging.destination.name",
        "messaging.operation.name",
        "messaging.operation.type",
        "messaging.system",
        "network.protocol.version",
        "url.scheme",
        "tenure.actor",
        "tenure.fence",
        "tenure.grade",
        "tenure.item",
        "tenure.items",
        "tenure.kind",
        "tenure.planned",
        "tenure.policy",
        "tenure.project",
        "tenure.provider_request_id",
        "tenure.request_id",
        "tenure.state",
        "tenure.sweep",
        "tenure.thread",
    }
)
# Whom we call is our own setting; by which name somebody calls us is said by them.
_OF_CALLS = frozenset({"server.address", "server.port"})
_LONGEST = 200


class ListedExporter(SpanExporter):
    """Sends copies of spans that hold only what is listed, each text redacted and cut to 200 characters."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them."""
        return self._inner.export([plain(one) for one in spans])

    def shutdown(self) -> None:
        """End; what is under way may be lost."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Whether all of it is sent."""
        return self._inner.force_flush(timeout_millis)


def plain(span: ReadableSpan) -> ReadableSpan:
    """Return the span with what is listed: no events, no words of a status, no state of foreign traces."""
    return ReadableSpan(
        name=redact(span.name)[:_LONGEST],
        context=_bare(span.context),
        parent=None if span.parent is None else _bare(span.parent),
        resource=span.resource,
        attributes=_listed(span.attributes or {}, span.kind),
        links=[Link(_bare(one.context)) for one in span.links],
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _listed(attributes: Mapping[str, object], kind: SpanKind) -> dict[str, str | int]:
    allowed = LISTED | _OF_CALLS if kind is SpanKind.CLIENT else LISTED
    kept: dict[str, str | int] = {}
    for name, value in attributes.items():
        if name not in allowed:
            continue
        if isinstance(value, int):
            kept[name] = value
        elif isinstance(value, str):
            kept[name] = redact(value)[:_LONGEST]
    return kept


def _bare(context: SpanContext) -> SpanContext:
    """Return where a span stands, without the words that somebody else sent along with it."""
    return SpanContext(context.trace_id, context.span_id, context.is_remote, context.trace_flags)
