"""The documents of a bundle as checked values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from worker.model.decision import TagSelector
from worker.model.errors import NotFound
from worker.model.thread import Account, Kind
from worker.policy.durations import Duration


class Mode(StrEnum):
    """Only ``enforce`` takes part in decisions; ``audit`` is shown and nothing more."""

    AUDIT = "audit"
    ENFORCE = "enforce"
    DISABLED = "disabled"


class Tier(StrEnum):
    """A ``default`` delete rule counts only where no specific one matches."""

    SPECIFIC = "specific"
    DEFAULT = "default"


class Since(StrEnum):
    """Which of a thread's dates a rule counts from."""

    CREATED_AT = "created_at"
    LAST_ACTIVITY_AT = "last_activity_at"
    REGISTERED_AT = "registered_at"


class Basis(StrEnum):
    """Why something is retained; an erasure removes ``business``, never ``legal``."""

    BUSINESS = "business"
    LEGAL = "legal"


class ProducerTtl(StrEnum):
    """Whether the producer's own TTL may bring a deletion forward."""

    SHORTEN = "shorten"
    IGNORE = "ignore"


class CatchUp(StrEnum):
    """What becomes of slots missed while nothing ran: the latest runs, or none."""

    LATEST = "latest"
    SKIP = "skip"


class Provider(StrEnum):
    """Whose API a project speaks."""

    OPENAI = "openai"
    AZURE_FOUNDRY = "azure_foundry"
    OPENAI_COMPATIBLE = "openai_compatible"


class OnPartial(StrEnum):
    """Whether a container goes although some of its children would not."""

    KEEP = "keep"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """All given keys must match; ``all`` stands alone. Projects and owners are anchored globs."""

    projects: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    owners: tuple[str, ...] = ()
    tags: tuple[TagSelector, ...] = ()
    all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetainRule:
    """A floor: not before. ``length`` None means forever."""

    length: Duration | None
    since: Since = Since.CREATED_AT
    basis: Basis = Basis.BUSINESS


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRule:
    """A ceiling: not after."""

    after: Duration
    since: Since = Since.CREATED_AT
    producer_ttl: ProducerTtl = ProducerTtl.SHORTEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """A notice must be delivered, and its grace be over, before anything is deleted."""

    to: str
    grace: Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Five cron fields, read as wall-clock time of an IANA zone."""

    cron: str
    timezone: str = "Etc/UTC"
    catch_up: CatchUp = CatchUp.LATEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """Exceeding any one blocks the whole sweep; zero means zero."""

    max_deletes: int
    max_percent: float
    min_population: int
    window: Duration
    require_approval_over: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy. ``source`` is ``file:line`` of its document and no part of the digest."""

    name: str
    owner: str
    match: Match
    ticket: str = ""
    mode: Mode = Mode.AUDIT
    tier: Tier = Tier.SPECIFIC
    except_: Match | None = None
    delete: DeleteRule | None = None
    retain: RetainRule | None = None
    notify: Notify | None = None
    schedule: Schedule | None = None
    guards: Guards | None = None
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Requests per second, ``share`` not applied; ``reads`` None means one bucket for all requests."""

    limit: float
    reads: float | None = None
    burst: int = 1
    share: float = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRef:
    """Where a provider key is found: exactly one of a variable's name and a file's path."""

    env: str | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnProfile:
    """A project's own profile: the shipped one that it extends, and all its fields as sorted JSON text.

    Text, because it is immutable and equal by value, and because only the providers know what it means.
    """

    extends: str
    written: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One provider account, its credential and its pace.

    ``admin_key`` is for looking at the organisation's settings alone; no deletion is sent with it.
    """

    name: str
    owner: str
    account: Account
    api_key: KeyRef
    rate: Rate
    concurrency: int
    controls: tuple[str, ...]
    on_partial: OnPartial
    profile: str | OwnProfile
    admin_key: KeyRef | None = None

    @property
    def credential(self) -> str:
        """A stable fingerprint (16 hex digits) of account and key reference: names the pacer's bucket."""
        account, key = self.account, self.api_key
        parts = [
            account.provider,
            account.base_url,
            account.organization,
            account.provider_project,
            key.env,
            key.file,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """Bounds that every policy of the bundle must keep."""

    name: str
    min_delete_after: Duration | None = None
    max_delete_after: Duration | None = None
    max_guard_percent: float | None = None
    new_policies_start_in: Mode | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """All documents together. ``canonical`` is JSON text that reads back to an equal bundle."""

    policies: tuple[Policy, ...]
    projects: Mapping[str, Project]
    constraints: Constraints | None
    digest: str
    canonical: str

    def policy(self, name: str) -> Policy:
        """Return the policy of that name; raises NotFound."""
        for policy in self.policies:
            if policy.name == name:
                return policy
        raise NotFound(f'There is no policy "{name}" in the bundle.', repair="See `tenure policy validate`.")
