"""The tables, which Alembic reads too.

Constraints hold what code must not break: one registration per provider object, one open work item per
thread, one sweep per policy and slot, one attempt per item, fence and stage, one leaf per index.
"""

from __future__ import annotations

from worker.store.tables.answer import kept_answer
from worker.store.tables.base import metadata
from worker.store.tables.coverage import coverage, coverage_look
from worker.store.tables.export import export, export_piece
from worker.store.tables.log import (
    audit_body,
    audit_checkpoint,
    audit_epoch,
    audit_gone,
    audit_head,
    audit_key,
    audit_leaf,
    audit_tile,
)
from worker.store.tables.policy import bundle, bundle_in_force, policy_since
from worker.store.tables.preview import bundle_approval, preview
from worker.store.tables.protection import erasure, erasure_thread, hold, notice, protection
from worker.store.tables.registry import thread, thread_child, thread_tag
from worker.store.tables.service import api_key, fact
from worker.store.tables.trace import trace_start
from worker.store.tables.work import attempt, canary, stopped_pair, sweep, sweep_plan, work_item

__all__ = [
    "api_key",
    "attempt",
    "audit_body",
    "audit_checkpoint",
    "audit_epoch",
    "audit_gone",
    "audit_head",
    "audit_key",
    "audit_leaf",
    "audit_tile",
    "bundle",
    "bundle_approval",
    "bundle_in_force",
    "canary",
    "coverage",
    "coverage_look",
    "erasure",
    "erasure_thread",
    "export",
    "export_piece",
    "fact",
    "hold",
    "kept_answer",
    "metadata",
    "notice",
    "policy_since",
    "preview",
    "protection",
    "stopped_pair",
    "sweep",
    "sweep_plan",
    "thread",
    "thread_child",
    "thread_tag",
    "trace_start",
    "work_item",
]
