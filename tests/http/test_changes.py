from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

Register = Callable[..., dict[str, Any]]
Check = Callable[..., dict[str, Any]]
Clients = Callable[..., TestClient]

OLD = "2026-11-01T08:00:00Z"


def tag_of(client: TestClient, thread: dict[str, Any]) -> str:
    return client.get(f"/v1/threads/{thread['id']}").headers["etag"]


def patch(client: TestClient, thread: dict[str, Any], **fields: Any) -> Any:
    headers = {"If-Match": tag_of(client, thread)}
    return client.patch(f"/v1/threads/{thread['id']}", json=fields, headers=headers)


def test_a_change_answers_with_the_thread_and_its_new_tag(admin: TestClient, registered: Register) -> None:
    one = registered("conv_1", created_at=OLD, ttl="25d")
    before = tag_of(admin, one)
    answer = patch(admin, one, owner="team-2", tags={"a": "b"}, ttl="24d")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["owner"], answer.json()["ttl"], answer.json()["tags"]) == (
        "team-2",
        "P24D",
        {"a": "b"},
    )
    assert answer.headers["etag"] == tag_of(admin, one) != before
    assert patch(admin, one, ttl=None).json()["ttl"] is None
    assert [each["id"] for each in admin.get("/v1/threads?tag=a:b").json()["data"]] == [one["id"]]
    types = [one["type"] for one in admin.get(f"/v1/threads/{one['id']}/entries").json()["data"]]
    assert types == ["thread.registered", "thread.changed", "thread.changed"]


def test_a_change_without_if_match_is_428_and_with_an_old_one_412(
    admin: TestClient, registered: Register, assert_problem: Check
) -> None:
    one = registered("conv_1")
    url, old = f"/v1/threads/{one['id']}", tag_of(admin, one)
    assert_problem(admin.patch(url, json={"owner": "x"}), 428, "if_match_required")
    assert admin.patch(url, json={"owner": "x"}, headers={"If-Match": f'"v99", {old}'}).status_code == 200
    for tag in (old, f"W/{old}", "v2", '"nonsense"'):
        answer = admin.patch(url, json={"owner": "y"}, headers={"If-Match": tag})
        assert_problem(answer, 412, "stale")
    assert admin.patch(url, json={"owner": "y"}, headers={"If-Match": "*"}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"owner": None},
        {"tags": None},
        {"created_at": None},
        {"ttl": False},
        {"ttl": "soon"},
        {"project": "sales-us"},
        {"children": []},
        {"owner": ""},
    ],
)
def test_what_is_no_change_is_422(
    admin: TestClient, registered: Register, assert_problem: Check, body: dict[str, Any]
) -> None:
    one = registered("conv_1")
    answer = patch(admin, one, **body)
    assert answer.status_code == 422
    assert_problem(answer, 422, answer.json()["code"])


def test_what_would_end_a_protection_or_outlast_a_rule_is_409(
    admin: TestClient, registered: Register, assert_problem: Check
) -> None:
    one = registered("conv_1", created_at=OLD, ttl="20d", tags={"keep": "true"})
    assert "keep-tagged" in assert_problem(patch(admin, one, tags={}), 409, "retained")["detail"]
    assert "support-30d" in assert_problem(patch(admin, one, ttl="40d"), 409, "ttl_beyond_policy")["detail"]
    hold = {"matter": "M-1", "reason": "a lawsuit", "scope": {"owners": ["team-support"]}}
    assert admin.post("/v1/holds", json=hold).status_code == 201
    assert "M-1" in assert_problem(patch(admin, one, owner="x"), 409, "held")["detail"]
    assert patch(admin, one, ttl="10d").json()["decision"]["outcome"] == "HELD"


def test_a_creation_is_told_once(admin: TestClient, registered: Register, assert_problem: Check) -> None:
    one = registered("conv_1")
    assert one["decision"]["outcome"] == "UNKNOWN"
    assert patch(admin, one, created_at=OLD).json()["decision"]["outcome"] == "PENDING"
    assert_problem(patch(admin, one, created_at="2026-10-01T08:00:00Z"), 422, "created_at_known")


def test_a_change_of_another_projects_thread_is_404(
    client: Clients, registered: Register, assert_problem: Check
) -> None:
    one = registered("conv_1")
    other = client("threads:write", "threads:read", projects=("sales-us",))
    url = f"/v1/threads/{one['id']}"
    assert_problem(other.patch(url, json={"owner": "x"}, headers={"If-Match": "*"}), 404, "not_found")
    assert_problem(other.post(f"{url}/touch"), 404, "not_found")
    [line] = other.post("/v1/threads/touch", json={"ids": [one["id"]]}).json()["data"]
    assert line == {
        "id": one["id"],
        "thread": None,
        "status": "refused",
        "last_activity_at": None,
        "code": "not_found",
    }
    reader = client("threads:read")
    assert_problem(reader.patch(url, json={"owner": "x"}, headers={"If-Match": "*"}), 403, "forbidden")


def test_activity_is_noted_now_or_when_told_and_never_goes_back(
    admin: TestClient, registered: Register
) -> None:
    one = registered("conv_1", created_at=OLD)
    url = f"/v1/threads/{one['id']}/touch"
    told = admin.post(url, json={"at": "2026-11-20T08:00:00Z"})
    assert told.json()["last_activity_at"] == "2026-11-20T08:00:00Z"
    assert told.headers["etag"] == tag_of(admin, one)
    assert admin.post(url, json={"at": OLD}).json()["last_activity_at"] == "2026-11-20T08:00:00Z"
    assert admin.post(url).json()["last_activity_at"] > "2026-11-20T08:00:00Z"
    assert admin.post(url, json={"at": "2031-01-01T00:00:00Z"}).status_code == 422


def test_many_are_touched_at_once_and_each_id_has_its_answer(admin: TestClient, registered: Register) -> None:
    first, second = registered("conv_1"), registered("conv_2")
    body = {"ids": ["conv_1", second["id"], "conv_9", first["id"]], "at": "2026-11-20T08:00:00Z"}
    data = admin.post("/v1/threads/touch", json=body).json()["data"]
    assert [one["id"] for one in data] == body["ids"]
    assert [one["status"] for one in data] == ["touched", "touched", "refused", "touched"]
    again = admin.post("/v1/threads/touch", json=body).json()["data"]
    assert [one["status"] for one in again] == ["unchanged", "unchanged", "refused", "unchanged"]
    assert admin.post("/v1/threads/touch", json={"ids": []}).status_code == 422
