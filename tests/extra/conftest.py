"""Exports to give to tools outside of Python, and the same builders that the tests of the audit log use."""

from __future__ import annotations

from tests.audit.conftest import as_leaves, bundled, entries, leaves, pseudonym, signer, whole

__all__ = ["as_leaves", "bundled", "entries", "leaves", "pseudonym", "signer", "whole"]
