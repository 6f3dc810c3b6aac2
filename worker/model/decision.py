"""A decision: outcome, deciding rule, date and contributing rules, for one thread at one instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from worker.model.ids import HoldId, ThreadId


class Outcome(StrEnum):
    """What may happen to a thread now."""

    DUE = "DUE"
    PENDING = "PENDING"
    RETAINED = "RETAINED"
    HELD = "HELD"
    NOTIFY = "NOTIFY"
    UNMANAGED = "UNMANAGED"
    UNKNOWN = "UNKNOWN"
    QUARANTINED = "QUARANTINED"
    SKIP = "SKIP"


PRODUCER_TTL = "producer-ttl"
ERASURE = "erasure"
HOLD_PREFIX = "hold:"
RESERVED_POLICY_NAMES = frozenset({PRODUCER_TTL, ERASURE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """``decided_by`` is a policy, ``producer-ttl``, ``erasure`` or ``hold:<matter>``.

    ``swept_by`` is the policy whose sweep a DUE thread belongs to: the deciding one, for
    ``producer-ttl`` the alphabetically first surviving delete rule, and ``erasure``.
    ``evaluate_at`` is the earliest instant at which the outcome can change by time alone.
    """

    outcome: Outcome
    decided_by: str | None = None
    eligible_at: datetime | None = None
    rules: tuple[str, ...] = ()
    bundle: str = ""
    swept_by: str | None = None
    evaluate_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagSelector:
    """Kubernetes-style selector; ``operator`` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldScope:
    """All given fields must match. ``ids`` are ours or external; the others are anchored globs."""

    ids: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    tags: tuple[TagSelector, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Indefinite protection, kept in the database; beats everything until it is released."""

    id: HoldId
    matter: str
    scope: HoldScope


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """An order to delete now. Covers an exact owner, or named threads, registered no later than ``at``."""

    at: datetime
    owner: str | None = None
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notice that was delivered, and the deletion date that it promised (None: delivery + grace)."""

    thread_id: ThreadId
    at: datetime
    promised: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What beside the policies bears on a decision: holds, erasures and notices, read in one snapshot."""

    holds: tuple[Hold, ...] = ()
    erasures: tuple[Erasure, ...] = ()
    notices: Mapping[ThreadId, tuple[Notice, ...]] = field(default_factory=dict)
