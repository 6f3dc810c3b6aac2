"""For those who operate Tenure: is it alive, is it ready, and how much is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from pydantic import BaseModel

from worker.flows.decide import NoBundle
from worker.flows.tick import LAST_TICK
from worker.http.services import Given
from worker.model.clock import rfc3339
from worker.store import bundles, keys, log, threads, work
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


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(given: Given) -> Response:
    """Count threads and work items by state, in Prometheus' text format; names nobody."""
    registry = CollectorRegistry()
    with given.database.read() as db:
        _by_state(registry, "tenure_threads", "Threads by state.", threads.counts_by_state(db))
        _by_state(registry, "tenure_work_items", "Work items by state.", work.count_by_state(db))
        Gauge("tenure_log_entries", "Entries in the audit log.", registry=registry).set(
            log.read_head(db).size
        )
        ticked = keys.read_fact(db, LAST_TICK)
    if ticked is not None:
        gauge = Gauge("tenure_beat_last_tick_timestamp_seconds", "When beat last ticked.", registry=registry)
        gauge.set(ticked[1].timestamp())
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _by_state(registry: CollectorRegistry, name: str, text: str, counts: Mapping[str, int]) -> None:
    gauge = Gauge(name, text, ["state"], registry=registry)
    for state, count in sorted(counts.items()):
        gauge.labels(state=state).set(count)
