from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.http.conftest import POLICIES
from worker.flows.await_approval import note_awaiting
from worker.flows.loosening import compare_with
from worker.policy.load import load_texts

Register = Callable[..., dict[str, Any]]
Check = Callable[..., dict[str, Any]]

LOOSER = POLICIES.replace("after: 30d", "after: 10d")
COMMIT = "3f2a9c1d0b7e4a5f6c8d9e0f1a2b3c4d5e6f7a8b"


def body(text: str = LOOSER, **more: Any) -> dict[str, Any]:
    return {"files": {"retention.yaml": text}, **more}


def make(client: TestClient, text: str = LOOSER) -> dict[str, Any]:
    answer = client.post("/v1/previews", json=body(text, commit=COMMIT))
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def approval(made: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"digest": made["head"]["digest"], "reason": "agreed", **more}


def test_a_preview_counts_the_registry_and_can_be_read_again(admin: TestClient, registered: Register) -> None:
    new = registered("conv_1", created_at="2026-11-05T08:00:00Z")
    registered("conv_2", created_at="2026-11-20T08:00:00Z", project="sales-us")

    made = make(admin)

    assert made["object"] == "preview"
    assert (made["state"], made["changed"], made["loosening"]) == ("open", True, True)
    assert made["head"]["commit"] == COMMIT
    assert made["base"]["digest"] == admin.get("/v1/policies").json()["digest"]
    assert made["newly_due"] == {"threads": 1, "ids": [new["id"]]}
    (policy,) = made["policies"]
    assert policy["due"]["now"] == {"before": 0, "after": 1, "newly": 1}
    assert [one["project"] for one in policy["projects"]] == ["sales-us", "support-eu"]
    (change,) = made["changes"]
    assert (change["document"], change["path"]) == ("RetentionPolicy/support-30d", "spec.delete.after")
    assert (change["before"], change["after"], change["effect"]) == ("P30D", "P10D", "loosening")
    (guard,) = made["guards"]
    assert (guard["planned"], guard["verdict"]) == (1, "fits")
    assert admin.get(f"/v1/previews/{made['id']}").json() == made


def test_a_loosening_is_approved_by_another_key_that_names_its_digest(
    admin: TestClient, client: Any, assert_problem: Check
) -> None:
    made, approver = make(admin), client("plans:approve")
    path = f"/v1/previews/{made['id']}/approvals"

    assert_problem(admin.post(path, json=approval(made)), 409, "own_proposal")
    other = approval(made, digest="sha256:" + "0" * 64)
    assert_problem(approver.post(path, json=other), 409, "wrong_digest")
    done = approver.post(path, json=approval(made))

    assert done.status_code == 200, done.text
    assert done.json()["state"] == "approved"
    assert done.json()["approval"]["approved_by"].startswith("key:")
    assert done.json()["approval"]["lives"] is True
    assert_problem(approver.post(path, json=approval(made)), 409, "no_approval_needed")


def test_a_preview_that_time_or_another_one_has_overtaken_says_so(
    admin: TestClient, client: Any, house: Any, assert_problem: Check
) -> None:
    first, approver = make(admin), client("plans:approve")
    second = make(admin)
    assert approver.get(f"/v1/previews/{first['id']}").json()["state"] == "superseded"
    path = f"/v1/previews/{first['id']}/approvals"
    assert_problem(approver.post(path, json=approval(first)), 409, "preview_void")
    house.clock.move(hours=73)
    assert approver.get(f"/v1/previews/{second['id']}").json()["state"] == "expired"


def test_what_loosens_nothing_is_not_approved(admin: TestClient, client: Any, assert_problem: Check) -> None:
    made = make(admin, POLICIES.replace("after: 30d", "after: 90d"))
    answer = client("plans:approve").post(f"/v1/previews/{made['id']}/approvals", json=approval(made))
    assert (made["changed"], made["loosening"]) == (True, False)
    assert_problem(answer, 409, "no_approval_needed")


def test_an_unknown_preview_is_404(client: Any, assert_problem: Check) -> None:
    one = client("plans:approve", "policies:read")
    for named in ("prv_1", "%00"):
        assert_problem(one.get(f"/v1/previews/{named}"), 404, "not_found")
        answer = one.post(
            f"/v1/previews/{named}/approvals", json={"digest": "sha256:" + "0" * 64, "reason": "r"}
        )
        assert_problem(answer, 404, "not_found")


@pytest.mark.parametrize(
    ("scopes", "projects", "code"),
    [
        (("threads:read",), ("*",), "forbidden"),
        (("plans:approve",), ("*",), "forbidden"),
        (("policies:read",), ("support-eu",), "project_bound"),
    ],
    ids=["another scope", "approver", "bound to a project"],
)
def test_a_preview_needs_a_reading_key_for_every_project(
    client: Any, assert_problem: Check, scopes: tuple[str, ...], projects: tuple[str, ...], code: str
) -> None:
    answer = client(*scopes, projects=projects).post("/v1/previews", json=body())
    assert_problem(answer, 403, code)


@pytest.mark.parametrize(
    ("holder", "code"),
    [((["policies:read"], ["*"]), "forbidden"), ((["plans:approve"], ["support-eu"]), "project_bound")],
    ids=["reader", "bound to a project"],
)
def test_an_approval_needs_an_approving_key_for_every_project(
    admin: TestClient,
    client: Any,
    assert_problem: Check,
    holder: tuple[Sequence[str], Sequence[str]],
    code: str,
) -> None:
    made, (scopes, projects) = make(admin), holder
    answer = client(*scopes, projects=projects).post(
        f"/v1/previews/{made['id']}/approvals", json=approval(made)
    )
    assert_problem(answer, 403, code)


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"files": {}},
        {"files": {"../retention.yaml": ""}},
        {"files": {"retention.txt": ""}},
        {"files": {"retention.test.yaml": ""}},
        {"files": {"retention.yaml": 1}},
        {"files": {f"{number}.yaml": "" for number in range(201)}},
        {"files": {"a.yaml": "#" * 500_001, "b.yaml": "#" * 500_000}},
        {"files": {"a.yaml": ""}, "commit": "main"},
        {"files": {"a.yaml": ""}, "path": "/etc"},
    ],
    ids=lambda one: json.dumps(one)[:40],
)
def test_what_is_no_folder_of_policies_is_refused(
    admin: TestClient, assert_problem: Check, sent: dict[str, Any]
) -> None:
    assert_problem(admin.post("/v1/previews", json=sent), 422, "invalid")


def test_a_body_beyond_four_mebibytes_is_not_read(admin: TestClient, assert_problem: Check) -> None:
    answer = admin.post("/v1/previews", json=body("#" * (4 * 1024 * 1024)))
    assert_problem(answer, 413, "too_large")


def test_refused_policies_name_file_and_line_and_quote_nothing(
    admin: TestClient, assert_problem: Check
) -> None:
    text = LOOSER.replace("after: 10d", 'after: "secret-value"')
    told = assert_problem(admin.post("/v1/previews", json=body(text)), 422, "policies_refused")

    first = told["errors"][0]
    assert first["pointer"] == "/files/retention.yaml"
    assert first["detail"].startswith("line ")
    assert "secret-value" not in json.dumps(told)


@pytest.mark.parametrize("char", ["\0", "\ud800", "\u202e"], ids=["nul", "surrogate", "override"])
def test_strange_characters_end_in_an_answer_and_not_in_an_error(admin: TestClient, char: str) -> None:
    quoted = LOOSER.replace("owner: team-sales", f'owner: "{json.dumps(char)[1:-1]}"')
    for text in (quoted, f"# {char}\n{LOOSER}"):
        sent = json.dumps(body(text))
        answer = admin.post("/v1/previews", content=sent, headers={"Content-Type": "application/json"})
        assert answer.status_code in {201, 422}


def test_the_bundle_that_waits_is_shown_beside_the_one_in_force(
    admin: TestClient, client: Any, house: Any
) -> None:
    assert admin.get("/v1/policies").json()["awaiting"] is None
    base, head = (load_texts({"p.yaml": text}).bundle for text in (POLICIES, LOOSER))
    assert base is not None
    assert head is not None
    with house.database.write() as db:
        comparison = compare_with(db, base, head)
        note_awaiting(db, comparison, origin={"commit": COMMIT}, actor="beat tenure/0", now=house.clock.now())

    waits = admin.get("/v1/policies").json()["awaiting"]
    assert (waits["digest"], waits["commit"]) == (head.digest, COMMIT)
    assert "spec.delete.after" in waits["loosening"][0]
    assert "tenure policy approve" in waits["repair"]
    bound = client("policies:read", projects=["support-eu"]).get("/v1/policies").json()["awaiting"]
    assert (bound["digest"], bound["loosening"]) == (head.digest, [])


def test_the_schema_shows_how_to_ask(app: FastAPI) -> None:
    paths = TestClient(app).get("/openapi.json").json()["paths"]

    def shown(path: str) -> list[Any]:
        content = paths[path]["post"]["requestBody"]["content"]["application/json"]
        return [one["value"] for one in content["examples"].values()]

    assert all(one["files"] for one in shown("/v1/previews"))
    (approval_,) = shown("/v1/previews/{preview_id}/approvals")
    assert approval_["digest"].startswith("sha256:")
    assert "get" in paths["/v1/previews/{preview_id}"]
