from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from worker.http.app import create_app

Register = Callable[..., dict[str, Any]]
Check = Callable[..., dict[str, Any]]

PLAIN = {"external_id": "conv_1", "project": "support-eu", "owner": "team-support"}


def test_a_registered_thread_is_shown_exactly_as_the_interface_says(admin: TestClient) -> None:
    sent = {**PLAIN, "ttl": "10d", "tags": {"env": "prod"}, "created_at": "2026-11-01T10:00:00+02:00"}

    answer = admin.post("/v1/threads", json=sent)

    assert answer.status_code == 201
    shown = answer.json()
    assert answer.headers["location"] == f"/v1/threads/{shown['id']}"
    assert list(shown) == [
        "object",
        "id",
        "kind",
        "external_id",
        "project",
        "owner",
        "tags",
        "ttl",
        "created_at",
        "last_activity_at",
        "registered_at",
        "state",
        "decision",
        "evidence",
    ]
    assert shown["id"].startswith("thr_")
    assert shown["object"] == "thread"
    assert shown["kind"] == "conversation"
    assert shown["tags"] == {"env": "prod"}
    assert shown["ttl"] == "P10D"
    assert shown["created_at"] == "2026-11-01T08:00:00Z"
    assert shown["last_activity_at"] is None
    assert shown["state"] == "live"
    assert shown["evidence"] is None
    assert shown["decision"]["outcome"] == "DUE"
    assert shown["decision"]["decided_by"] == "producer-ttl"
    assert shown["decision"]["eligible_at"] == "2026-11-11T08:00:00Z"
    assert shown["decision"]["bundle"].startswith("sha256:")


def test_the_same_again_is_200_and_the_same_thread(admin: TestClient, registered: Register) -> None:
    first = registered("conv_1", ttl="30d")

    again = admin.post("/v1/threads", json={**PLAIN, "ttl": "P30D"})

    assert again.status_code == 200
    assert again.json()["id"] == first["id"]


def test_a_repeat_that_says_less_is_the_same_registration(admin: TestClient, registered: Register) -> None:
    registered("conv_1", ttl="30d", tags={"env": "prod"})

    assert admin.post("/v1/threads", json=PLAIN).status_code == 200


def test_other_values_are_a_conflict_with_a_diff_and_change_nothing(
    admin: TestClient, registered: Register, assert_problem: Check
) -> None:
    first = registered("conv_1", ttl="30d", created_at="2026-11-01T08:00:00Z")

    sent = {**PLAIN, "owner": "team-other", "ttl": "1d", "created_at": "2026-11-02T08:00:00Z"}
    problem = assert_problem(admin.post("/v1/threads", json=sent), 409, "conflict")

    assert problem["existing"] == first["id"]
    assert problem["diff"] == [
        {"field": "owner", "registered": "team-support", "given": "team-other"},
        {"field": "ttl", "registered": "P30D", "given": "P1D"},
        {"field": "created_at", "registered": "2026-11-01T08:00:00Z", "given": "2026-11-02T08:00:00Z"},
    ]
    assert admin.get(f"/v1/threads/{first['id']}").json()["ttl"] == "P30D"


def test_an_object_of_another_project_of_the_same_account_does_not_name_it(
    admin: TestClient, registered: Register, assert_problem: Check
) -> None:
    first = registered("conv_1")

    answer = admin.post("/v1/threads", json={**PLAIN, "project": "support-twin"})

    assert_problem(answer, 409, "registered_elsewhere")
    assert "support-eu" not in answer.text
    assert first["id"] not in answer.text


def test_tags_may_be_a_list(registered: Register) -> None:
    shown = registered("conv_1", tags=["keep", "env"], created_at="2026-11-01T08:00:00Z")

    assert shown["tags"] == {"keep": "true", "env": "true"}
    assert shown["decision"]["outcome"] == "RETAINED"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ttl", False),
        ("ttl", 30),
        ("ttl", ""),
        ("owner", ""),
        ("owner", None),
        ("owner", 7),
        ("owner", "x" * 201),
        ("owner", "a\u0000b"),
        ("owner", "a\nb"),
        ("owner", "\ud800"),
        ("project", ""),
        ("project", ["support-eu"]),
        ("external_id", 1),
        ("external_id", ""),
        ("kind", "resource"),
        ("kind", 1),
        ("tags", "keep"),
        ("tags", [1]),
        ("tags", {"": "x"}),
        ("tags", {"env": ""}),
        ("tags", {"env": 1}),
        ("tags", {"env": "a\u0007"}),
        ("tags", {f"k{number}": "v" for number in range(65)}),
        ("created_at", 1_700_000_000),
        ("created_at", "2026-11-01"),
        ("created_at", "2026-11-01T08:00:00"),
        ("created_at", "2026-02-30T08:00:00Z"),
        ("created_at", "0001-01-01T00:00:00+23:59"),
        ("created_at", "2026-W45-1T08:00:00Z"),
        ("children", "msg_1"),
        ("children", ["a b"]),
        ("state", "deleted"),
        ("id", "thr_1"),
    ],
)
def test_what_has_the_wrong_form_is_refused_with_a_pointer_and_without_the_value(
    client: Any, assert_problem: Check, field: str, value: Any
) -> None:
    sent = json.dumps({**PLAIN, field: value})

    answer = client("threads:write").post(
        "/v1/threads", content=sent, headers={"Content-Type": "application/json"}
    )

    problem = assert_problem(answer, 422, "invalid")
    assert any(one["pointer"].startswith(f"/{field}") for one in problem["errors"])
    assert all(one["in"] == "body" and "input" not in one for one in problem["errors"])


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        ({"external_id": "run_1"}, "wrong_kind", "/external_id"),
        ({"external_id": "what_1"}, "unknown_kind", "/external_id"),
        ({"external_id": "conv_a b"}, "invalid_id", "/external_id"),
        ({"external_id": "conv_1", "kind": "response"}, "wrong_kind", "/kind"),
        ({"ttl": "30m"}, "invalid_ttl", "/ttl"),
        ({"ttl": "P200Y"}, "invalid_ttl", "/ttl"),
        ({"project": "nobody"}, "unknown_project", "/project"),
        ({"children": ["file-1"]}, "invalid_child", "/children/0"),
        ({"external_id": "thread_1", "children": ["vs_1", "msg_1"]}, "invalid_child", "/children/1"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_own_code(
    admin: TestClient, assert_problem: Check, fields: dict[str, str], code: str, pointer: str
) -> None:
    problem = assert_problem(admin.post("/v1/threads", json={**PLAIN, **fields}), 422, code)

    assert [one["pointer"] for one in problem["errors"]] == [pointer]
    assert "P200Y" not in problem["detail"]


def test_a_run_id_is_told_to_be_a_run_id(admin: TestClient) -> None:
    answer = admin.post("/v1/threads", json={**PLAIN, "external_id": "run_1"})

    assert "a run id" in answer.json()["detail"]


def test_an_agent_session_needs_its_kind(admin: TestClient) -> None:
    sent = {**PLAIN, "external_id": "anything-1"}

    assert admin.post("/v1/threads", json=sent).status_code == 422
    assert admin.post("/v1/threads", json={**sent, "kind": "agent_session"}).status_code == 201


@pytest.mark.parametrize("path", ["", "/explanation", "/entries"])
def test_a_thread_is_found_by_either_id(admin: TestClient, registered: Register, path: str) -> None:
    made = registered("conv_1")

    ours, theirs = (admin.get(f"/v1/threads/{name}{path}") for name in (made["id"], "conv_1"))

    assert ours.status_code == theirs.status_code == 200


@pytest.mark.parametrize(
    "name", ["thr_1", "thr_" + "0" * 32, "conv_nobody", "%00", "a%20b", "..%2F", "%FF", "'; --", "x" * 500]
)
def test_a_malformed_or_unknown_id_is_404(admin: TestClient, assert_problem: Check, name: str) -> None:
    assert_problem(admin.get(f"/v1/threads/{name}"), 404, "not_found")


def test_an_external_id_of_two_projects_is_ambiguous_until_the_key_sees_one(
    admin: TestClient, client: Any, registered: Register, assert_problem: Check
) -> None:
    registered("conv_1")
    registered("conv_1", project="sales-us")

    assert_problem(admin.get("/v1/threads/conv_1"), 409, "ambiguous_id")
    bound = client("threads:read", projects=["sales-us"])
    assert bound.get("/v1/threads/conv_1").json()["project"] == "sales-us"


def test_a_withdrawn_thread_keeps_its_entries_and_is_not_withdrawn_twice(
    admin: TestClient, registered: Register, assert_problem: Check
) -> None:
    made = registered("conv_1")

    answer = admin.post(f"/v1/threads/{made['id']}/withdraw", json={"reason": "registered by mistake"})

    assert answer.status_code == 200
    assert answer.json()["state"] == "withdrawn"
    assert answer.json()["decision"]["outcome"] == "SKIP"
    types = [one["type"] for one in admin.get(f"/v1/threads/{made['id']}/entries").json()["data"]]
    assert types == ["thread.registered", "thread.withdrawn"]
    again = admin.post(f"/v1/threads/{made['id']}/withdraw", json={"reason": "once more"})
    assert_problem(again, 409, "not_live")


def test_an_explanation_names_the_rule_and_who_can_stop_it(admin: TestClient, registered: Register) -> None:
    made = registered("conv_1", created_at="2026-11-01T08:00:00Z")

    shown = admin.get(f"/v1/threads/{made['id']}/explanation").json()

    assert shown["object"] == "explanation"
    assert shown["thread"] == made["id"]
    assert shown["decision"]["outcome"] == "PENDING"
    assert "support-30d" in shown["lines"][0]


def test_an_entry_shows_its_time_actor_and_fields_but_no_salt(
    admin: TestClient, registered: Register
) -> None:
    made = registered("conv_1")

    (entry,) = admin.get(f"/v1/threads/{made['id']}/entries").json()["data"]

    assert entry["object"] == "entry"
    assert entry["id"] == str(entry["index"])
    assert entry["type"] == "thread.registered"
    assert entry["subject"] == made["id"]
    assert entry["actor"].startswith("key:")
    assert entry["at"].endswith("Z")
    assert "salt" not in entry["body"]


def test_before_any_bundle_a_registration_is_503_with_a_time_to_retry(
    bare: Any, assert_problem: Check
) -> None:
    client = TestClient(
        create_app(bare.services), headers={"Authorization": f"Bearer {bare.key('threads:write')}"}
    )
    answer = client.post("/v1/threads", json=PLAIN)

    assert_problem(answer, 503, "no_bundle")
    assert int(answer.headers["retry-after"]) > 0
