"""Keys that make keys: rights never widen, a successor overlaps, and uses are noted without a write each."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from worker.flows.key import ADMIN_SCOPES, ALL_SCOPES, LOCAL, PATTERN
from worker.http.app import create_app

Check = Callable[..., dict[str, Any]]


def _look(app: FastAPI, text: str) -> int:
    return TestClient(app).get("/v1/threads", headers={"Authorization": f"Bearer {text}"}).status_code


@pytest.mark.parametrize("scope", ALL_SCOPES)
def test_no_key_hands_out_a_scope_that_it_lacks(client: Any, assert_problem: Check, scope: str) -> None:
    held = {one for one in ALL_SCOPES if one not in {scope, "holds:release"}} | {"keys:admin"}
    body = {"label": "x", "scopes": [scope], "projects": ["*"]}
    if scope == "keys:admin":
        return

    problem = assert_problem(client(*held).post("/v1/keys", json=body), 403, "wider_than_own")

    assert scope in problem["detail"]


def test_whoever_may_sweep_cannot_make_a_key_that_releases_holds_for_himself(
    client: Any, house: Any, admin: TestClient, assert_problem: Check
) -> None:
    body = {"label": "x", "scopes": ["holds:release"], "projects": ["*"]}
    assert_problem(admin.post("/v1/keys", json=body), 403, "wider_than_own")

    # Nor by the successor of another's key, whose text he would see.
    other = house.key("holds:release").split("_")[1]
    assert_problem(admin.post(f"/v1/keys/{other}/rotate", json={}), 403, "wider_than_own")

    # The other duty's own administrator may, and so may who holds the database itself.
    assert client("keys:admin", "holds:release").post("/v1/keys", json=body).status_code == 201
    assert TestClient(create_app(house.services, local=LOCAL)).post("/v1/keys", json=body).status_code == 201


def test_a_successor_has_the_same_rights_and_both_work_until_the_set_time(
    admin: TestClient, app: FastAPI, house: Any, assert_problem: Check
) -> None:
    body = {"label": "ci", "scopes": ["threads:read"], "projects": ["sales-us"]}
    old = admin.post("/v1/keys", json=body).json()

    answer = admin.post(f"/v1/keys/{old['id']}/rotate", json={"ends_at": "2026-11-22T09:00:00Z"})

    new = answer.json()
    assert answer.status_code == 201
    assert new["replaces"] == old["id"]
    assert new["replaced_ends_at"] == "2026-11-22T09:00:00Z"
    assert {name: new[name] for name in body} == body
    assert new["expires_at"] is None
    assert _look(app, old["key"]) == _look(app, new["key"]) == 200
    house.clock.move(hours=1)
    assert (_look(app, old["key"]), _look(app, new["key"])) == (401, 200)
    (entry,) = admin.get("/v1/audit/entries?type=key.rotated").json()["data"]
    assert entry["body"]["key"] == old["id"]
    assert entry["body"]["successor"] == new["id"]
    assert_problem(admin.post(f"/v1/keys/{old['id']}/rotate", json={}), 409, "key_ended")


def test_rotating_lengthens_no_life_and_gives_the_successor_the_same_length(
    admin: TestClient, assert_problem: Check
) -> None:
    body = {"label": "x", "scopes": ["threads:read"], "projects": ["*"], "expires_at": "2026-11-22T10:00:00Z"}
    old = admin.post("/v1/keys", json=body).json()

    new = admin.post(f"/v1/keys/{old['id']}/rotate", json={}).json()

    assert new["replaced_ends_at"] == "2026-11-22T10:00:00Z"
    assert new["expires_at"].startswith("2026-11-22T10:00:00.")
    for wrong in ("2026-11-22T07:00:00Z", "2027-11-22T07:00:00Z"):
        problem = assert_problem(
            admin.post(f"/v1/keys/{new['id']}/rotate", json={"ends_at": wrong}), 422, "invalid"
        )
        assert problem["errors"][0]["pointer"] == "/ends_at"


def test_a_use_is_noted_once_in_some_minutes(admin: TestClient, app: FastAPI, house: Any) -> None:
    made = admin.post("/v1/keys", json={"label": "x", "scopes": ["threads:read"], "projects": ["*"]}).json()

    def noted() -> str | None:
        found = [one for one in admin.get("/v1/keys?limit=100").json()["data"] if one["id"] == made["id"]]
        used: str | None = found[0]["last_used_at"]
        return used

    assert noted() is None
    _look(app, made["key"])
    first = noted()
    assert first is not None
    house.clock.move(minutes=4)
    _look(app, made["key"])
    assert noted() == first
    house.clock.move(minutes=2)
    _look(app, made["key"])
    assert (noted() or "") > first


def test_a_refused_key_notes_no_use(admin: TestClient, app: FastAPI) -> None:
    made = admin.post("/v1/keys", json={"label": "x", "scopes": ["threads:read"], "projects": ["*"]}).json()
    admin.post(f"/v1/keys/{made['id']}/revoke")

    assert _look(app, made["key"]) == 401
    found = [one for one in admin.get("/v1/keys?limit=100").json()["data"] if one["id"] == made["id"]]
    assert found[0]["last_used_at"] is None


def test_looking_at_the_keys_is_an_entry(admin: TestClient) -> None:
    admin.get("/v1/keys")

    (entry,) = admin.get("/v1/audit/entries?type=access.read").json()["data"]
    assert entry["body"]["what"] == "GET /v1/keys"
    assert entry["body"]["rows"] == 1


def test_the_published_pattern_finds_every_key_in_a_text_and_the_checksum_drops_likenesses(
    house: Any,
) -> None:
    from worker.flows.key import is_well_formed

    made = [house.key(*ADMIN_SCOPES) for _ in range(20)]
    text = "\n".join(f'TENURE_API_KEY="{one}", # a line' for one in made)

    assert re.findall(PATTERN, text) == made
    assert all(is_well_formed(one) for one in made)
    assert not any(is_well_formed(one[:-1] + ("0" if one[-1] != "0" else "1")) for one in made)


def test_the_pattern_is_served_without_a_key_and_written_down(app: FastAPI) -> None:
    assert PATTERN in TestClient(app).get("/docs/keys").text
    written = (Path(__file__).parents[2] / "docs" / "keys.md").read_text(encoding="utf-8")
    assert written.count(PATTERN) == 2
