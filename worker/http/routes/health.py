"""For those who operate Tenure: is it alive, and is it ready."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from worker.flows.decide import NoBundle
from worker.flows.tick import LAST_TICK
from worker.http.services import Given
from worker.model.clock import rfc3339
from worker.store import bundles, keys
from worker.store.migrate import require_current

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"
    version: str


class Readiness(BaseModel):
    """The database answers, is at this code's version, and a bundle is in force."""

    status: Literal["ready"] = "ready"
    bundle: str
    beat_ticked_at: str | None


@router.get("/healthz", response_model=Health)
async def healthz(given: Given) -> Health:
    """Answer as long as the process does; asks nothing of the database."""
    return Health(version=given.version)


@router.get("/readyz", response_model=Readiness)
def readyz(given: Given) -> Readiness:
    """Answer 503 until requests can be served."""
    require_current(given.database)
    with given.database.read() as db:
        digest, ticked = bundles.digest_in_force(db), keys.read_fact(db, LAST_TICK)
    if digest is None:
        raise NoBundle(
            "No policies are in force yet.", repair="Put them into TENURE_POLICIES and start beat."
        )
    return Readiness(bundle=digest, beat_ticked_at=rfc3339(ticked[1]) if ticked else None)
