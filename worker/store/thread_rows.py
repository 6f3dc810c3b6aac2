"""From a row of threads to the value that is decided: the one that is read most often of all."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Row

from worker.model.ids import ThreadId
from worker.model.thread import Account, Kind, Thread, ThreadState
from worker.store.tables import thread

# A row is unpacked in the table's order, up to the account's last column: by name it would take longer.
_ACCOUNT_ENDS = list(thread.c).index(thread.c.provider_project) + 1
DECIDED = list(thread.c)[:_ACCOUNT_ENDS]
"""The columns that `to_thread` takes: a row may end here, or go on."""
_KINDS: Mapping[str, Kind] = {one.value: one for one in Kind}
_STATES: Mapping[str, ThreadState] = {one.value: one for one in ThreadState}


def to_thread(row: Row[Any]) -> Thread:
    """Turn a row that begins with the table's columns into the value that is decided."""
    (
        thread_id,
        kind,
        external_id,
        project,
        owner,
        tags,
        ttl,
        created_at,
        last_activity_at,
        registered_at,
        state,
        *account,
    ) = row[:_ACCOUNT_ENDS]
    return Thread(
        id=ThreadId(thread_id),
        kind=_KINDS[kind],
        external_id=external_id,
        project=project,
        owner=owner,
        registered_at=registered_at,
        tags=tags,
        ttl=ttl,
        created_at=created_at,
        last_activity_at=last_activity_at,
        state=_STATES[state],
        account=_account(*account),
    )


@lru_cache(maxsize=256)
def _account(provider: str, base_url: str, organization: str, provider_project: str) -> Account:
    """Return the account of these words: most threads share one of a few."""
    return Account(
        provider=provider, base_url=base_url, organization=organization, provider_project=provider_project
    )
