"""What the log records: one entry for one fact. Names, once exported, never change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

from worker.model.errors import TenureError

# No floats, on purpose: their text differs between languages (RFC 8785 section 3.2.2.3).
Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"


class EntryType(StrEnum):
    """Every kind of fact that can be recorded."""

    THREAD_REGISTERED = "thread.registered"
    THREAD_CHANGED = "thread.changed"
    THREAD_WITHDRAWN = "thread.withdrawn"
    THREAD_RETRIED = "thread.retried"
    THREAD_ACCEPTED = "thread.accepted"
    NOTICE_DELIVERED = "notice.delivered"
    DELETE_INTENDED = "delete.intended"
    DELETE_SPARED = "delete.spared"
    THREAD_PREREAD = "thread.preread"
    DELETE_ANSWERED = "delete.answered"
    THREAD_REREAD = "thread.reread"
    CONTROL_PROBED = "control.probed"
    THREAD_GRADED = "thread.graded"
    DELETE_LATE_RESULT = "delete.late_result"
    HOLD_PLACED = "hold.placed"
    HOLD_RELEASED = "hold.released"
    ERASURE_ORDERED = "erasure.ordered"
    ERASURE_ANSWERED = "erasure.answered"
    SWEEP_PLANNED = "sweep.planned"
    SWEEP_BLOCKED = "sweep.blocked"
    SWEEP_APPROVED = "sweep.approved"
    BUNDLE_ACTIVATED = "bundle.activated"
    BUNDLE_REFUSED = "bundle.refused"
    BUNDLE_APPROVED = "bundle.approved"
    SWITCH_CHANGED = "switch.changed"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    KEY_ROTATED = "key.rotated"
    LOG_SEALED = "log.sealed"
    LOG_PRUNED = "log.pruned"
    LOG_EPOCH = "log.epoch"
    BODY_SHREDDED = "body.shredded"
    EXPORT_MADE = "export.made"
    ACCESS_READ = "access.read"


# Recording these does not call for a new checkpoint (DESIGN: seal).
NO_NEWS = frozenset({EntryType.LOG_SEALED, EntryType.EXPORT_MADE, EntryType.ACCESS_READ})


class BodyRefused(TenureError):
    """An entry does not keep to the profile that makes its bytes the same in every language."""

    code = "body_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One fact. ``subject`` is a thread's id; ``body`` holds the fields of this type only.

    ``request_id`` names the request over HTTP in whose transaction it was recorded, where there was one.
    """

    type: EntryType
    at: datetime
    actor: str
    project: str | None = None
    subject: str | None = None
    request_id: str | None = None
    body: Mapping[str, Json] = field(default_factory=dict)


# Entries of one transaction are mostly of one instant.
@lru_cache(maxsize=64)
def instant(at: datetime) -> str:
    """Write an instant as an envelope's ``t``: RFC 3339 UTC, always six fractional digits, so text sorts."""
    if at.tzinfo is None:
        raise BodyRefused(f"{at} has no time zone.", repair="Use an aware datetime.")
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
