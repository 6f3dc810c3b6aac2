from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from worker.flows.seal import seal
from worker.store import bundles

Register = Callable[..., dict[str, Any]]
Check = Callable[..., dict[str, Any]]

OLD = "2026-10-01T08:00:00Z"
ORDER = {"policy": "support-30d"}


def test_a_sweep_is_planned_released_and_wakes_a_worker(
    admin: TestClient, house: Any, registered: Register
) -> None:
    due = registered("conv_1", created_at=OLD)
    registered("conv_2", created_at="2026-11-20T08:00:00Z")

    answer = admin.post("/v1/sweeps", json=ORDER)

    assert answer.status_code == 201
    (made,) = answer.json()["sweeps"]
    assert made["object"] == "sweep"
    assert made["policy"] == "support-30d"
    assert made["state"] == "released"
    assert (made["planned"], made["busy"]) == (1, 1)
    assert made["plan"]["threads"] == [due["id"]]
    assert made["plan"]["digest"].startswith("sha256:")
    assert made["slot"].startswith("manual:")
    assert len(house.woken) == 1
    assert admin.get(f"/v1/sweeps/{made['id']}").json() == made
    # What a pause keeps, nobody takes up; and another sweep of the policy waits for the same items.
    other = admin.post("/v1/sweeps", json=ORDER).json()["sweeps"][0]
    assert (other["planned"], other["busy"]) == (0, 1)
    admin.put("/v1/switches/deletes", json={"enabled": False, "reason": "r", "project": None})
    assert admin.get(f"/v1/sweeps/{made['id']}").json()["busy"] == 0


def test_a_dry_run_stops_after_the_plan(admin: TestClient, house: Any, registered: Register) -> None:
    registered("conv_1", created_at=OLD)

    (made,) = admin.post("/v1/sweeps", json={**ORDER, "dry_run": True}).json()["sweeps"]

    assert made["state"] == "dry_run"
    assert made["planned"] == 1
    assert house.woken == []


def test_without_a_policy_erasures_and_every_enforced_policy_are_swept(admin: TestClient) -> None:
    made = admin.post("/v1/sweeps", json={}).json()["sweeps"]

    assert [one["policy"] for one in made] == ["erasure", "support-30d"]


def test_a_plan_over_the_limit_waits_for_another_key_that_names_its_digest(
    admin: TestClient, client: Any, registered: Register, assert_problem: Check
) -> None:
    for number in range(3):
        registered(f"conv_{number}", created_at=OLD)
    (made,) = admin.post("/v1/sweeps", json=ORDER).json()["sweeps"]
    path = f"/v1/sweeps/{made['id']}/approvals"
    approval = {"digest": made["plan"]["digest"], "reason": "looked through"}
    approver = client("plans:approve")

    assert made["state"] == "awaiting_approval"
    assert_problem(admin.post(path, json=approval), 409, "not_approvable")
    wrong = {**approval, "digest": "sha256:" + "0" * 64}
    assert_problem(approver.post(path, json=wrong), 409, "not_approvable")
    assert_problem(approver.post(path, json={**approval, "digest": "abc"}), 422, "invalid")
    approved = approver.post(path, json=approval)

    assert approved.status_code == 200
    assert approved.json()["state"] == "released"
    assert_problem(approver.post(path, json=approval), 409, "not_approvable")
    assert_problem(approver.post("/v1/sweeps/swp_1/approvals", json=approval), 404, "not_found")


def test_an_unknown_policy_is_404(admin: TestClient, assert_problem: Check) -> None:
    assert_problem(admin.post("/v1/sweeps", json={"policy": "nobody"}), 404, "not_found")


@pytest.mark.parametrize("body", [{"policy": 1}, {"dry_run": "yes"}, {"dry_run": 1}, {"force": True}])
def test_an_unclear_order_is_refused(admin: TestClient, assert_problem: Check, body: dict[str, Any]) -> None:
    assert_problem(admin.post("/v1/sweeps", json=body), 422, "invalid")


def test_while_dates_are_recomputed_a_sweep_is_503(
    admin: TestClient, house: Any, assert_problem: Check
) -> None:
    with house.database.write() as db:
        digest = bundles.digest_in_force(db)
        assert digest is not None
        bundles.advance_recompute(db, digest=digest, after="")

    answer = admin.post("/v1/sweeps", json=ORDER)

    assert_problem(answer, 503, "not_recomputed")
    assert "retry-after" in answer.headers


def test_the_bundle_in_force_is_shown_with_its_sources(admin: TestClient) -> None:
    shown = admin.get("/v1/policies").json()

    assert shown["object"] == "bundle"
    assert shown["digest"].startswith("sha256:")
    assert shown["recomputed"] is True
    names = {one["metadata"]["name"] for one in shown["documents"]}
    assert {"support-30d", "keep-tagged", "support-eu"} <= names
    assert shown["sources"]["support-30d"].startswith("retention.yaml:")


def test_the_commit_of_the_bundle_is_shown_with_its_author_and_named_by_explanations(
    admin: TestClient, house: Any, registered: Register
) -> None:
    before = admin.get("/v1/policies").json()
    assert (before["commit"], before["author"], before["dirty"]) == (None, None, None)
    origin = {"commit": "c" * 40, "author": "Ada Lovelace", "dirty": True}
    with house.database.write() as db:
        found = bundles.in_force(db)
        assert found is not None
        bundles.activate(
            db, digest=found.digest, canonical=found.canonical, origin=origin, now=house.clock.now()
        )

    shown = admin.get("/v1/policies").json()
    told = admin.get(f"/v1/threads/{registered('conv_1')['id']}/explanation").json()

    assert {name: shown[name] for name in origin} == origin
    assert told["commit"] == "c" * 40
    assert any(
        line.endswith("commit cccccccccccc by Ada Lovelace, with changes that were not committed.")
        for line in told["lines"]
    )


def test_the_newest_checkpoint_is_shown_once_there_is_one(
    admin: TestClient, house: Any, assert_problem: Check
) -> None:
    assert_problem(admin.get("/v1/audit/checkpoint"), 404, "not_found")
    made = seal(house.database, house.services.sealer, clock=house.clock, force=True)

    shown = admin.get("/v1/audit/checkpoint").json()

    assert made is not None
    assert shown["object"] == "checkpoint"
    assert shown["size"] == made.size
    assert shown["note"] == made.note
