"""One deletion followed over the borders of processes: in the traces, in the logs and in the audit log.

Beat is gone while it happens, so that nothing but the request for a sweep can have planned and woken.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import redis

from tests.end_to_end.collector import Collector, Told
from tests.end_to_end.conftest import PROVIDER_KEY, Fleet
from tests.world.world import POLICY
from worker.sandbox.kinds import ObjectKind

REGISTERED, SWEPT = "request-that-registered", "request-that-swept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What is known of one deletion from outside."""

    fleet: Fleet
    collector: Collector
    thread: dict[str, Any]
    sweep: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        found = []
        for path in sorted(self.fleet.folder.glob("*.log")):
            found += [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
        return found

    def line(self, event: str, **fields: object) -> dict[str, Any]:
        (found,) = [
            one for one in self.lines if one.get("event_name") == event and fields.items() <= one.items()
        ]
        return found


@pytest.fixture
def followed(fleet: Fleet, redis_url: str, redis_prefix: str) -> Iterator[Followed]:
    with Collector() as collector:
        fleet.environment |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            # The fleet's environment names a proxy, which nothing of Tenure's asks; the exporter would.
            "NO_PROXY": "127.0.0.1",
        }
        beat, api = fleet.start("beat"), fleet.start("api")
        fleet.eventually(lambda: fleet.call("GET", "/v1/policies").get("digest"), within=60)
        with redis.Redis.from_url(redis_url) as client:
            # Once beat has ticked at all, no tick can be on its way when it has ended.
            fleet.eventually(lambda: _ticks(client, redis_prefix), within=60)
            assert fleet.stop_one(beat, within=40) == 0
            # They wait for a worker, and a tick would wake one too.
            client.delete(*_ticks(client, redis_prefix))
        fleet.register(ObjectKind.CONVERSATION, days=3)
        made = fleet.register(ObjectKind.CONVERSATION, children=1, request_id=REGISTERED)
        ordered = fleet.call("POST", "/v1/sweeps", {"policy": POLICY}, request_id=SWEPT)
        worker = fleet.start("worker")
        try:
            fleet.eventually(lambda: fleet.state(made) == "deleted", within=90)
        except pytest.fail.Exception:
            pytest.fail(fleet.logs())
        thread = fleet.call("GET", f"/v1/threads/{made}")
        # Both tell an external id in their address, where libraries look for attributes.
        fleet.call("GET", f"/v1/threads?external_id={thread['external_id']}")
        _call_in_vain(fleet, f"/v1/threads/{thread['external_id']}x")
        assert fleet.stop_one(worker, within=40) == 0
        assert fleet.stop_one(api, within=40) == 0
        yield Followed(fleet=fleet, collector=collector, thread=thread, sweep=str(ordered["sweeps"][0]["id"]))


def _ticks(client: redis.Redis, prefix: str) -> list[bytes]:
    """Return the queue of what beat has sent, if there is any."""
    return [key for key in client.scan_iter(f"{prefix}*") if key.endswith(b":control")]


def _call_in_vain(fleet: Fleet, path: str) -> None:
    key = (fleet.folder / "data" / "admin.key").read_text().strip()
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx2.get(fleet.url + path, headers=headers, trust_env=False).status_code == 404


@pytest.mark.timeout(240)
def test_a_deletion_can_be_followed_from_its_registration_to_its_proof(followed: Followed) -> None:
    _one_trace_leads_from_the_sweep_to_the_delete_and_the_read(followed)
    _links_lead_back_to_the_registration_and_the_sweep(followed)
    _nothing_of_it_was_told_to_the_provider(followed)
    _no_span_holds_a_secret_or_a_foreign_id(followed)
    _every_line_has_the_ids_of_the_next(followed)
    _the_audit_log_has_them_too(followed)


def _thread_span(followed: Followed) -> Told:
    (found,) = followed.collector.named("thread", tenure_thread=followed.thread["id"])
    return found


def _one_trace_leads_from_the_sweep_to_the_delete_and_the_read(followed: Followed) -> None:
    collector, span = followed.collector, _thread_span(followed)
    assert collector.paths == {"/v1/traces"}
    below = sorted(
        (one for one in collector.spans if one.parent == span.id and "http.request.method" in one.attributes),
        key=lambda one: one.at,
    )
    asked = [one.name for one in below]
    # Pre-read, the list of items, an item's DELETE, a fresh list, the DELETE, the read, and a sibling's read.
    assert asked == ["GET", "GET", "DELETE", "GET", "DELETE", "GET", "GET"]
    answers = [one.attributes["http.response.status_code"] for one in below]
    assert answers == [200, 200, 200, 200, 200, 404, 200]
    assert {one.kind for one in below} == {"SPAN_KIND_CLIENT"}
    gone = below[-2]
    assert gone.attributes["error.type"] == "404"
    seen = {one["request_id"] for one in followed.thread["evidence"]["observations"]}
    assert seen <= {one.attributes["tenure.provider_request_id"] for one in below}
    way = [one.name for one in collector.above(gone)]
    assert way == [
        "thread",
        "batch",
        "process tenure.drain",
        "send drain",
        "POST /v1/sweeps",
    ]
    assert [one.role for one in collector.above(gone)] == ["worker", "worker", "worker", "api", "api"]
    (planned,) = collector.named("sweep", tenure_sweep=followed.sweep)
    assert (planned.trace, collector.above(planned)[-1].name) == (gone.trace, "POST /v1/sweeps")
    assert span.attributes["tenure.grade"] == "confirmed"
    statements = {
        one.name for one in collector.spans if one.trace == gone.trace and "db.system.name" in one.attributes
    }
    assert {"SELECT", "UPDATE work_item"} <= statements


def _links_lead_back_to_the_registration_and_the_sweep(followed: Followed) -> None:
    (registered,) = followed.collector.named("POST /v1/threads", tenure_request_id=REGISTERED)
    (planned,) = followed.collector.named("sweep", tenure_sweep=followed.sweep)
    assert _thread_span(followed).links == [(one.trace, one.id) for one in (registered, planned)]
    assert registered.trace != planned.trace


def _nothing_of_it_was_told_to_the_provider(followed: Followed) -> None:
    sent = [set(one.headers) for one in followed.fleet.sandbox.requests()]
    assert sent
    assert not set().union(*sent) & {"traceparent", "tracestate", "baggage", "x-request-id"}


def _no_span_holds_a_secret_or_a_foreign_id(followed: Followed) -> None:
    admin = (followed.fleet.folder / "data" / "admin.key").read_text().strip()
    external = [str(followed.thread["external_id"])]
    external += [str(one["child"]) for one in followed.thread["evidence"]["observations"] if one["child"]]
    assert len(external) > 1
    raw = b"".join(followed.collector.raw)
    for word in (PROVIDER_KEY, admin.split("_")[2], "07" * 32, "sk-ambient", *external):
        assert word.encode() not in raw, word
    # The looks at the addresses that hold an id came through, without them.
    assert followed.collector.named("GET /v1/threads")
    assert [one for one in followed.collector.spans if one.attributes.get("http.response.status_code") == 404]


def _every_line_has_the_ids_of_the_next(followed: Followed) -> None:
    thread, sweep = followed.thread, followed.sweep
    registered = followed.line("request.served", request_id=REGISTERED)
    assert registered["http.request.method"] == "POST"
    assert registered["http.route"] == "/v1/threads"
    assert registered["http.response.status_code"] == 201
    planned = followed.line("sweep.planned", sweep=sweep)
    assert planned["request_id"] == SWEPT
    drained = [one for one in followed.lines if one.get("event_name") == "batch.drained"]
    assert [(one["woken_by"], one["sweeps"]) for one in drained] == [(SWEPT, [sweep])]
    settled = followed.line("item.settled", thread=thread["id"])
    assert (settled["sweep"], settled["woken_by"], settled["grade"]) == (sweep, SWEPT, "confirmed")
    seen = [one["request_id"] for one in thread["evidence"]["observations"] if one["step"] == "delete"]
    assert set(seen) <= set(settled["provider_request_ids"])
    span = _thread_span(followed)
    assert settled["trace_id"] == planned["trace_id"] == drained[0]["trace_id"] == span.trace
    (origin,) = followed.collector.named("POST /v1/threads", tenure_request_id=REGISTERED)
    assert registered["trace_id"] == origin.trace
    assert {one["service.name"] for one in followed.lines} == {"tenure"}


def _the_audit_log_has_them_too(followed: Followed) -> None:
    from sqlalchemy import select

    from worker.store.tables import audit_body

    with followed.fleet.database.read() as db:
        bodies = [json.loads(one) for one in db.execute(select(audit_body.c.body)).scalars()]
    by_type: dict[str, list[dict[str, Any]]] = {}
    for body in bodies:
        by_type.setdefault(body["type"], []).append(body)
    mine = {
        name: [one for one in found if one["subject"] == followed.thread["id"]]
        for name, found in by_type.items()
    }
    assert [one["request_id"] for one in mine["thread.registered"]] == [REGISTERED]
    assert [(one["sweep"], one["request_id"]) for one in by_type["sweep.planned"]] == [
        (followed.sweep, SWEPT)
    ]
    (graded,) = mine["thread.graded"]
    settled = followed.line("item.settled", thread=followed.thread["id"])
    assert (graded["sweep"], graded["item"], graded["fence"]) == (
        followed.sweep,
        settled["item"],
        settled["fence"],
    )
    # What a worker did belongs to no request, though one woke it.
    assert "request_id" not in graded
    told = [one["request_id"] for one in followed.thread["evidence"]["observations"]]
    assert graded["observations"]
    assert {one["request_id"] for one in graded["observations"]} <= set(told)
    assert graded["observations"][-1]["request_id"] in settled["provider_request_ids"]
