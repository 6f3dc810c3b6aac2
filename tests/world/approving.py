"""Two people at work: one previews a bundle, the other approves it."""

from __future__ import annotations

from worker.flows.activate import Source
from worker.flows.approve import approve_preview
from worker.flows.preview import preview, propose
from worker.model.clock import Clock
from worker.store.engine import Database
from worker.store.previews import StoredPreview

AUTHOR, REVIEWER = "key:author", "key:reviewer"
FILE = "policies.yaml"


def previewed(
    database: Database, source: Source, text: str, *, clock: Clock, actor: str = AUTHOR
) -> StoredPreview:
    """Preview the folder that has this text alone."""
    proposed = propose(database, {FILE: text}, source, commit="c0ffee" * 6 + "c0ff")
    return preview(database, proposed, actor=actor, clock=clock)


def approved(
    database: Database, made: StoredPreview, *, clock: Clock, actor: str = REVIEWER
) -> StoredPreview:
    """Approve a previewed bundle by its own digest."""
    return approve_preview(
        database, made.id, digest=made.head_digest, reason="seen", actor=actor, clock=clock
    )


def let_in(database: Database, source: Source, text: str, *, clock: Clock) -> None:
    """Preview and approve, so that the next look at the folder puts it in force."""
    approved(database, previewed(database, source, text, clock=clock), clock=clock)
