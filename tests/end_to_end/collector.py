"""A collector of traces: OTLP over HTTP on a real socket, decoded with OpenTelemetry's own messages."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One span as it came over the wire; ids in hex, ``links`` as (trace, span), ``at`` in ns."""

    role: str
    at: int
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, str | int]
    links: list[tuple[str, str]]


@dataclass(slots=True)
class Collector:
    """What was received. Use it as a context manager."""

    spans: list[Told] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT is set to."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_port}"

    def named(self, name: str, **attributes: str | int) -> list[Told]:
        """Return the spans of that name whose attributes have these values; `_` stands for a dot."""
        wanted = {key.replace("_", ".", 1): value for key, value in attributes.items()}
        return [one for one in self.spans if one.name == name and wanted.items() <= one.attributes.items()]

    def above(self, span: Told) -> list[Told]:
        """Return the way up from a span to the root of its trace, over the borders of processes."""
        known = {(one.trace, one.id): one for one in self.spans}
        way: list[Told] = []
        parent = span.parent
        while parent:
            way.append(known[span.trace, parent])
            parent = way[-1].parent
        return way

    def take(self, path: str, body: bytes) -> None:
        """Decode what one process sent."""
        self.paths.add(path)
        self.raw.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            facts = {one.key: one.value.string_value for one in resource.resource.attributes}
            role = facts["service.instance.id"].partition(":")[0]
            self.spans += [_told(role, one) for scope in resource.scope_spans for one in scope.spans]

    def __enter__(self) -> Self:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


def _told(role: str, span: Span) -> Told:
    return Told(
        role=role,
        at=span.start_time_unix_nano,
        name=span.name,
        kind=Span.SpanKind.Name(span.kind),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        attributes={one.key: one.value.string_value or one.value.int_value for one in span.attributes},
        links=[(one.trace_id.hex(), one.span_id.hex()) for one in span.links],
    )
