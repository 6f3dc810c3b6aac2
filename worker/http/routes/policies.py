"""The bundle in force."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from worker.flows.decide import NoBundle
from worker.flows.key import Principal
from worker.http.auth import PoliciesRead
from worker.http.services import Given
from worker.model.clock import rfc3339
from worker.store import bundles

router = APIRouter(prefix="/v1/policies", tags=["policies"])


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


@router.get("", response_model=BundleShape)
def get_policies(who: PoliciesRead, given: Given) -> BundleShape:
    """Read the bundle in force; ``recomputed`` is false while dates are still being computed under it."""
    with given.database.read() as db:
        found = bundles.in_force(db)
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
    )


def _visible(document: Mapping[str, Any], who: Principal) -> bool:
    return document["kind"] != "Project" or who.may_see(document["metadata"]["name"])
