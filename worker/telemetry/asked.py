"""Whether the environment asks for traces, by the variables that OpenTelemetry itself defines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from worker.model.errors import TenureError

_OTLP = "http/protobuf"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


class TracesUnavailable(TenureError):
    """Traces are asked for in a way that cannot be had here."""

    code = "traces_unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Traces are asked for, under this name of the service. Where to, the exporter reads for itself."""

    service: str


def asked_for(environment: Mapping[str, str] = os.environ) -> Asked | None:
    """Return what is asked for; None where nothing is. Raises TracesUnavailable.

    An endpoint alone asks for traces, as does OTEL_TRACES_EXPORTER=otlp without one (the collector of this
    machine). OTEL_SDK_DISABLED=true and OTEL_TRACES_EXPORTER=none say no to both.
    """
    exporter = _first(environment, ("OTEL_TRACES_EXPORTER",)).lower()
    disabled = _first(environment, ("OTEL_SDK_DISABLED",)).lower() == "true"
    if disabled or exporter == "none" or not (exporter or _first(environment, _ENDPOINTS)):
        return None
    if exporter not in {"", "otlp"}:
        raise TracesUnavailable(
            "OTEL_TRACES_EXPORTER names something that Tenure cannot send to.",
            repair="Set it to otlp, or to none.",
        )
    if _first(environment, _PROTOCOLS).lower() not in {"", _OTLP}:
        raise TracesUnavailable(
            "OTEL_EXPORTER_OTLP_PROTOCOL names a protocol that Tenure does not speak.",
            repair=f"Set it to {_OTLP}, and name the collector's port for HTTP (4318 as a rule).",
        )
    return Asked(service=service_name(environment))


def service_name(environment: Mapping[str, str] = os.environ) -> str:
    """Return the name under which logs and traces speak of this service."""
    return _first(environment, ("OTEL_SERVICE_NAME",)) or "tenure"


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((found for name in names if (found := environment.get(name, "").strip())), "")
