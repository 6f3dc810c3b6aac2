"""What Tenure tells those who operate it: logs, alerts, meters and traces."""

from __future__ import annotations

from worker.telemetry.logs import ERROR_TYPE, log, raise_alert, redact, set_up_logging
from worker.telemetry.meters import Alert

__all__ = ["ERROR_TYPE", "Alert", "log", "raise_alert", "redact", "set_up_logging"]
