"""What an editor says of each field of a policy file: one line a field, by kind of document and path."""

from __future__ import annotations

from collections.abc import Mapping

from worker.policy.read_documents import DocumentKind

_METADATA = {
    "metadata.owner": "Who is answerable for it.",
    "metadata.ticket": "The ticket that asked for it.",
}
_SELECTED = {
    "projects": "Names of projects, as anchored globs: * is any run of characters, ? is one.",
    "kinds": "Kinds of thread.",
    "owners": "Owners, as anchored globs.",
    "tags": "Selectors of tags, all of which must hold.",
    "tags[0].key": "The tag's name.",
    "tags[0].operator": "In and Exists need the tag; NotIn and DoesNotExist also hold where it is missing.",
    "tags[0].values": 'For In and NotIn. Quote what YAML would take for something else: "no", "1".',
}

POLICY: Mapping[str, str] = {
    **_METADATA,
    "metadata.name": "Shown wherever this policy decides; unique in the bundle.",
    "spec.mode": "Only enforce takes part: audit neither deletes nor protects. A retain rule must say it.",
    "spec.tier": "A default delete rule drops out where a specific one matches.",
    "spec.match": "Which threads: all given keys must match. {all: true} covers everything.",
    "spec.match.all": "Everything; stands alone.",
    **{f"spec.match.{name}": words for name, words in _SELECTED.items()},
    "spec.except": "Leaves out the threads that match all of this.",
    **{f"spec.except.{name}": words for name, words in _SELECTED.items()},
    "spec.delete": "A ceiling: not after. The earliest one that matches decides.",
    "spec.delete.after": "12h, 30d, 4w or ISO 8601 (P6M). 30d is 30 x 24 hours.",
    "spec.delete.from": "Which date of the thread counts.",
    "spec.delete.producer_ttl": "Whether the producer's own TTL may make it sooner; it never makes it later.",
    "spec.retain": "A floor: not before. The latest one that matches holds every deletion back.",
    "spec.retain.for": "A duration, or forever.",
    "spec.retain.from": "Which date of the thread counts.",
    "spec.retain.basis": "An erasure order is stronger than business, never than legal.",
    "spec.before_delete": "A notice that must be delivered, and its grace be over, before a deletion.",
    "spec.before_delete[0].notify": "Who is told, and how long before.",
    "spec.before_delete[0].notify.to": "Who is told.",
    "spec.before_delete[0].notify.grace": "How long after its delivery nothing is deleted.",
    "spec.schedule": "When sweeps are planned; without it, by hand only.",
    "spec.schedule.cron": "Five fields: minute, hour, day of month, month, day of week.",
    "spec.schedule.timezone": "An IANA zone; the cron is its wall-clock time.",
    "spec.schedule.catch_up": "After a pause: run the latest missed slot once, or skip it.",
    "spec.guards": "Exceeding any one blocks the whole sweep until a person looks. Required with delete.",
    "spec.guards.max_deletes": "Threads per window; 0 blocks every delete.",
    "spec.guards.max_percent": "Of all live threads that match, whatever their age, per window.",
    "spec.guards.min_population": "The percent is not applied to fewer threads than this.",
    "spec.guards.window": "How far back the guards count.",
    "spec.guards.require_approval_over": "A larger plan waits for tenure sweeps approve.",
}

PROJECT: Mapping[str, str] = {
    **_METADATA,
    "metadata.name": "The name that threads are registered under.",
    "spec.provider": "Whose API it is.",
    "spec.base_url": "https, or http to this machine. OpenAI's own for openai, else required.",
    "spec.organization": "The organisation at the provider.",
    "spec.provider_project": "The project at the provider.",
    "spec.api_key": "Where the provider key is found: exactly one of env and file. Never the key itself.",
    "spec.rate": "The provider's limits for this key.",
    "spec.rate.limit": "All requests, or with reads all but GET: 300/min, 5/s or 1000/h.",
    "spec.rate.reads": "GET in a bucket of its own; without it there is one bucket.",
    "spec.rate.burst": "Requests at once.",
    "spec.rate.share": "Tenure's part; the rest is for production traffic.",
    "spec.concurrency": "Requests under way at once.",
    "spec.controls": "What may show that an absent answer means something.",
    "spec.on_partial": "What becomes of a container whose children would not go.",
    "spec.profile": "Which error texts and words apply: a name, or a mapping that extends one.",
    "spec.admin_key": "For looking at the organisation's settings alone; nothing is deleted with it.",
}

CONSTRAINTS: Mapping[str, str] = {
    **_METADATA,
    "metadata.name": "The name of these bounds.",
    "spec.min_delete_after": "No delete.after may be shorter.",
    "spec.max_delete_after": "No delete.after may be longer.",
    "spec.max_guard_percent": "No guards.max_percent may be larger.",
    "spec.new_policies_start_in": "The mode in which a new delete rule must begin.",
}

WORDS: Mapping[DocumentKind, Mapping[str, str]] = {
    DocumentKind.RETENTION_POLICY: POLICY,
    DocumentKind.PROJECT: PROJECT,
    DocumentKind.CONSTRAINTS: CONSTRAINTS,
}
