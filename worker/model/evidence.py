"""Observations, and the pure, versioned function that grades them.

DANGER. A grade is what a certificate repeats. A 404 alone never means "deleted": OpenAI retired the
Assistants endpoints on 2026-08-26, and since then every thread URL answers 404; a wrong key or base
URL does the same. Invariants: only `confirmed`, `sustained` and `inferred` may be called deleted; each
of them, and `absent`, needs an answer that names this object as absent AND a control that was read
present with the same client; anything that fits no line is `unverifiable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

GRADER_VERSION = 1


class Class(StrEnum):
    """What one answer of a provider says (DESIGN: Evidence and grades)."""

    PRESENT = "present"
    OBJECT_ABSENT = "object_absent"
    ROUTE_ABSENT = "route_absent"
    DENIED = "denied"
    ERROR = "error"
    THROTTLED = "throttled"
    # a DELETE only:
    ACKNOWLEDGED = "acknowledged"
    MALFORMED = "malformed"
    LOST = "lost"
    # proof that nothing was sent: there was no request
    UNSENT = "unsent"
    # nothing was observed
    NONE = "none"


class Step(StrEnum):
    """Which part of an attempt an observation belongs to."""

    BEFORE = "before"
    DELETE = "delete"
    AFTER = "after"
    CONTROL = "control"
    REREAD = "reread"


class Control(StrEnum):
    """What supports an absent read: a known-present read of the same kind, project and client."""

    GOOD = "good"  # a registered thread was read present
    ROUTE_ONLY = "route_only"  # a canary: proves the route, not the project
    FAILED = "failed"
    NONE = "none"


class Children(StrEnum):
    """Whether every child was confirmed gone before the container."""

    NONE = "none"  # this kind or thread has none
    ALL = "all"
    SOME = "some"  # at least one is not confirmed


class Grade(StrEnum):
    """What the evidence supports; the part after the slash is the reason."""

    CONFIRMED = "confirmed"
    SUSTAINED = "sustained"
    INFERRED = "inferred"
    ABSENT = "absent"
    ACKNOWLEDGED = "acknowledged"
    PARTIAL = "partial"
    STILL_PRESENT = "still_present"
    ENDPOINT_RETIRED = "unverifiable/endpoint_retired"
    FORBIDDEN = "unverifiable/forbidden"
    CONTROL_FAILED = "unverifiable/control_failed"
    PROVIDER_ERROR = "unverifiable/provider_error"

    @property
    def word(self) -> str:
        """The part before the slash; counts by grade use it."""
        return self.value.partition("/")[0]

    @property
    def deleted(self) -> bool:
        """Whether this may be called deleted."""
        return self in {Grade.CONFIRMED, Grade.SUSTAINED, Grade.INFERRED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One HTTP request and its answer; never its content.

    ``child`` is the child's id when the request was about one. ``latency_ms`` is milliseconds;
    ``body_sha256`` the hex digest of the answer's raw body; ``provider_date`` its Date header.
    """

    step: Step
    seen: Class
    at: datetime
    subject: str = ""
    child: str | None = None
    status: int | None = None
    request_id: str | None = None
    latency_ms: int | None = None
    body_sha256: str | None = None
    provider_date: str | None = None
    detail: str | None = None
    provider_created_at: datetime | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """A later read, at least 24 h after the first after-read, with a control of its own."""

    seen: Class
    control: Control


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What all attempts at one thread saw, folded into the terms of the grading rule."""

    before: Class = Class.NONE
    delete: Class = Class.NONE
    after: Class = Class.NONE
    control: Control = Control.NONE
    children: Children = Children.NONE
    earlier: bool = False
    reread: Reread | None = None


_SENT = frozenset({Class.ACKNOWLEDGED, Class.MALFORMED, Class.LOST, Class.ERROR})


def grade(evidence: Evidence) -> Grade:
    """Grade the evidence; the first line that holds decides (DESIGN: Evidence and grades)."""
    before, delete, after = evidence.before, evidence.delete, evidence.after
    # After an earlier own attempt, a first read that finds the thread absent is the after-read.
    if evidence.earlier and before is Class.OBJECT_ABSENT and after is Class.NONE:
        after = Class.OBJECT_ABSENT
    if Class.PRESENT in {after, evidence.reread.seen if evidence.reread else Class.NONE}:
        return Grade.STILL_PRESENT
    untouched = delete is Class.NONE and after is Class.NONE
    if before is Class.PRESENT and untouched and evidence.children is Children.SOME:
        return Grade.PARTIAL
    if before is Class.OBJECT_ABSENT and delete is Class.NONE and not evidence.earlier:
        return Grade.ABSENT if evidence.control is Control.GOOD else Grade.CONTROL_FAILED
    seen_absent = after is Class.OBJECT_ABSENT and _control_counts(evidence)
    if seen_absent and _ours(evidence):
        return _gone(evidence)
    if delete is Class.ACKNOWLEDGED:
        return Grade.ACKNOWLEDGED
    if seen_absent and before is Class.PRESENT:
        return Grade.ABSENT
    return _unverifiable({before, delete, after})


def _control_counts(evidence: Evidence) -> bool:
    """A canary proves the route only, so it counts only where this pass itself saw the thread."""
    if evidence.control is Control.GOOD:
        return True
    return evidence.control is Control.ROUTE_ONLY and evidence.before is Class.PRESENT


def _ours(evidence: Evidence) -> bool:
    if evidence.earlier:
        return True
    return evidence.before is Class.PRESENT and evidence.delete in _SENT


def _gone(evidence: Evidence) -> Grade:
    if evidence.children is Children.SOME:
        return Grade.PARTIAL
    reread = evidence.reread
    if reread and reread.seen is Class.OBJECT_ABSENT and reread.control is Control.GOOD:
        return Grade.SUSTAINED
    seen_and_acknowledged = evidence.before is Class.PRESENT and evidence.delete is Class.ACKNOWLEDGED
    return Grade.CONFIRMED if seen_and_acknowledged else Grade.INFERRED


def _unverifiable(seen: set[Class]) -> Grade:
    if Class.DENIED in seen:
        return Grade.FORBIDDEN
    if Class.ROUTE_ABSENT in seen:
        return Grade.ENDPOINT_RETIRED
    if Class.OBJECT_ABSENT in seen:
        return Grade.CONTROL_FAILED
    return Grade.PROVIDER_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one attempt saw of one thread's container.

    ``armed`` means that an intent to DELETE the container was committed. ``answer`` is the class that
    was recorded for that DELETE: NONE where a crash left no record, UNSENT where nothing left.
    ``control`` supports ``before`` where that read found the thread absent; ``afters`` are the reads
    since the DELETE with the control of each, oldest first.
    """

    before: Class = Class.NONE
    control: Control = Control.NONE
    armed: bool = False
    answer: Class = Class.NONE
    afters: Sequence[tuple[Class, Control]] = ()
    children: Children = Children.NONE


def fold(passes: Sequence[Pass], *, reread: Reread | None = None) -> Evidence:
    """Fold the passes over one thread, oldest first, into the evidence that is graded.

    The armed attempt lends its own before and its committed answer; the newest pass lends the read.
    A canary counts only beside a before that the same pass read present, so it is dropped elsewhere.
    """
    if not passes:
        return Evidence()
    last = passes[-1]
    counting = [one for one in passes[:-1] if is_own_attempt(one)]
    if last.armed and last.answer is not Class.UNSENT:
        folded = _of_armed(last, last.afters, own=True, reread=reread)
        # A DELETE that was refused, after one that may have left: the earlier one may be why it is gone.
        return replace(folded, earlier=bool(counting))
    if not counting:
        return _of_first_sight(last, reread)
    first_read = [] if last.before is Class.NONE else [(last.before, last.control)]
    return _of_armed(counting[-1], [*first_read, *last.afters], own=False, reread=reread)


def is_own_attempt(one: Pass) -> bool:
    """Whether this armed attempt may have deleted the thread: seen before, and DELETE may have left."""
    return one.armed and one.before is Class.PRESENT and (one.answer in _SENT or one.answer is Class.NONE)


def _of_armed(
    armed: Pass, reads: Sequence[tuple[Class, Control]], *, own: bool, reread: Reread | None
) -> Evidence:
    after, control = _counting_read(reads, own=own)
    return Evidence(
        before=armed.before,
        # No recorded answer after arming: DELETE may have left, which is what "lost" means.
        delete=Class.LOST if armed.answer is Class.NONE else armed.answer,
        after=after,
        control=control,
        children=armed.children,
        reread=reread,
    )


def _of_first_sight(last: Pass, reread: Reread | None) -> Evidence:
    after, control = _counting_read(last.afters, own=True)
    if not last.afters:
        control = last.control
    return Evidence(before=last.before, after=after, control=control, children=last.children, reread=reread)


def _counting_read(reads: Sequence[tuple[Class, Control]], *, own: bool) -> tuple[Class, Control]:
    """Return the first read that found it absent with a control that counts, else the newest."""
    kept = [
        (seen, control if own or control is not Control.ROUTE_ONLY else Control.FAILED)
        for seen, control in reads
    ]
    for seen, control in kept:
        if seen is Class.OBJECT_ABSENT and control in {Control.GOOD, Control.ROUTE_ONLY}:
            return seen, control
    return kept[-1] if kept else (Class.NONE, Control.NONE)
