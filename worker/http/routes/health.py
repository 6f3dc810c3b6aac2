"""For those who operate Tenure: is it alive, and is it ready."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from worker.http.problems import unavailable
from worker.http.readiness import Watch
from worker.http.services import Given
from worker.model.clock import rfc3339

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"
    version: str


class Readiness(BaseModel):
    """Database, Redis, schema and bundle are as they must be; ``checks`` names each."""

    status: Literal["ready"] = "ready"
    bundle: str
    beat_ticked_at: str | None
    checks: dict[str, str]


@router.get("/healthz", response_model=Health)
async def healthz(given: Given) -> Health:
    """Answer as long as the process does; asks nothing of the database."""
    return Health(version=given.version)


@router.get("/readyz", response_model=Readiness)
async def readyz(request: Request) -> Readiness | Response:
    """Answer 503 until requests can be served, naming what fails; after 2 seconds without waiting longer."""
    watch: Watch = request.app.state.watch
    found = await watch.look()
    if found.code is None and found.bundle is not None:
        ticked = rfc3339(found.ticked_at) if found.ticked_at else None
        return Readiness(bundle=found.bundle, beat_ticked_at=ticked, checks=found.checks)
    problem = unavailable(found.code or "unavailable", found.detail, checks=found.checks)
    return problem.answer(instance=request.url.path, request_id=request.state.request_id)
