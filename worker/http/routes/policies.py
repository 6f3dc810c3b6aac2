"""The bundle in force."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from worker.flows.await_approval import HOW, Awaiting, awaiting
from worker.flows.decide import NoBundle
from worker.flows.key import Principal
from worker.http.auth import PoliciesRead
from worker.http.services import Given
from worker.model.clock import rfc3339
from worker.store import bundles

router = APIRouter(prefix="/v1/policies", tags=["policies"])


class AwaitingShape(BaseModel):
    """The bundle of the policies folder, which loosens and waits for an approval; a line for each loosening.

    A key that is bound to projects sees no lines: they may name others.
    """

    digest: str
    commit: str | None
    since: str
    loosening: list[str]
    repair: str = HOW


class BundleShape(BaseModel):
    """All documents with every default filled in; ``sources`` says which file and line a policy stands at."""

    object: Literal["bundle"] = "bundle"
    digest: str
    commit: str | None
    author: str | None
    dirty: bool | None
    activated_at: str
    recomputed: bool
    documents: list[dict[str, Any]]
    sources: dict[str, str]
    awaiting: AwaitingShape | None


@router.get("", response_model=BundleShape)
def get_policies(who: PoliciesRead, given: Given) -> BundleShape:
    """Read the bundle in force; ``recomputed`` is false while dates are still being computed under it."""
    with given.database.read() as db:
        found, waits = bundles.in_force(db), awaiting(db)
    if found is None:
        raise NoBundle(
            "No policies are in force yet.", repair="Put them into TENURE_POLICIES and start beat."
        )
    canonical = json.loads(found.canonical)
    return BundleShape(
        digest=found.digest,
        commit=found.origin.get("commit"),
        author=found.origin.get("author"),
        dirty=found.origin.get("dirty") if found.origin.get("commit") else None,
        activated_at=rfc3339(found.activated_at),
        recomputed=found.recomputed,
        documents=[one for one in canonical["bundle"] if _visible(one, who)],
        sources=canonical["sources"],
        awaiting=_awaiting(waits, who) if waits else None,
    )


def _awaiting(waits: Awaiting, who: Principal) -> AwaitingShape:
    return AwaitingShape(
        digest=waits.digest,
        commit=waits.commit,
        since=rfc3339(waits.since),
        loosening=list(waits.loosening) if who.projects is None else [],
    )


def _visible(document: Mapping[str, Any], who: Principal) -> bool:
    return document["kind"] != "Project" or who.may_see(document["metadata"]["name"])
