"""Rows of threads are unpacked by position: three instants side by side would change places unseen."""

from __future__ import annotations

from worker.store.tables import thread

UNPACKED = (
    *("id", "kind", "external_id", "project", "owner", "tags", "ttl"),
    *("created_at", "last_activity_at", "registered_at", "state"),
    *("provider", "base_url", "organization", "provider_project"),
)


def test_the_table_begins_with_what_is_unpacked_in_that_order() -> None:
    assert tuple(thread.c.keys())[: len(UNPACKED)] == UNPACKED
