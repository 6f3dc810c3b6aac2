"""Keeping: which chosen children are left alone, since somebody else needs them or a hold names them.

DANGER. What is not named here may be deleted. It is asked again in the very transaction that arms the
children's stage, so that a registration or a hold that committed before is seen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from worker.model.chosen import Kept
from worker.model.decision import Hold
from worker.model.thread import Thread, infer_kind
from worker.store import references


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """Why each child is kept; ``by`` are the threads that need one (ours by id), empty for a hold."""

    reasons: Mapping[str, Kept]
    by: Mapping[str, frozenset[str]]


def keeping(db: Connection, thread: Thread, children: Collection[str], holds: Sequence[Hold]) -> Keeping:
    """Return which of these children of a thread are kept; holds come first, since only they are released."""
    by = references.shared(db, thread, children)
    reasons = dict.fromkeys(by, Kept.SHARED_REFERENCE)
    # A child has no owner or tags of its own, so its id alone decides; whatever else covers the container
    # holds the container.
    held = {one for hold in holds for one in hold.scope.ids}
    reasons |= dict.fromkeys(held.intersection(children), Kept.HELD)
    return Keeping(reasons=reasons, by=by)


def as_child(thread: Thread, child: str) -> Thread:
    """Return a child as a thread of its own kind in its container's project and account."""
    return replace(thread, kind=infer_kind(child), external_id=child)
