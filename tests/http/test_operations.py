from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from worker.flows.tick import LAST_TICK
from worker.http.app import create_app
from worker.store import keys

Register = Callable[..., dict[str, Any]]
Check = Callable[..., dict[str, Any]]


def test_alive_needs_nothing(bare: Any) -> None:
    answer = TestClient(create_app(bare.services)).get("/healthz")

    assert answer.json()["status"] == "ok"


def test_ready_only_with_a_bundle(bare: Any, assert_problem: Check) -> None:
    assert_problem(TestClient(create_app(bare.services)).get("/readyz"), 503, "no_bundle")


def test_ready_tells_the_bundle_and_beat(app: FastAPI, house: Any) -> None:
    client = TestClient(app)
    assert client.get("/readyz").json()["beat_ticked_at"] is None
    with house.database.write() as db:
        keys.note_fact(db, LAST_TICK, {}, house.clock.now())

    shown = client.get("/readyz").json()

    assert shown["status"] == "ready"
    assert shown["bundle"].startswith("sha256:")
    assert shown["beat_ticked_at"].startswith("2026-11-22T")


def test_metrics_count_by_state_and_name_nobody(
    app: FastAPI, admin: TestClient, registered: Register
) -> None:
    registered("conv_1")
    registered("conv_2", created_at="2026-10-01T08:00:00Z")
    admin.post("/v1/sweeps", json={"policy": "support-30d"})

    answer = TestClient(app).get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    assert 'tenure_threads{state="live"} 2.0' in answer.text
    assert 'tenure_work_items{state="planned"} 1.0' in answer.text
    assert "support" not in answer.text


def test_the_schema_names_the_key_strict_bodies_and_problems(app: FastAPI) -> None:
    schema = TestClient(app).get("/openapi.json").json()
    register = schema["paths"]["/v1/threads"]["post"]

    assert register["operationId"] == "registerThread"
    assert register["security"] == [{"HTTPBearer": ["threads:write"]}]
    assert "application/problem+json" in register["responses"]["422"]["content"]
    assert set(register["responses"]) == {
        *("200", "201", "400", "401", "403", "404", "409", "413", "415", "422", "500", "503"),
        "408",
        "429",
        "431",
    }
    assert schema["components"]["schemas"]["RegisterBody"]["additionalProperties"] is False
    operations = [one["operationId"] for path in schema["paths"].values() for one in path.values()]
    assert len(operations) == len(set(operations))
    assert "HTTPValidationError" not in schema["components"]["schemas"]
