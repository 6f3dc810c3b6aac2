from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from worker.flows.answer import answer_orders
from worker.store.tables import thread

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


def test_placing_and_releasing_tell_how_many_live_threads_are_held_before_and_after(
    admin: TestClient, client: Any, house: Any, registered: Register
) -> None:
    ids = [registered(f"conv_{number}", owner="jane", created_at=OLD)["id"] for number in range(3)]
    registered("conv_other", created_at=OLD)
    with house.database.write() as db:
        db.execute(update(thread).where(thread.c.id == ids[2]).values(state="parked", reason="partial"))
    narrow = admin.post("/v1/holds", json=hold({"ids": [ids[0], "conv_later"]}, "M-0")).json()
    assert narrow["live"] == {"before": {"threads": 1, "held": 0}, "after": {"threads": 1, "held": 1}}

    wide = admin.post("/v1/holds", json=hold({"owners": ["ja*"]})).json()

    assert wide["matched"] == 3  # the parked one could be taken up again
    assert wide["live"] == {"before": {"threads": 2, "held": 1}, "after": {"threads": 2, "held": 2}}
    assert wide["live_at_release"] is None
    registered("conv_later", owner="jane", created_at=OLD)
    releaser = client("holds:release", "holds:write")
    released = releaser.post(f"/v1/holds/{wide['id']}/release", json={"reason": "settled"}).json()
    assert released["live"] == wide["live"]
    assert released["live_at_release"] == {
        "before": {"threads": 3, "held": 3},
        "after": {"threads": 3, "held": 2},
    }
    assert admin.get(f"/v1/holds/{wide['id']}").json() == released
    assert admin.get(f"/v1/threads/{ids[1]}").json()["decision"]["outcome"] == "DUE"


def test_a_hold_is_never_edited(admin: TestClient, registered: Register, assert_problem: Check) -> None:
    registered("conv_1", created_at=OLD)
    placed = admin.post("/v1/holds", json=hold({"ids": ["conv_1"]})).json()
    for method in ("PUT", "PATCH", "DELETE"):
        answer = admin.request(method, f"/v1/holds/{placed['id']}", json=hold({"ids": ["conv_2"]}))
        assert_problem(answer, 405, "method_not_allowed")
    again = admin.post("/v1/holds", json=hold({"ids": ["conv_1"]})).json()
    assert again["id"] != placed["id"]
    assert again["live"]["before"] == {"threads": 1, "held": 1}
    assert admin.get(f"/v1/holds/{placed['id']}").json() == placed


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": " \n"}, {"reason": 1}])
def test_a_release_needs_its_own_right_and_a_reason(
    admin: TestClient, client: Any, registered: Register, assert_problem: Check, body: dict[str, Any]
) -> None:
    registered("conv_1", created_at=OLD)
    placed = admin.post("/v1/holds", json=hold({"ids": ["conv_1"]})).json()
    path = f"/v1/holds/{placed['id']}/release"
    assert_problem(admin.post(path, json={"reason": "settled"}), 403, "forbidden")
    assert_problem(client("holds:release").post(path, json=body), 422, "invalid")
    assert admin.get(f"/v1/holds/{placed['id']}").json()["state"] == "active"


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
        ({"owner": "a", "reason": "x", "deadline": "2026-11-22T07:00:00Z"}, "/deadline"),
        ({"owner": "a", "reason": "x", "deadline": "2027-03-01T08:00:00Z"}, "/deadline"),
        ({"owner": "a", "reason": "x", "deadline": "P1M"}, "/deadline"),
        ({"owner": "a"}, "/reason"),
        ({"ids": [1], "reason": "x"}, "/ids/0"),
    ],
)
def test_an_unclear_erasure_is_refused(
    admin: TestClient, assert_problem: Check, body: dict[str, Any], pointer: str
) -> None:
    problem = assert_problem(admin.post("/v1/erasures", json=body), 422, "invalid")

    assert [one["pointer"] for one in problem["errors"]] == [pointer]


def test_the_receipt_says_held_counts_and_when_it_is_due(admin: TestClient, registered: Register) -> None:
    registered("conv_1", owner="jane", created_at=OLD)
    registered("conv_2", owner="jane", created_at=OLD)
    admin.post("/v1/holds", json=hold({"ids": ["conv_2"]}))

    order = admin.post("/v1/erasures", json={"owner": "jane", "reason": "request 7"}).json()

    lines = {one["external_id"]: (one["status"], one["reason"]) for one in order["threads"]}
    assert lines == {"conv_1": ("pending", None), "conv_2": ("held", "hold:M-1")}
    assert order["counts"] == {"held": 1, "pending": 1}
    assert (order["status"], order["overdue"]) == ("open", False)
    assert order["at"].startswith("2026-11-22T08:00")
    assert order["deadline"] == order["at"].replace("2026-11-22", "2026-12-22")
    assert order["ordered_by"].startswith("key:")


def test_the_receipt_is_a_table_or_lines_where_that_is_accepted(
    admin: TestClient, house: Any, registered: Register
) -> None:
    parked, _ = registered("conv_1", owner="jane"), registered("conv_2", owner="jane", tags=["keep"])
    with house.database.write() as db:
        db.execute(update(thread).where(thread.c.id == parked["id"]).values(state="parked", reason="=1+1"))
    body = {"ids": ["conv_1", "conv_2", "conv_none"], "reason": "request"}
    order = admin.post("/v1/erasures", json=body).json()
    path = f"/v1/erasures/{order['id']}"

    table = admin.get(path, headers={"Accept": "text/csv"})

    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert table.headers["content-disposition"] == f'attachment; filename="{order["id"]}.csv"'
    rows = list(csv.DictReader(io.StringIO(table.text)))
    told = [(one["external_id"], one["status"], one["reason"]) for one in rows]
    assert told == [
        ("conv_1", "parked", "'=1+1"),
        ("conv_2", "refused", "keep-tagged"),
        ("conv_none", "unknown", ""),
    ]
    assert {(one["erasure"], one["order_status"], one["deadline"]) for one in rows} == {
        (order["id"], "open", order["deadline"])
    }
    lines = admin.get(path, headers={"Accept": "application/jsonl"})
    assert lines.headers["content-type"] == "application/jsonl"
    *threads, stranger = [json.loads(line) for line in lines.text.splitlines()]
    assert threads == order["threads"]
    assert stranger.keys() == threads[0].keys()
    assert (stranger["external_id"], stranger["status"]) == ("conv_none", "unknown")
    assert admin.get(path, headers={"Accept": "application/json"}).json() == order


def test_orders_are_listed_by_how_they_stood_when_they_were_looked_at(
    admin: TestClient, client: Any, house: Any, registered: Register, assert_problem: Check
) -> None:
    registered("conv_1", owner="jane", created_at=OLD)
    jane = admin.post("/v1/erasures", json={"owner": "jane", "reason": "r"}).json()
    nobody = admin.post("/v1/erasures", json={"owner": "nobody", "reason": "r"}).json()
    first = admin.get("/v1/erasures").json()["data"]
    assert [(one["id"], one["status"]) for one in first] == [(nobody["id"], "empty"), (jane["id"], "open")]
    for name in first[0].keys() - {"looked_at"}:
        assert first[1][name] == jane[name]
    registered("conv_2", owner="jane", created_at=OLD)
    admin.post("/v1/threads/conv_1/withdraw", json={"reason": "r"}).raise_for_status()
    assert admin.get(f"/v1/erasures/{jane['id']}").json()["status"] == "answered"
    # A list says what the last look found.
    assert admin.get("/v1/erasures").json()["data"][1] == first[1]
    house.clock.move(minutes=2)
    answer_orders(house.database, actor="tests tenure/0", clock=house.clock)
    (seen,) = admin.get("/v1/erasures?status=answered").json()["data"]
    assert (seen["id"], seen["counts"]) == (jane["id"], {"refused": 1})
    jane = admin.post("/v1/erasures", json={"ids": ["conv_2"], "reason": "r"}).json()

    def ids(query: str) -> list[str]:
        return [one["id"] for one in admin.get(f"/v1/erasures?{query}").json()["data"]]

    assert ids("status=open") == [jane["id"]]
    assert ids("status=empty") == [nobody["id"]]
    assert ids("owner=jane") == [seen["id"]]
    assert ids("overdue=true") == []
    house.clock.move(days=31)
    assert ids("overdue=true") == [jane["id"]]
    (late,) = admin.get("/v1/erasures?overdue=true").json()["data"]
    assert late["overdue"]
    assert late["counts"] == {"pending": 1}
    assert admin.get(f"/v1/erasures/{jane['id']}").json()["overdue"]
    assert ids("overdue=false") == [nobody["id"], seen["id"]]
    assert_problem(admin.get("/v1/erasures?overdue=soon"), 422, "invalid")
    assert_problem(client("threads:read").get("/v1/erasures"), 403, "forbidden")
    page = admin.get("/v1/erasures?limit=1")
    assert page.json()["has_more"]
    rest = admin.get(page.links["next"]["url"]).json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == ([nobody["id"]], True)


def test_a_bound_key_lists_and_reads_what_it_ordered_and_what_is_all_its_own(
    client: Any, admin: TestClient, registered: Register, assert_problem: Check
) -> None:
    registered("conv_1", owner="both", created_at=OLD)
    registered("conv_2", owner="both", project="sales-us", created_at=OLD)
    sales, other = (client("erasures:write", projects=["sales-us"]) for _ in range(2))
    support = client("erasures:write", projects=["support-eu"])
    both = admin.post("/v1/erasures", json={"owner": "both", "reason": "r"}).json()["id"]
    own = sales.post("/v1/erasures", json={"owner": "both", "reason": "r"}).json()["id"]
    empty = sales.post("/v1/erasures", json={"owner": "nobody", "reason": "r"}).json()["id"]

    def seen(by: TestClient) -> list[str]:
        return [one["id"] for one in by.get("/v1/erasures?order=asc").json()["data"]]

    assert seen(admin) == [both, own, empty]
    assert seen(sales) == [own, empty]
    assert seen(other) == [own]
    assert seen(support) == []
    assert sales.get(f"/v1/erasures/{empty}").json()["status"] == "empty"
    for one in (both, empty):
        assert_problem(other.get(f"/v1/erasures/{one}"), 404, "not_found")


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
