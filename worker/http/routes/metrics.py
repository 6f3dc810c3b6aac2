"""For Prometheus: what this process counted, and how much there is in the database. It names nobody."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from worker.flows.measure import Measure, measure
from worker.http.services import Given
from worker.telemetry.meters import collected

router = APIRouter(tags=["operations"])


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(given: Given) -> Response:
    """Tell counts of this process and gauges of the database, in Prometheus' text format."""
    with given.database.read() as db:
        found = list(measure(db, given.sealer.log, now=given.clock.now()))
    text = generate_latest(collected()) + generate_latest(_gauges(found))
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def _gauges(found: Iterable[Measure]) -> CollectorRegistry:
    registry = CollectorRegistry()
    made: dict[str, Gauge] = {}
    for one in found:
        if one.name not in made:
            made[one.name] = Gauge(one.name, one.text, sorted(one.labels), registry=registry)
        gauge = made[one.name].labels(**one.labels) if one.labels else made[one.name]
        gauge.set(one.value)
    return registry
