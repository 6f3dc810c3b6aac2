"""Traces are made where OpenTelemetry's own variables ask for them, and nowhere else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from worker.telemetry.asked import Asked, TracesUnavailable, asked_for

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
OFF = """
import sys
import worker.cli.main, worker.celery, worker.wiring, worker.http.app
from worker.telemetry import traces
traces.set_up_tracing("api")
with traces.span("anything", facts={"tenure.sweep": "swp_1"}) as told:
    told.note({"tenure.state": "done"})
    assert traces.here() is None and traces.ids() is None
with traces.apart():
    traces.note({"tenure.state": "done"})
traces.end_tracing()
# The client of Redis imports the SDK's meters by itself where it finds them.
ours = ("opentelemetry.exporter", "worker.telemetry.spans", "worker.telemetry.listed")
print(sorted(name for name in sys.modules if name.startswith(ours)))
"""
MISSING = """
import sys
sys.modules["opentelemetry.exporter.otlp.proto.http.trace_exporter"] = None
from worker.telemetry import set_up_logging, traces
set_up_logging("json")
traces.set_up_tracing("api")
with traces.span("anything"):
    print("goes on")
"""


def _python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True, timeout=60
    )


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "tenure"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
    ],
)
def test_without_a_wish_there_are_none(environment: dict[str, str]) -> None:
    assert asked_for(environment) is None


@pytest.mark.parametrize(
    ("environment", "service"),
    [
        (ENDPOINT, "tenure"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, "tenure"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "tenure"),
        ({**ENDPOINT, "OTEL_SERVICE_NAME": "retention", "OTEL_SDK_DISABLED": "false"}, "retention"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "tenure"),
    ],
)
def test_an_endpoint_or_an_exporter_asks_for_them(environment: dict[str, str], service: str) -> None:
    assert asked_for(environment) == Asked(service=service)


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_TRACES_EXPORTER": "console"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "zipkin"},
        {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
    ],
)
def test_what_cannot_be_had_is_named_with_its_repair(environment: dict[str, str]) -> None:
    with pytest.raises(TracesUnavailable) as refused:
        asked_for(environment)
    assert "Set it to" in refused.value.repair


def test_switched_off_nothing_is_imported_for_them() -> None:
    assert _python(OFF).stdout.strip() == "[]"


def test_a_missing_package_is_a_warning_and_no_reason_not_to_start() -> None:
    done = _python(MISSING, **ENDPOINT)
    assert done.stdout.strip() == "goes on"
    assert done.stderr.count("traces.unavailable") == 1
    assert "tenure[otel]" in done.stderr
