"""A thread as requests tell of it and as answers show it (INTERFACE section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from worker.flows.register import Registration
from worker.http.fields import AnyId, Instant, Name, Strict, TagPair, Tags
from worker.http.lists import Page, Paging, Shown
from worker.model.clock import rfc3339
from worker.model.decision import Decision, Outcome
from worker.model.thread import Kind, ThreadState
from worker.policy.explain import Explanation
from worker.store.listing import Filter, How
from worker.store.threads import StoredThread

_OPTIONAL = frozenset({"ttl", "tags", "created_at", "children"})
ThreadCursor = Annotated[str, Field(pattern=r"^thr_[0-9a-f]{32}$")]


class RegisterBody(Strict):
    """What a producer says of one thread; one line of a bulk registration has the same fields."""

    external_id: Annotated[str, Field(min_length=1, max_length=160)]
    project: Name
    owner: Name
    # An enum is never an instance of itself in JSON; nothing but its values passes all the same.
    kind: Annotated[Kind | None, Field(strict=False)] = None
    ttl: Annotated[str, Field(min_length=1, max_length=40)] | None = None
    tags: Tags = Field(default_factory=dict)
    created_at: Instant | None = None
    children: Annotated[list[AnyId], Field(max_length=1000)] = Field(default_factory=list)

    def registration(self) -> Registration:
        """Return it as the flow takes it; what was not given is not compared with what stands."""
        return Registration(
            external_id=self.external_id,
            project=self.project,
            owner=self.owner,
            kind=self.kind,
            ttl=self.ttl,
            tags=dict(self.tags),
            created_at=self.created_at,
            children=tuple(self.children),
            given=frozenset(self.model_fields_set & _OPTIONAL),
        )


class ThreadsQuery(Paging):
    """The filters of `GET /v1/threads`; all that are given must match."""

    after: ThreadCursor | None = None
    before: ThreadCursor | None = None
    project: Name | None = None
    owner: Name | None = None
    kind: Kind | None = None
    state: ThreadState | None = None
    outcome: Outcome | None = None
    tag: TagPair | None = None
    due_before: Instant | None = None
    external_id: Name | None = None
    include: Literal["total"] | None = None

    def filter(self, projects: tuple[str, ...] | None, *, due_by: datetime | None = None) -> Filter:
        """Return what the rows are narrowed to; the outcome is decided when they are read.

        ``due_by`` is now while every stored date stands under the bundle in force: whatever is DUE now has
        such a date behind it.
        """
        key, _, value = (self.tag or "").partition(":")
        state = self.state
        if self.outcome is not None and self.outcome is not Outcome.SKIP and state is None:
            state = ThreadState.LIVE  # only live threads are decided
        return Filter(
            projects=projects,
            project=self.project,
            owner=self.owner,
            kind=self.kind,
            state=state,
            external_id=self.external_id,
            tag=(key, value) if self.tag else None,
            due_before=self.due_before,
            evaluate_by=due_by if self.outcome is Outcome.DUE else None,
            skipped=self.outcome is Outcome.SKIP,
        )


class DecisionShape(BaseModel):
    """What is decided now, by which rule and since or until when."""

    outcome: Outcome
    decided_by: str | None
    eligible_at: str | None
    rules: list[str]
    bundle: str


class ThreadShape(Shown):
    """One thread. ``evidence`` is null only before the first graded attempt."""

    object: Literal["thread"] = "thread"
    kind: Kind
    external_id: str
    project: str
    owner: str
    tags: dict[str, str]
    ttl: str | None
    created_at: str | None
    last_activity_at: str | None
    registered_at: str
    state: ThreadState
    decision: DecisionShape
    evidence: dict[str, Any] | None


class TotalShape(BaseModel):
    """How many a list holds: counted up to 10,000, and told as an estimate or a least beyond.

    With `outcome`, which is decided page by page, it counts what the other filters leave: ``at_most``.
    """

    count: int
    how: How | Literal["at_most"]


class ThreadsPage(Page[ThreadShape]):
    """One page of threads; ``total`` only with `include=total`."""

    total: Annotated[TotalShape | None, Field(exclude_if=lambda one: one is None)] = None


class ExplanationShape(BaseModel):
    """Why a thread stands where it stands, one sentence a line; ``commit`` is that of the policies."""

    object: Literal["explanation"] = "explanation"
    thread: str
    decision: DecisionShape
    commit: str | None
    lines: list[str]


def decision_shape(decided: Decision) -> DecisionShape:
    """Show a decision."""
    return DecisionShape(
        outcome=decided.outcome,
        decided_by=decided.decided_by,
        eligible_at=rfc3339(decided.eligible_at) if decided.eligible_at else None,
        rules=list(decided.rules),
        bundle=decided.bundle,
    )


def thread_shape(stored: StoredThread, decided: Decision) -> ThreadShape:
    """Show a thread with what was decided of it just now."""
    thread = stored.thread
    return ThreadShape(
        id=thread.id,
        kind=thread.kind,
        external_id=thread.external_id,
        project=thread.project,
        owner=thread.owner,
        tags=dict(thread.tags),
        ttl=thread.ttl,
        created_at=rfc3339(thread.created_at) if thread.created_at else None,
        last_activity_at=rfc3339(thread.last_activity_at) if thread.last_activity_at else None,
        registered_at=rfc3339(thread.registered_at),
        state=thread.state,
        decision=decision_shape(decided),
        evidence=_graded(stored.evidence),
    )


def explanation_shape(thread_id: str, explained: Explanation) -> ExplanationShape:
    """Show an explanation."""
    return ExplanationShape(
        thread=thread_id,
        decision=decision_shape(explained.decision),
        commit=explained.commit,
        lines=list(explained.lines),
    )


def _graded(evidence: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the evidence once there is a grade; before it, observations alone say nothing."""
    return dict(evidence) if evidence and evidence.get("grade") else None
