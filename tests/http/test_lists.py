from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

Register = Callable[..., dict[str, Any]]
Check = Callable[..., dict[str, Any]]


def walk(client: TestClient, path: str, **query: Any) -> list[str]:
    ids: list[str] = []
    while True:
        answer = client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert page["object"] == "list"
        names = [one["id"] for one in page["data"]]
        assert page["first_id"] == (names[0] if names else None)
        assert page["last_id"] == (names[-1] if names else None)
        ids += names
        if not page["has_more"]:
            return ids
        query = {**query, "after": page["last_id"]}


def test_an_empty_list_has_the_shape_too(admin: TestClient) -> None:
    assert admin.get("/v1/threads").json() == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_paging_sees_each_thread_once_while_new_ones_come(
    admin: TestClient, registered: Register, order: str
) -> None:
    made = [registered(f"conv_{number}")["id"] for number in range(7)]

    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2, "order": order}
    while True:
        page = admin.get("/v1/threads", params=query).json()
        seen += [one["id"] for one in page["data"]]
        registered(f"conv_late{len(seen)}")
        if not page["has_more"] or len(seen) > 20:
            break
        query["after"] = page["last_id"]

    wanted = made if order == "asc" else made[::-1]
    assert [one for one in seen if one in made] == wanted
    assert len(seen) == len(set(seen))


def test_before_goes_back_one_page_in_the_same_order(admin: TestClient, registered: Register) -> None:
    made = [registered(f"conv_{number}")["id"] for number in range(5)]

    page = admin.get("/v1/threads", params={"before": made[0], "limit": 2}).json()
    earlier = admin.get("/v1/threads", params={"before": page["first_id"], "limit": 2}).json()

    assert [one["id"] for one in page["data"]] == [made[2], made[1]]
    assert page["has_more"] is True
    assert [one["id"] for one in earlier["data"]] == [made[4], made[3]]
    assert earlier["has_more"] is False


def test_a_cursor_whose_row_is_gone_keeps_its_place(admin: TestClient, registered: Register) -> None:
    first, second = registered("conv_1"), registered("conv_2")
    between = first["id"][:-6] + "ffffff"  # the random tail of a UUIDv7

    page = admin.get("/v1/threads", params={"order": "asc", "after": between}).json()

    assert [one["id"] for one in page["data"]] == [second["id"]]


def test_every_filter_narrows(admin: TestClient, registered: Register) -> None:
    old = registered("conv_old", created_at="2026-10-01T08:00:00Z", tags={"env": "prod", "a:b": "c"})
    new = registered("resp_new", created_at="2026-11-21T08:00:00Z", owner="team-b", ttl="2d")
    sales = registered("conv_old", project="sales-us", created_at="2026-11-20T08:00:00Z")
    gone = registered("conv_gone")
    admin.post(f"/v1/threads/{gone['id']}/withdraw", json={"reason": "mistake"})
    everything = {one["id"] for one in (old, new, sales, gone)}

    def found(**query: str) -> set[str]:
        return set(walk(admin, "/v1/threads", **query))

    assert found() == everything
    assert found(project="sales-us") == {sales["id"]}
    assert found(project="nobody") == set()
    assert found(owner="team-b") == {new["id"]}
    assert found(kind="response") == {new["id"]}
    assert found(state="withdrawn") == {gone["id"]}
    assert found(external_id="conv_old") == {old["id"], sales["id"]}
    assert found(tag="env:prod") == {old["id"]}
    assert found(tag="env:dev") == set()
    assert found(outcome="DUE") == {old["id"]}
    assert found(outcome="PENDING") == {new["id"], sales["id"]}
    assert found(outcome="SKIP") == {gone["id"]}
    assert found(outcome="HELD") == set()
    assert found(due_before="2026-11-24T00:00:00Z") == {old["id"], new["id"]}
    assert found(outcome="PENDING", project="sales-us", limit="1") == {sales["id"]}


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_an_outcome_is_paged_over_threads_of_other_outcomes(
    admin: TestClient, registered: Register, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.http.finding._SCAN", 3)
    due = []
    for number in range(14):
        old = number % 4 == 0
        date = "2026-10-01T08:00:00Z" if old else "2026-11-20T08:00:00Z"
        made = registered(f"conv_{number}", created_at=date)
        due += [made["id"]] if old else []

    seen = walk(admin, "/v1/threads", outcome="DUE", limit=1, order=order)
    last = seen[-1]
    back = admin.get(
        "/v1/threads", params={"outcome": "DUE", "limit": 2, "order": order, "before": last}
    ).json()

    assert seen == (due if order == "asc" else due[::-1])
    assert [one["id"] for one in back["data"]] == seen[-3:-1]
    assert back["has_more"] is True


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("after=thr_1", "after"),
        ("before=%00", "before"),
        ("owner=%00", "owner"),
        ("owner=", "owner"),
        ("kind=resource", "kind"),
        ("state=gone", "state"),
        ("outcome=due", "outcome"),
        ("tag=keep", "tag"),
        ("tag=:x", "tag"),
        ("due_before=tomorrow", "due_before"),
        ("onwer=x", "onwer"),
    ],
)
def test_a_wrong_or_unknown_parameter_is_refused(
    admin: TestClient, assert_problem: Check, query: str, name: str
) -> None:
    problem = assert_problem(admin.get(f"/v1/threads?{query}"), 422, "invalid")

    assert [(one["in"], one["pointer"]) for one in problem["errors"]] == [("query", f"/{name}")]


def test_the_log_is_walked_oldest_first_and_filtered(admin: TestClient, registered: Register) -> None:
    made = [registered(f"conv_{number}") for number in range(3)]

    everything = walk(admin, "/v1/audit/entries", limit=1)
    of_type = walk(admin, "/v1/audit/entries", type="thread.registered")
    of_thread = walk(admin, "/v1/audit/entries", subject=made[1]["id"])

    assert everything == sorted(everything, key=int)
    assert len(of_type) == 3
    assert set(of_type) < set(everything)
    assert of_thread == [of_type[1]]


def test_holds_keys_and_sweeps_are_walked_alike(admin: TestClient) -> None:
    for number in range(3):
        body = {"matter": f"M-{number}", "reason": "case", "scope": {"owners": ["x"]}}
        assert admin.post("/v1/holds", json=body).status_code == 201
        assert admin.post("/v1/sweeps", json={"policy": "support-30d", "dry_run": True}).status_code == 201

    for path, count in (("/v1/holds", 3), ("/v1/sweeps", 3), ("/v1/keys", 1)):
        down = walk(admin, path, limit=1)
        assert len(down) == count
        assert walk(admin, path, limit=2, order="asc") == down[::-1]


def test_link_names_the_next_page_until_there_is_none(admin: TestClient, registered: Register) -> None:
    made = [registered(f"conv_{number}", owner="a&b=c")["id"] for number in range(5)]

    seen: list[str] = []
    path: str | None = "/v1/threads?limit=2&order=asc&owner=a%26b%3Dc"
    while path is not None:
        answer = admin.get(path)
        seen += [one["id"] for one in answer.json()["data"]]
        links = answer.links
        path = links["next"]["url"] if links else None

    assert seen == made


def test_other_lists_name_their_next_page_too(admin: TestClient, registered: Register) -> None:
    registered("conv_1")
    registered("conv_2")
    path = "/v1/audit/entries?limit=1"
    first = admin.get(path)

    second = admin.get(first.links["next"]["url"])

    assert second.json()["data"][0]["index"] == first.json()["data"][0]["index"] + 1


def test_a_total_is_told_when_it_is_asked_for(admin: TestClient, registered: Register) -> None:
    for number in range(3):
        registered(f"conv_{number}", created_at="2026-11-20T08:00:00Z")

    def total(**query: str) -> Any:
        return admin.get("/v1/threads", params={"include": "total", "limit": "1", **query}).json()["total"]

    assert total() == {"count": 3, "how": "exact"}
    assert total(owner="nobody") == {"count": 0, "how": "exact"}
    assert total(outcome="HELD") == {"count": 3, "how": "at_most"}
    assert total(outcome="SKIP") == {"count": 0, "how": "exact"}


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/jsonl", "application/jsonl"),
        ("application/x-ndjson", "application/jsonl"),
        ("text/csv", "text/csv; charset=utf-8"),
        ("application/json;q=0.5, text/csv", "text/csv; charset=utf-8"),
        ("text/csv;q=0.1, application/json", "application/json"),
        ("text/html, */*", "application/json"),
        ("", "application/json"),
        ("text/csv;q=x", "text/csv; charset=utf-8"),
    ],
)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_form_follows_the_accept_header(
    admin: TestClient, registered: Register, accept: str, media_type: str
) -> None:
    registered("conv_1")

    answer = admin.get("/v1/threads", headers={"Accept": accept})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type


def test_csv_and_jsonl_hold_the_same_page(admin: TestClient, registered: Register) -> None:
    made = [registered(f"conv_{number}", owner="=1+1", tags={"b": "2", "a": "1"}) for number in range(3)]
    query = {"order": "asc", "limit": "2"}

    lines = admin.get("/v1/threads", params=query, headers={"Accept": "application/jsonl"})
    table = admin.get("/v1/threads", params=query, headers={"Accept": "text/csv"})

    plain = admin.get("/v1/threads", params=query).json()["data"]
    assert [json.loads(line) for line in lines.text.splitlines()] == plain
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [row["id"] for row in rows] == [one["id"] for one in made[:2]]
    assert rows[0]["owner"] == "'=1+1"
    assert rows[0]["tags"] == "a=1;b=2"
    assert lines.links["next"]["url"] == table.links["next"]["url"]
    rest = admin.get(table.links["next"]["url"], headers={"Accept": "text/csv"})
    assert [row["id"] for row in csv.DictReader(io.StringIO(rest.text))] == [made[2]["id"]]
    assert "link" not in rest.headers
