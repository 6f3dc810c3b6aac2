"""The fields of every entry type's body. A type without a schema cannot be recorded.

The writer is strict: an unknown field is refused before it is hashed, since names, once exported, never
change. A reader of a later version may find more. Every text and list from outside is cut by its builder, so
that no schema can keep a deletion from being settled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from worker.audit.entry import EntryType
from worker.audit.observed import MAX_OBSERVATIONS, MAX_PASSES
from worker.audit.shapes import (
    MAX_LISTED,
    Either,
    Record,
    count,
    flag,
    instant,
    listing,
    many,
    maybe,
    one_of,
    pair,
    record,
    sha256,
    text,
    whole,
)
from worker.model.decision import Outcome
from worker.model.evidence import Children, Class, Control, Grade, Step
from worker.model.receipt import LineStatus, OrderStatus
from worker.model.thread import Kind
from worker.model.work import Stage, SweepState

_REASON: Final = record({"reason": text})
_OBSERVATION: Final = record(
    {"at": instant, "class": one_of(Class), "step": one_of(Step)},
    body_sha256=sha256,
    child=text,
    detail=text,
    latency_ms=whole,
    provider_created_at=instant,
    provider_date=text,
    request_id=text,
    status=whole,
    subject=text,
)
_OBSERVATIONS: Final = many(_OBSERVATION, most=MAX_OBSERVATIONS)
_IDENTITY: Final = record(
    {
        "account": maybe(
            record({"base_url": text, "organization": text, "provider": text, "provider_project": text})
        ),
        "external_id": text,
        "kind": one_of(Kind),
        "owner": text,
    }
)
_TRY: Final = record({"fence": count, "item": text})
_ATTEMPT: Final = _TRY | record({"stage": one_of(Stage)})
_DECISION: Final = record(
    {
        "bundle": text,
        "decided_by": maybe(text),
        "eligible_at": maybe(instant),
        "outcome": one_of(Outcome),
    }
) | listing("rules")
_PASS: Final = record(
    {
        "afters": many(pair(one_of(Class), one_of(Control)), most=MAX_PASSES),
        "answer": one_of(Class),
        "armed": flag,
        "before": one_of(Class),
        "children": one_of(Children),
        "control": one_of(Control),
        "fence": count,
        "item": text,
    }
)
_SEEN_CHILDREN: Final = record({"class": one_of(Class), "count": count, "step": one_of(Step)})
_GRADED: Final = (
    _IDENTITY
    | _TRY
    | record(
        {
            "attempts": count,
            "bundle": text,
            "children_seen": many(_SEEN_CHILDREN, most=len(Class) * len(Step)),
            "credential": text,
            "deletion_semantics": text,
            "eligible_at": maybe(instant),
            "grade": one_of(Grade),
            "grader_version": count,
            "observations": _OBSERVATIONS,
            "observations_made": count,
            "passes": many(_PASS, most=MAX_PASSES),
            "passes_made": count,
            "policy": text,
            "reread": maybe(record({"class": one_of(Class), "control": one_of(Control)})),
            "sweep": text,
        },
        children_chosen=record({"confirmed": count, "found": count}) | listing("others"),
    )
)
_HOLD: Final = (
    record({"hold": text, "matter": text})
    | listing("ids")
    | listing("owners")
    | listing("projects")
    | listing("tags")
)
_PLAN: Final = record(
    {
        "bundle": text,
        "digest": text,
        "planned": count,
        "policy": text,
        "population": count,
        "slot": text,
        "sweep": text,
    }
)
_TREE: Final = record({"root": sha256, "size": count})
_ORIGIN: Final = record({"origin": text})
# [start, end) of each run of leaves whose bodies are gone.
_RANGES: Final = _REASON | record({"count": count, "leaves": many(pair(count, count), most=MAX_LISTED)})
_CHANGE: Final = record({"field": text, "from": maybe(text), "to": maybe(text)})
_MOST_CHANGES = 8

SCHEMAS: Final[Mapping[EntryType, Record | Either]] = {
    EntryType.THREAD_REGISTERED: _IDENTITY
    | record(
        {
            "created_at": maybe(instant),
            "last_activity_at": maybe(instant),
            "registered_at": instant,
            "ttl": maybe(text),
        }
    )
    | listing("tags")
    | Record({}, {**listing("children").required, **listing("children").optional}),
    EntryType.THREAD_CHANGED: _IDENTITY | record({"changes": many(_CHANGE, most=_MOST_CHANGES)}),
    EntryType.THREAD_WITHDRAWN: _IDENTITY | _REASON,
    EntryType.THREAD_RETRIED: _IDENTITY | _REASON,
    EntryType.THREAD_ACCEPTED: _IDENTITY | _REASON,
    EntryType.NOTICE_DELIVERED: record({"channel": text, "promised": maybe(instant)}) | listing("policies"),
    EntryType.DELETE_INTENDED: _IDENTITY
    | _ATTEMPT
    | record(
        {
            "attempt": count,
            "before": _OBSERVATION,
            "children_confirmed": count,
            "children_found": count,
            "decision": _DECISION,
            "policy": text,
            "protection_version": whole,
            "sweep": text,
        }
    ),
    EntryType.DELETE_SPARED: _TRY | _REASON | record({"children_deleted": count, "decision": _DECISION}),
    EntryType.THREAD_PREREAD: _TRY | record({"observation": _OBSERVATION}),
    EntryType.DELETE_ANSWERED: _ATTEMPT | record({"observation": _OBSERVATION}),
    EntryType.THREAD_REREAD: _TRY | record({"control": one_of(Control), "observation": _OBSERVATION}),
    EntryType.CONTROL_PROBED: record(
        {"control": one_of(Control), "kind": one_of(Kind), "observations": _OBSERVATIONS}
    )
    | listing("supports"),
    EntryType.THREAD_GRADED: _GRADED,
    EntryType.DELETE_LATE_RESULT: _ATTEMPT | record({"observation": _OBSERVATION}),
    EntryType.HOLD_PLACED: _HOLD
    | _REASON
    | record({"matched": count})
    | listing("too_late")
    | listing("uncertain"),
    EntryType.HOLD_RELEASED: _HOLD | _REASON,
    EntryType.ERASURE_ORDERED: _REASON
    | record(
        {"covers_until": instant, "erasure": text, "owner": maybe(text), "threads": count}, deadline=instant
    )
    | listing("ids"),
    EntryType.ERASURE_ANSWERED: record(
        {"erasure": text, "status": one_of(OrderStatus), **{one.value: count for one in LineStatus}}
    )
    | listing("threads"),
    EntryType.SWEEP_PLANNED: _PLAN | record({"state": one_of(SweepState)}),
    EntryType.SWEEP_BLOCKED: _PLAN | record({"guard": text}),
    EntryType.SWEEP_APPROVED: _PLAN | _REASON,
    EntryType.BUNDLE_ACTIVATED: record(
        {
            "approved_by": maybe(text),
            "author": maybe(text),
            "bundle": text,
            "commit": maybe(text),
            "dirty": maybe(flag),
            "policies": count,
            "previous": maybe(text),
        }
    ),
    EntryType.BUNDLE_REFUSED: record({"bundle": maybe(text)}) | listing("problems"),
    EntryType.BUNDLE_APPROVED: _REASON
    | record(
        {
            "base": text,
            "bundle": text,
            "commit": maybe(text),
            "expires_at": instant,
            "preview": text,
            "proposed_by": text,
        }
    ),
    EntryType.SWITCH_CHANGED: _REASON | record({"enabled": flag}),
    EntryType.KEY_CREATED: record({"key": text, "label": text}) | listing("scopes") | listing("projects"),
    EntryType.KEY_REVOKED: record({"key": text}),
    # A signing key of the log, or a key of the API: what `key` names tells them apart.
    EntryType.KEY_ROTATED: Either(
        "key",
        record({"ends_at": instant, "key": text, "successor": text}),
        _REASON
        | record({"both_sign": count, "origin": text, "previous": text, "since": count, "vkey": text}),
    ),
    EntryType.LOG_SEALED: _TREE | _ORIGIN,
    EntryType.LOG_PRUNED: _RANGES,
    EntryType.LOG_EPOCH: _REASON
    | record(
        {
            "agreed": count,
            "anchored": _TREE | _ORIGIN,
            "held": _TREE | _ORIGIN,
            "number": count,
            "origin": text,
            "why": text,
        }
    ),
    EntryType.BODY_SHREDDED: _RANGES,
    EntryType.EXPORT_MADE: _TREE | record({"from": instant, "to": instant}),
    EntryType.ACCESS_READ: record({"rows": count, "what": text}),
}


def fits(type_: EntryType, body: Mapping[str, object]) -> bool:
    """Whether the fields of this type are surely right, the sizes of texts and integers left open (shapes).

    Nearly every body's are, and to ask so takes half as long as to look for what is wrong. False says
    nothing: ``flaw_in`` can tell.
    """
    try:
        return type(body) is dict and SCHEMAS[type_].fits(body)
    except KeyError:
        # A name or a type of which the question is not known.
        return False


def flaw_in(type_: EntryType, body: Mapping[str, object]) -> str | None:
    """Return what is wrong with the fields of this type, or None; those of every entry are not among them."""
    return SCHEMAS[type_].flaw(body)
