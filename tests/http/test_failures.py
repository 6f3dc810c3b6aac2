from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from worker.store.tables import thread

Register = Callable[..., dict[str, Any]]
Check = Callable[..., dict[str, Any]]
WHY = {"reason": "the provider mended it"}


@pytest.fixture
def parked(house: Any, registered: Register) -> list[str]:
    """Three parked threads: two of one project for one reason, one of another project."""
    ids = [
        registered("conv_1")["id"],
        registered("conv_2")["id"],
        registered("conv_3", project="sales-us")["id"],
    ]
    with house.database.write() as db:
        db.execute(update(thread).where(thread.c.id.in_(ids)).values(state="parked", reason="partial"))
    return ids


def test_what_is_parked_is_grouped_and_each_group_lists_its_threads(
    admin: TestClient, parked: list[str]
) -> None:
    listed = admin.get("/v1/failures", params={"project": "support-eu"}).json()["data"]
    assert [(one["project"], one["kind"], one["reason"], one["threads"]) for one in listed] == [
        ("support-eu", "conversation", "partial", 2)
    ]
    page = admin.get(f"/v1/failures/{listed[0]['fingerprint']}", params={"limit": 1}).json()
    assert ([one["id"] for one in page["data"]], page["has_more"]) == (parked[:1], True)
    rest = admin.get(f"/v1/failures/{listed[0]['fingerprint']}", params={"after": page["last_id"]}).json()
    assert ([one["external_id"] for one in rest["data"]], rest["has_more"]) == (["conv_2"], False)


def test_a_retry_moves_one_group_and_says_how_many(admin: TestClient, parked: list[str]) -> None:
    (group,) = admin.get("/v1/failures", params={"project": "support-eu"}).json()["data"]
    answer = admin.post(f"/v1/failures/{group['fingerprint']}/retry", json=WHY).json()
    assert (answer["action"], answer["threads"]) == ("retry", 2)
    states = [admin.get(f"/v1/threads/{one}").json()["state"] for one in parked]
    assert states == ["live", "live", "parked"]


def test_a_key_of_other_projects_sees_no_group_and_moves_none(
    admin: TestClient, client: Any, parked: list[str], assert_problem: Check
) -> None:
    sales = client("threads:read", "sweeps:run", projects=("sales-us",))
    (own,) = sales.get("/v1/failures").json()["data"]
    assert own["project"] == "sales-us"
    other = next(
        one for one in admin.get("/v1/failures").json()["data"] if one["fingerprint"] != own["fingerprint"]
    )
    for action in ("retry", "accept"):
        refused = sales.post(f"/v1/failures/{other['fingerprint']}/{action}", json=WHY)
        assert_problem(refused, 404, "not_found")
    assert_problem(sales.get(f"/v1/failures/{other['fingerprint']}"), 404, "not_found")
    assert admin.get(f"/v1/threads/{parked[0]}").json()["state"] == "parked"


def test_moving_needs_the_right_to_run_sweeps_and_a_reason(
    admin: TestClient, client: Any, parked: list[str], assert_problem: Check
) -> None:
    (group, *_) = admin.get("/v1/failures").json()["data"]
    path = f"/v1/failures/{group['fingerprint']}/retry"
    assert_problem(client("threads:read").post(path, json=WHY), 403, "forbidden")
    assert_problem(admin.post(path, json={}), 422, "invalid")
    assert len(admin.get("/v1/failures").json()["data"]) == 2
    assert parked
