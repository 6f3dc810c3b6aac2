from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

Register = Callable[..., dict[str, Any]]
Check = Callable[..., dict[str, Any]]

OLD = "2026-10-01T08:00:00Z"


def hold(scope: dict[str, Any], matter: str = "M-1") -> dict[str, Any]:
    return {"matter": matter, "reason": "a lawsuit", "scope": scope}


def test_a_hold_says_what_it_matched_and_what_nobody_registered(
    admin: TestClient, registered: Register
) -> None:
    first, second = registered("conv_1", created_at=OLD), registered("conv_2", created_at=OLD)

    answer = admin.post("/v1/holds", json=hold({"ids": [first["id"], "conv_2", "conv_later"]}))

    assert answer.status_code == 201
    placed = answer.json()
    assert placed["object"] == "hold"
    assert placed["state"] == "active"
    assert placed["matched"] == 2
    assert placed["unknown"] == ["conv_later"]
    assert placed["too_late"] == []
    assert placed["uncertain"] == []
    assert placed["placed_by"].startswith("key:")
    for one in (first, second):
        decision = admin.get(f"/v1/threads/{one['id']}").json()["decision"]
        assert (decision["outcome"], decision["decided_by"]) == ("HELD", "hold:M-1")
    later = registered("conv_later", created_at=OLD)
    assert later["decision"]["outcome"] == "HELD"
    assert admin.get(f"/v1/holds/{placed['id']}").json() == placed


def test_a_hold_takes_globs_and_selectors_which_must_all_match(
    admin: TestClient, registered: Register
) -> None:
    hit = registered("conv_1", owner="team-legal-1", tags={"env": "prod"})
    miss = registered("conv_2", owner="team-legal-1")
    scope = {
        "owners": ["team-legal-*"],
        "projects": ["support-??"],
        "tags": [
            {"key": "env", "operator": "In", "values": ["prod"]},
            {"key": "x", "operator": "DoesNotExist"},
        ],
    }

    assert admin.post("/v1/holds", json=hold(scope)).json()["matched"] == 1
    assert admin.get(f"/v1/threads/{hit['id']}").json()["decision"]["outcome"] == "HELD"
    assert admin.get(f"/v1/threads/{miss['id']}").json()["decision"]["outcome"] != "HELD"


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        (hold({}), "empty_scope", "/scope"),
        (hold({"ids": []}), "empty_scope", "/scope"),
        (hold({"owners": ["team-[ab]"]}), "bad_glob", "/scope/owners/0"),
        (hold({"projects": ["ok", "x["]}), "bad_glob", "/scope/projects/1"),
        (hold({"ids": "conv_1"}), "invalid", "/scope/ids"),
        (hold({"ids": ["a b"]}), "invalid", "/scope/ids/0"),
        (hold({"everything": True}), "invalid", "/scope/everything"),
        (hold({"tags": [{"key": "a", "operator": "Equals"}]}), "invalid", "/scope/tags/0/operator"),
        (hold({"tags": [{"key": "a", "operator": "In"}]}), "invalid", "/scope/tags/0"),
        (hold({"tags": [{"key": "a", "operator": "Exists", "values": ["b"]}]}), "invalid", "/scope/tags/0"),
        ({"matter": "M", "scope": {"ids": ["conv_1"]}}, "invalid", "/reason"),
        ({"matter": "", "reason": "x", "scope": {"ids": ["conv_1"]}}, "invalid", "/matter"),
        ({"matter": "M", "reason": " \n", "scope": {"ids": ["conv_1"]}}, "invalid", "/reason"),
    ],
)
def test_a_hold_that_protects_nothing_or_is_unclear_is_refused(
    admin: TestClient, assert_problem: Check, body: dict[str, Any], code: str, pointer: str
) -> None:
    problem = assert_problem(admin.post("/v1/holds", json=body), 422, code)

    assert [one["pointer"] for one in problem["errors"]] == [pointer]
    assert admin.get("/v1/holds").json()["data"] == []


def test_a_released_hold_protects_no_longer_and_is_not_released_twice(
    admin: TestClient, client: Any, registered: Register, assert_problem: Check
) -> None:
    made = registered("conv_1", created_at=OLD)
    placed = admin.post("/v1/holds", json=hold({"ids": [made["id"]]})).json()
    releaser = client("holds:release")

    released = releaser.post(f"/v1/holds/{placed['id']}/release", json={"reason": "settled"})

    assert released.status_code == 200
    assert released.json()["state"] == "released"
    assert released.json()["release_reason"] == "settled"
    assert admin.get(f"/v1/threads/{made['id']}").json()["decision"]["outcome"] == "DUE"
    again = releaser.post(f"/v1/holds/{placed['id']}/release", json={"reason": "settled"})
    assert_problem(again, 409, "already_released")
    assert [one["id"] for one in admin.get("/v1/holds?state=released").json()["data"]] == [placed["id"]]
    assert admin.get("/v1/holds?state=active").json()["data"] == []
    assert admin.get("/v1/holds?matter=M-2").json()["data"] == []


@pytest.mark.parametrize("path", ["/v1/holds/hold_1", "/v1/holds/%00", "/v1/sweeps/x", "/v1/sweeps/%00"])
def test_an_unknown_hold_or_sweep_is_404(admin: TestClient, assert_problem: Check, path: str) -> None:
    assert_problem(admin.get(path), 404, "not_found")


def test_an_erasure_answers_with_a_receipt_for_each_thread(admin: TestClient, registered: Register) -> None:
    new = registered("conv_new", owner="jane", created_at="2026-11-20T08:00:00Z")
    kept = registered("conv_kept", owner="jane", created_at="2026-11-20T08:00:00Z", tags=["keep"])
    registered("conv_other", owner="janet", created_at="2026-11-20T08:00:00Z")

    answer = admin.post("/v1/erasures", json={"owner": "jane", "reason": "request 7"})

    assert answer.status_code == 201
    order = answer.json()
    assert order["object"] == "erasure"
    assert order["owner"] == "jane"
    lines = {one["id"]: one for one in order["threads"]}
    assert lines.keys() == {new["id"], kept["id"]}
    assert lines[new["id"]]["status"] == "pending"
    assert lines[kept["id"]]["status"] == "refused"
    assert lines[kept["id"]]["reason"] == "keep-tagged"
    decision = admin.get("/v1/threads/conv_new").json()["decision"]
    assert (decision["outcome"], decision["decided_by"]) == ("DUE", "erasure")
    assert admin.get(f"/v1/erasures/{order['id']}").json() == order


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"reason": "x"}, "/owner"),
        ({"owner": "a", "ids": ["conv_1"], "reason": "x"}, "/owner"),
        ({"owner": "a", "reason": "x", "at": "2030-01-01T00:00:00Z"}, "/at"),
        ({"owner": "a", "reason": "x", "at": "now"}, "/at"),
        ({"owner": "a"}, "/reason"),
        ({"ids": [1], "reason": "x"}, "/ids/0"),
    ],
)
def test_an_unclear_erasure_is_refused(
    admin: TestClient, assert_problem: Check, body: dict[str, Any], pointer: str
) -> None:
    problem = assert_problem(admin.post("/v1/erasures", json=body), 422, "invalid")

    assert [one["pointer"] for one in problem["errors"]] == [pointer]


@pytest.mark.parametrize("name", ["era_1", "%00"])
def test_an_unknown_erasure_is_404(admin: TestClient, assert_problem: Check, name: str) -> None:
    assert_problem(admin.get(f"/v1/erasures/{name}"), 404, "not_found")


def test_the_switch_is_answered_and_recorded(admin: TestClient, assert_problem: Check) -> None:
    body = {"enabled": False, "project": None, "reason": "incident"}

    answer = admin.put("/v1/switches/deletes", json=body)

    assert answer.status_code == 200
    assert answer.json() == {"object": "switch", **body, "too_late": [], "uncertain": []}
    (entry,) = admin.get("/v1/audit/entries?type=switch.changed").json()["data"]
    assert entry["body"]["reason"] == "incident"
    unknown = admin.put("/v1/switches/deletes", json={**body, "project": "nobody"})
    assert_problem(unknown, 422, "unknown_project")
    for wrong in ({**body, "enabled": "false"}, {**body, "enabled": 0}):
        assert_problem(admin.put("/v1/switches/deletes", json=wrong), 422, "invalid")
