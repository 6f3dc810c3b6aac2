"""What Tenure tells those who operate it: logs, alerts and meters."""

from __future__ import annotations

from worker.telemetry.logs import log, raise_alert, redact, set_up_logging
from worker.telemetry.meters import Alert

__all__ = ["Alert", "log", "raise_alert", "redact", "set_up_logging"]
