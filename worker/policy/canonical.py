"""The effective canonical form of a bundle: documents with every default filled in, as sorted JSON.

The digest covers the documents alone: not file names, not the order or the comments of the files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

from worker.policy.document import (
    Bundle,
    Constraints,
    Guards,
    KeyRef,
    Match,
    OwnProfile,
    Policy,
    Project,
    Rate,
)
from worker.policy.durations import Duration
from worker.policy.read_documents import API_VERSION

_HOUR = 3600


def make_bundle(
    policies: Iterable[Policy], projects: Iterable[Project], constraints: Constraints | None
) -> Bundle:
    """Put a bundle together, with its digest and canonical text."""
    ordered = (
        replace(one, match=_in_order(one.match), except_=_in_order(one.except_) if one.except_ else None)
        for one in policies
    )
    named = tuple(sorted(ordered, key=lambda one: one.name))
    accounts = {one.name: one for one in sorted(projects, key=lambda one: one.name)}
    documents = [_policy(one) for one in named] + [_project(one) for one in accounts.values()]
    if constraints:
        documents.append(_constraints(constraints))
    digest = hashlib.sha256(_json(documents).encode()).hexdigest()
    sources = {one.name: one.source for one in named}
    return Bundle(
        policies=named,
        projects=accounts,
        constraints=constraints,
        digest=f"sha256:{digest}",
        canonical=_json({"bundle": documents, "sources": sources}),
    )


def digested_text(canonical: str) -> str:
    """Return the text that the digest of a bundle is the SHA-256 of, from its canonical text."""
    return _json(json.loads(canonical)["bundle"])


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _document(kind: str, metadata: Mapping[str, object], spec: Mapping[str, object]) -> dict[str, object]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": _given(metadata), "spec": _given(spec)}


def _given(fields: Mapping[str, object]) -> dict[str, object]:
    """Leave out what is not there; zero and false are there."""
    return {name: value for name, value in fields.items() if value is not None and value not in ("", [], {})}


def _policy(policy: Policy) -> dict[str, object]:
    delete, retain, notify, schedule = policy.delete, policy.retain, policy.notify, policy.schedule
    spec = {
        "mode": policy.mode.value,
        "tier": policy.tier.value,
        "match": _match(policy.match),
        "except": _match(policy.except_) if policy.except_ else None,
        "delete": delete
        and {
            "after": delete.after.canonical,
            "from": delete.since.value,
            "producer_ttl": delete.producer_ttl.value,
        },
        "retain": retain
        and {
            "for": retain.length.canonical if retain.length else "forever",
            "from": retain.since.value,
            "basis": retain.basis.value,
        },
        "before_delete": notify and [{"notify": {"to": notify.to, "grace": notify.grace.canonical}}],
        "schedule": schedule
        and {"cron": schedule.cron, "timezone": schedule.timezone, "catch_up": schedule.catch_up.value},
        "guards": _guards(policy.guards) if policy.guards else None,
    }
    return _document(
        "RetentionPolicy", {"name": policy.name, "owner": policy.owner, "ticket": policy.ticket}, spec
    )


def _match(match: Match) -> dict[str, object]:
    return _given(
        {
            "all": match.all or None,
            "projects": list(match.projects),
            "kinds": [kind.value for kind in match.kinds],
            "owners": list(match.owners),
            "tags": [
                _given({"key": one.key, "operator": one.operator, "values": list(one.values)})
                for one in match.tags
            ],
        }
    )


def _in_order(match: Match) -> Match:
    """Lists are sets here: their order and repetitions mean nothing."""
    return Match(
        all=match.all,
        projects=tuple(sorted(set(match.projects))),
        kinds=tuple(sorted(set(match.kinds))),
        owners=tuple(sorted(set(match.owners))),
        tags=tuple(sorted(set(match.tags), key=lambda one: (one.key, one.operator, one.values))),
    )


def _guards(guards: Guards) -> dict[str, object]:
    return _given(
        {
            "max_deletes": guards.max_deletes,
            "max_percent": _number(guards.max_percent),
            "min_population": guards.min_population,
            "window": guards.window.canonical,
            "require_approval_over": guards.require_approval_over,
        }
    )


def _project(project: Project) -> dict[str, object]:
    account = project.account
    spec = {
        "provider": account.provider,
        "base_url": account.base_url,
        "organization": account.organization,
        "provider_project": account.provider_project,
        "api_key": _key(project.api_key),
        # Where a key is found, never the key.
        "admin_key": _key(project.admin_key) if project.admin_key else None,
        "rate": _rate(project.rate),
        "concurrency": project.concurrency,
        "controls": list(project.controls),
        "on_partial": project.on_partial.value,
        "profile": _profile(project.profile),
    }
    return _document("Project", {"name": project.name, "owner": project.owner}, spec)


def _key(key: KeyRef) -> dict[str, object]:
    return _given({"env": key.env, "file": key.file})


def _profile(profile: str | OwnProfile) -> object:
    return json.loads(profile.written) if isinstance(profile, OwnProfile) else profile


def _rate(rate: Rate) -> dict[str, object]:
    return _given(
        {
            "limit": _per_hour(rate.limit),
            "reads": None if rate.reads is None else _per_hour(rate.reads),
            "burst": rate.burst,
            "share": _number(rate.share),
        }
    )


def _per_hour(per_second: float) -> str:
    # Every rate that can be written is a whole number an hour, so this is exact.
    return f"{round(per_second * _HOUR)}/h"


def _constraints(constraints: Constraints) -> dict[str, object]:
    percent, start = constraints.max_guard_percent, constraints.new_policies_start_in
    spec = {
        "min_delete_after": _duration(constraints.min_delete_after),
        "max_delete_after": _duration(constraints.max_delete_after),
        "max_guard_percent": None if percent is None else _number(percent),
        "new_policies_start_in": start.value if start else None,
    }
    return _document("Constraints", {"name": constraints.name}, spec)


def _duration(duration: Duration | None) -> str | None:
    return duration.canonical if duration else None


def _number(value: float) -> int | float:
    """Write 10.0 as 10, so that both spellings have one digest."""
    return int(value) if value == int(value) else value
