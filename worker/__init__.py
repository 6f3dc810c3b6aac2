"""Tenure: decides how long an AI provider keeps a thread, deletes it in time, and proves what it saw."""

from __future__ import annotations

__version__ = "0.1.0"
