from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from worker.flows.key import ALL_SCOPES, LOCAL
from worker.http.app import create_app

Register = Callable[..., dict[str, Any]]
Check = Callable[..., dict[str, Any]]

PLAIN = {"external_id": "conv_1", "project": "support-eu", "owner": "team-support"}
# These stop before the database matters.
SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
ROUTES = [
    ("POST", "/v1/threads", "threads:write"),
    ("GET", "/v1/threads", "threads:read"),
    ("GET", "/v1/threads/conv_1", "threads:read"),
    ("POST", "/v1/threads/conv_1/withdraw", "threads:write"),
    ("GET", "/v1/threads/conv_1/explanation", "threads:read"),
    ("GET", "/v1/threads/conv_1/entries", "threads:read"),
    ("POST", "/v1/holds", "holds:write"),
    ("GET", "/v1/holds", "holds:write"),
    ("GET", "/v1/holds/hold_1", "holds:write"),
    ("POST", "/v1/holds/hold_1/release", "holds:release"),
    ("POST", "/v1/erasures", "erasures:write"),
    ("GET", "/v1/erasures/era_1", "erasures:write"),
    ("GET", "/v1/policies", "policies:read"),
    ("POST", "/v1/sweeps", "sweeps:run"),
    ("GET", "/v1/sweeps", "sweeps:run"),
    ("GET", "/v1/sweeps/swp_1", "sweeps:run"),
    ("POST", "/v1/sweeps/swp_1/approvals", "plans:approve"),
    ("PUT", "/v1/switches/deletes", "switches:write"),
    ("GET", "/v1/keys", "keys:admin"),
    ("POST", "/v1/keys", "keys:admin"),
    ("POST", "/v1/keys/k/revoke", "keys:admin"),
    ("POST", "/v1/keys/k/rotate", "keys:admin"),
    ("GET", "/v1/audit/entries", "audit:read"),
    ("GET", "/v1/audit/checkpoint", "audit:read"),
]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "Bearer",
        "Bearer ",
        "Basic dGVudXJlOnRlbnVyZQ==",
        "Bearer sk-something",
        "Bearer tnr_a_b_c",
        "Bearer tnr_a_b_00000000",
        "Bearer tnr_a_b_5c2e3a2f_",
    ],
)
def test_without_a_good_key_every_route_is_401_also_one_that_is_not_there(
    app: FastAPI, assert_problem: Check, header: str | None
) -> None:
    client = TestClient(app, headers={"Authorization": header} if header else {})

    for path in ("/v1/threads", "/v1/nothing", "/v1"):
        answer = client.get(path)
        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_changed_secret_or_checksum_is_refused(app: FastAPI, house: Any, assert_problem: Check) -> None:
    good = house.key("threads:read")
    prefix, key_id, secret, _ = good.split("_")
    other = house.key("threads:read").split("_")
    wrong = [f"{prefix}_{key_id}_{secret}_00000000", "_".join([prefix, key_id, *other[2:]]), good + "0"]

    assert TestClient(app).get("/v1/threads", headers={"Authorization": f"bearer {good}"}).status_code == 200
    for text in wrong:
        answer = TestClient(app).get("/v1/threads", headers={"Authorization": f"Bearer {text}"})
        assert_problem(answer, 401, "unauthorized")
        assert secret not in answer.text


def test_nothing_of_the_body_is_read_before_the_key(app: FastAPI, assert_problem: Check) -> None:
    answer = TestClient(app).post(
        "/v1/threads", content="{not json", headers={"Content-Type": "application/json"}
    )

    assert_problem(answer, 401, "unauthorized")


@SQLITE
@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_each_route_needs_its_scope(
    client: Any, assert_problem: Check, method: str, path: str, scope: str
) -> None:
    unfit = {"threads:read", "audit:read", "policies:read", "holds:release", "plans:approve", scope}
    others = [one for one in ALL_SCOPES if one not in unfit and one != "sweeps:run"]
    body: dict[str, Any] = {"json": {}} if method != "GET" else {}
    if path.startswith("/v1/holds") and "release" not in path:
        others = [one for one in others if not one.startswith("holds:")]

    refused = client(*others).request(method, path, **body)
    passed = client(scope).request(method, path, **body)

    assert scope in assert_problem(refused, 403, "forbidden")["detail"]
    assert passed.status_code not in {401, 403}


def test_a_revoked_or_expired_key_is_refused_at_once(
    admin: TestClient, app: FastAPI, house: Any, assert_problem: Check
) -> None:
    body: dict[str, Any] = {
        "label": "ci",
        "scopes": ["threads:read"],
        "projects": ["*"],
        "expires_at": "2026-11-22T09:00:00Z",
    }
    first, second = (admin.post("/v1/keys", json=body).json() for _ in range(2))

    def look(key: dict[str, Any]) -> Any:
        return TestClient(app).get("/v1/threads", headers={"Authorization": f"Bearer {key['key']}"})

    assert look(first).status_code == look(second).status_code == 200
    revoked = admin.post(f"/v1/keys/{first['id']}/revoke")
    assert revoked.json()["revoked_at"] is not None
    assert "key" not in revoked.json()
    assert_problem(look(first), 401, "unauthorized")
    assert_problem(admin.post(f"/v1/keys/{first['id']}/revoke"), 409, "already_revoked")
    house.clock.move(hours=2)
    assert_problem(look(second), 401, "unauthorized")


def test_a_key_is_shown_once_and_listed_without_its_secret(admin: TestClient) -> None:
    made = admin.post("/v1/keys", json={"label": "ci", "scopes": ["threads:read"], "projects": ["*"]}).json()

    listed = admin.get("/v1/keys")

    assert made["key"].startswith(f"tnr_{made['id']}_")
    assert made["key"].split("_")[2] not in listed.text
    assert made["id"] in {one["id"] for one in listed.json()["data"]}


def test_one_key_never_releases_holds_and_runs_sweeps(admin: TestClient, assert_problem: Check) -> None:
    for scope in ("sweeps:run", "plans:approve"):
        body = {"label": "x", "scopes": ["holds:release", scope], "projects": ["*"]}
        problem = assert_problem(admin.post("/v1/keys", json=body), 422, "duties_not_separate")
        assert problem["errors"][0]["pointer"] == "/scopes"


def test_a_bound_admin_makes_keys_for_its_own_projects_only_and_sees_no_others(
    client: Any, house: Any, assert_problem: Check
) -> None:
    wide = house.key("threads:read").split("_")[1]
    bound = client("keys:admin", "threads:read", projects=["sales-us"])
    body = {"label": "x", "scopes": ["threads:read"]}

    for projects in (["*"], ["support-eu"], ["sales-us", "support-eu"]):
        assert_problem(bound.post("/v1/keys", json={**body, "projects": projects}), 403, "project_bound")
    made = bound.post("/v1/keys", json={**body, "projects": ["sales-us"]})

    assert made.status_code == 201
    assert wide not in bound.get("/v1/keys").text
    assert_problem(bound.post(f"/v1/keys/{wide}/revoke"), 404, "not_found")
    assert bound.post(f"/v1/keys/{made.json()['id']}/revoke").status_code == 200


def test_a_project_of_somebody_else_is_as_if_it_were_not_there(
    client: Any, registered: Register, assert_problem: Check
) -> None:
    theirs = registered("conv_theirs", created_at="2026-10-01T08:00:00Z")
    ours = registered("conv_ours", project="sales-us")
    bound = client("threads:read", "threads:write", "audit:read", projects=["sales-us"])

    assert [one["id"] for one in bound.get("/v1/threads").json()["data"]] == [ours["id"]]
    for query in ("project=support-eu", "external_id=conv_theirs", "outcome=DUE"):
        assert bound.get(f"/v1/threads?{query}").json()["data"] == []
    for name in (theirs["id"], "conv_theirs"):
        for path in ("", "/explanation", "/entries"):
            assert_problem(bound.get(f"/v1/threads/{name}{path}"), 404, "not_found")
        answer = bound.post(f"/v1/threads/{name}/withdraw", json={"reason": "not mine"})
        assert_problem(answer, 404, "not_found")
    entries = bound.get("/v1/audit/entries").json()["data"]
    assert {one["project"] for one in entries} == {"sales-us"}
    assert bound.get("/v1/audit/entries?project=support-eu").json()["data"] == []


def test_registering_in_another_project_answers_as_for_one_that_nobody_knows(
    client: Any, assert_problem: Check
) -> None:
    bound = client("threads:write", projects=["sales-us"])

    theirs = bound.post("/v1/threads", json=PLAIN)
    nobodys = bound.post("/v1/threads", json={**PLAIN, "project": "nobody"})

    problems = [assert_problem(one, 422, "unknown_project") for one in (theirs, nobodys)]
    assert len({(one["detail"], str(one["errors"])) for one in problems}) == 1


def test_a_bound_hold_stays_inside_its_projects(
    client: Any, admin: TestClient, registered: Register, assert_problem: Check
) -> None:
    theirs, ours = registered("conv_1"), registered("conv_1", project="sales-us")
    bound = client("holds:write", projects=["sales-us"])
    body = {"matter": "M-1", "reason": "case", "scope": {"ids": ["conv_1", theirs["id"]]}}

    placed = bound.post("/v1/holds", json=body)

    assert placed.status_code == 201
    assert placed.json()["matched"] == 1
    assert placed.json()["scope"]["projects"] == ["sales-us"]
    assert placed.json()["unknown"] == [theirs["id"]]
    assert admin.get(f"/v1/threads/{theirs['id']}").json()["decision"]["outcome"] != "HELD"
    assert admin.get(f"/v1/threads/{ours['id']}").json()["decision"]["outcome"] == "HELD"
    for projects in (["support-eu"], ["*"], ["sales-*"]):
        scope = {"owners": ["x"], "projects": projects}
        assert_problem(bound.post("/v1/holds", json={**body, "scope": scope}), 403, "project_bound")


def test_a_bound_key_sees_only_holds_of_its_projects(
    client: Any, admin: TestClient, assert_problem: Check
) -> None:
    ids = []
    for scope in ({"owners": ["x"]}, {"projects": ["support-eu"]}, {"projects": ["sales-us"]}):
        body = {"matter": "M", "reason": "case", "scope": scope}
        ids.append(admin.post("/v1/holds", json=body).json()["id"])
    bound = client("holds:write", "holds:release", projects=["sales-us"])

    assert [one["id"] for one in bound.get("/v1/holds").json()["data"]] == ids[2:]
    for one in ids[:2]:
        assert_problem(bound.get(f"/v1/holds/{one}"), 404, "not_found")
        assert_problem(bound.post(f"/v1/holds/{one}/release", json={"reason": "x"}), 404, "not_found")


def test_a_bound_erasure_reaches_its_projects_and_its_receipt_is_private(
    client: Any, admin: TestClient, registered: Register, assert_problem: Check
) -> None:
    registered("conv_1", owner="someone", created_at="2026-11-20T08:00:00Z")
    ours = registered("conv_2", owner="someone", project="sales-us", created_at="2026-11-20T08:00:00Z")
    sales = client("erasures:write", projects=["sales-us"])
    support = client("erasures:write", projects=["support-eu"])

    order = sales.post("/v1/erasures", json={"owner": "someone", "reason": "request"}).json()

    assert [one["id"] for one in order["threads"]] == [ours["id"]]
    assert admin.get("/v1/threads/conv_1").json()["decision"]["outcome"] == "PENDING"
    assert sales.get(f"/v1/erasures/{order['id']}").status_code == 200
    assert_problem(support.get(f"/v1/erasures/{order['id']}"), 404, "not_found")


def test_what_reaches_every_project_refuses_a_bound_key(client: Any, assert_problem: Check) -> None:
    bound = client("sweeps:run", "plans:approve", "switches:write", "policies:read", projects=["sales-us"])
    approval = {"digest": "sha256:" + "0" * 64, "reason": "x"}

    assert_problem(bound.post("/v1/sweeps", json={}), 403, "project_bound")
    assert_problem(bound.get("/v1/sweeps"), 403, "project_bound")
    assert_problem(bound.post("/v1/sweeps/swp_1/approvals", json=approval), 403, "project_bound")
    switch = {"enabled": False, "reason": "x"}
    assert_problem(bound.put("/v1/switches/deletes", json=switch), 403, "project_bound")
    other = {**switch, "project": "support-eu"}
    assert_problem(bound.put("/v1/switches/deletes", json=other), 422, "unknown_project")
    own = {**switch, "project": "sales-us"}
    assert bound.put("/v1/switches/deletes", json=own).status_code == 200
    projects = [
        one["metadata"]["name"]
        for one in bound.get("/v1/policies").json()["documents"]
        if one["kind"] == "Project"
    ]
    assert projects == ["sales-us"]


def test_the_local_caller_needs_no_key(house: Any) -> None:
    client = TestClient(create_app(house.services, local=LOCAL))

    assert client.post("/v1/threads", json=PLAIN).status_code == 201
    (entry,) = client.get("/v1/audit/entries").json()["data"]
    assert entry["actor"] == LOCAL.actor
