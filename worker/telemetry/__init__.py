"""What Tenure tells those who operate it: logs, alerts and meters."""

from __future__ import annotations

from worker.telemetry.logs import log, raise_alert, redact, set_up_logging

__all__ = ["log", "raise_alert", "redact", "set_up_logging"]
