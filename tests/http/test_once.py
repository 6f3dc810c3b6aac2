"""`Idempotency-Key`: what comes again is answered as before, is done once, and tells nobody else anything."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from tests.http.conftest import POLICIES, Client, House
from worker.flows import answer_once, hold
from worker.flows.activate import Source
from worker.flows.answer_once import forget_answers
from worker.flows.tick import Beat, keep_house
from worker.http.app import create_app
from worker.http.once import METHODS, has_secret
from worker.model.errors import TenureError
from worker.store import answers, log, protections
from worker.store.tables import kept_answer

Register = Callable[..., dict[str, Any]]
Check = Callable[..., dict[str, Any]]

NAME = "8e03978e-40d5-43dd-bc93-6894a57f9324"
KEY = {"Idempotency-Key": f'"{NAME}"'}
LINES = {"Content-Type": "application/x-ndjson"}
HOLD = {"matter": "M-7", "reason": "litigation", "scope": {"owners": ["team-support"]}}
OTHER_HOLD = {**HOLD, "matter": "M-8"}
PLAIN = {"external_id": "conv_1", "project": "support-eu", "owner": "team-support"}
SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
DOWN = OperationalError("select", {}, Exception("the server closed the connection"))
PERIOD = {"from": "2026-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z"}
ASKED = [
    ("POST", "/v1/threads", {**PLAIN, "external_id": "conv_2"}),
    ("PATCH", "/v1/threads/conv_1", {"owner": "team-billing"}),
    ("POST", "/v1/threads/touch", {"ids": ["conv_1"]}),
    ("POST", "/v1/threads/conv_1/touch", {}),
    ("POST", "/v1/threads/conv_1/withdraw", {"reason": "registered by mistake"}),
    ("POST", "/v1/holds", HOLD),
    ("POST", "/v1/erasures", {"owner": "team-support", "reason": "request"}),
    ("POST", "/v1/sweeps", {"dry_run": True}),
    ("POST", "/v1/previews", {"files": {"retention.yaml": POLICIES.replace("after: 30d", "after: 40d")}}),
    ("POST", "/v1/audit/exports", {**PERIOD, "project": "support-eu"}),
]


def holds(house: House) -> list[str]:
    with house.database.read() as db:
        return [one.hold.matter for one in protections.list_holds(db, active_only=False)]


def entries(house: House) -> int:
    with house.database.read() as db:
        return log.read_head(db).size


def rows(house: House) -> list[Any]:
    with house.database.read() as db:
        return list(db.execute(select(kept_answer)))


def leases(house: House) -> list[datetime]:
    return [one.lease_until for one in rows(house) if one.lease_until is not None]


def lapse(house: House) -> None:
    """Let the lease of every claim run out; on PostgreSQL that is the server's clock, which nobody moves."""
    house.clock.move(minutes=2)
    if house.database.is_sqlite:
        return
    with house.database.write() as db:
        for one in db.execute(select(kept_answer)).all():
            moved = None if one.lease_until is None else one.lease_until - timedelta(minutes=2)
            db.execute(update(kept_answer).where(kept_answer.c.id == one.id).values(lease_until=moved))


def _raise(error: Exception) -> Callable[..., Any]:
    def act(*_: object, **__: object) -> None:
        raise error

    return act


class Gate:
    """Stops the first who comes through until it is opened."""

    def __init__(self, act: Callable[..., Any]) -> None:
        self.act = act
        self.reached, self.opened = threading.Event(), threading.Event()
        self.first = True

    def __call__(self, *args: Any, **named: Any) -> Any:
        first, self.first = self.first, False
        if first:
            self.reached.set()
            assert self.opened.wait(20)
        return self.act(*args, **named)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    made = Gate(hold.place_hold)
    monkeypatch.setattr("worker.http.routes.holds.place_hold", made)
    return made


@pytest.mark.parametrize("asked", ASKED, ids=[f"{one[0]} {one[1]}" for one in ASKED])
def test_the_same_again_gets_the_same_bytes_and_does_nothing(
    house: House, admin: TestClient, registered: Register, asked: tuple[str, str, dict[str, Any]]
) -> None:
    method, path, body = asked
    registered("conv_1")
    headers = {**KEY, "If-Match": "*"}

    first = admin.request(method, path, json=body, headers=headers)
    size = entries(house)
    house.clock.move(hours=23)
    again = admin.request(method, path, json=body, headers=headers)

    assert first.status_code in {200, 201, 202}, first.text
    assert (again.status_code, again.content) == (first.status_code, first.content)
    for name in ("content-type", "content-length", "location", "etag", "retry-after", "cache-control"):
        assert again.headers.get(name) == first.headers.get(name)
    assert first.headers.get("idempotency-replayed") is None
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert entries(house) == size


def test_without_a_key_or_with_another_one_it_is_another_hold(house: House, admin: TestClient) -> None:
    for headers in ({}, {}, KEY, {"Idempotency-Key": '"another"'}):
        assert admin.post("/v1/holds", json=HOLD, headers=headers).status_code == 201

    assert len(holds(house)) == 4


@pytest.mark.parametrize(
    ("path", "body", "more"),
    [
        ("/v1/holds", OTHER_HOLD, {}),
        ("/v1/holds?x=1", HOLD, {}),
        ("/v1/holds", HOLD, {"If-Match": '"v1"'}),
    ],
)
def test_the_same_key_with_another_request_is_422_and_changes_nothing(
    admin: TestClient, assert_problem: Check, path: str, body: dict[str, Any], more: dict[str, str]
) -> None:
    first = admin.post("/v1/holds", json=HOLD, headers=KEY)

    answer = admin.post(path, json=body, headers={**KEY, **more})

    problem = assert_problem(answer, 422, "idempotency_key_reused")

    assert NAME not in json.dumps(problem)
    assert len(admin.get("/v1/holds").json()["data"]) == 1
    assert admin.post("/v1/holds", json=HOLD, headers=KEY).content == first.content


def test_one_key_serves_several_routes(house: House, admin: TestClient, registered: Register) -> None:
    registered("conv_1")
    registered("conv_2")
    paths = ["/v1/threads/conv_1/touch", "/v1/threads/conv_2/touch"]

    assert [admin.post(path, headers=KEY).json()["external_id"] for path in paths] == ["conv_1", "conv_2"]
    assert admin.post("/v1/holds", json=HOLD, headers=KEY).status_code == 201
    assert len(rows(house)) == 3


@pytest.mark.parametrize("projects", [["*"], ["support-eu"]])
def test_callers_with_one_key_do_not_meet(
    house: House, admin: TestClient, client: Client, projects: list[str]
) -> None:
    mine = admin.post("/v1/holds", json=HOLD, headers=KEY)
    other = client("holds:write", projects=projects)

    theirs = other.post("/v1/holds", json=OTHER_HOLD, headers=KEY)

    assert theirs.status_code == 201
    assert "idempotency-replayed" not in theirs.headers
    assert theirs.json()["id"] != mine.json()["id"]
    assert len({one.id for one in rows(house)}) == 2


def test_of_two_at_once_one_is_done_and_the_other_comes_back_for_its_answer(
    house: House, client: Client, gate: Gate, assert_problem: Check
) -> None:
    sender = client("holds:write")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(sender.post, "/v1/holds", json=HOLD, headers=KEY)
        assert gate.reached.wait(20)
        early = sender.post("/v1/holds", json=HOLD, headers=KEY)
        other = sender.post("/v1/holds", json=OTHER_HOLD, headers=KEY)
        gate.opened.set()
        done = first.result(20)
    late = sender.post("/v1/holds", json=HOLD, headers=KEY)

    assert_problem(early, 409, "idempotency_key_in_use")
    assert early.headers["retry-after"] == "2"
    assert_problem(other, 422, "idempotency_key_reused")
    assert (done.status_code, late.status_code) == (201, 201)
    assert late.content == done.content
    assert holds(house) == ["M-7"]


def test_a_request_holds_its_claim_for_as_long_as_it_takes(
    house: House, gate: Gate, eventually: Any, assert_problem: Check
) -> None:
    app = create_app(replace(house.services, renew_seconds=0.01))
    sender = TestClient(app, headers={"Authorization": f"Bearer {house.key('holds:write')}"})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(sender.post, "/v1/holds", json=HOLD, headers=KEY)
        assert gate.reached.wait(20)
        seen = leases(house)

        def renewed() -> list[datetime]:
            return [one for one in leases(house) if one > max(seen)]

        # More than a lease, in steps that are less than one.
        for _ in range(3):
            house.clock.move(seconds=40)
            seen += eventually(renewed)
        early = sender.post("/v1/holds", json=HOLD, headers=KEY)
        gate.opened.set()
        assert first.result(20).status_code == 201

    assert_problem(early, 409, "idempotency_key_in_use")
    assert not house.database.is_sqlite or seen[-1] - seen[0] > timedelta(seconds=60)
    assert holds(house) == ["M-7"]


def test_a_crash_before_anything_was_done_frees_the_key_after_its_lease(
    house: House, admin: TestClient, assert_problem: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as crash:
        # Of a process that dies nothing comes any more: neither an answer nor the end of its claim.
        crash.setattr("worker.http.recorder.let_go", lambda *_: None)
        crash.setattr("worker.http.routes.holds.place_hold", _raise(DOWN))
        assert admin.post("/v1/holds", json=HOLD, headers=KEY).status_code == 503

    assert_problem(admin.post("/v1/holds", json=HOLD, headers=KEY), 409, "idempotency_key_in_use")
    assert holds(house) == []
    lapse(house)
    assert_problem(admin.post("/v1/holds", json=OTHER_HOLD, headers=KEY), 422, "idempotency_key_reused")
    done = admin.post("/v1/holds", json=HOLD, headers=KEY)
    assert (done.status_code, "idempotency-replayed" in done.headers) == (201, False)
    assert admin.post("/v1/holds", json=HOLD, headers=KEY).content == done.content
    assert holds(house) == ["M-7"]


def test_a_service_that_starts_after_a_crash_frees_the_keys_at_once(
    house: House, admin: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as crash:
        crash.setattr("worker.http.recorder.let_go", lambda *_: None)
        crash.setattr("worker.http.routes.holds.place_hold", _raise(DOWN))
        admin.post("/v1/holds", json=HOLD, headers=KEY)

    with house.database.write() as db:
        answers.end_leases(db, house.clock.now())

    assert admin.post("/v1/holds", json=HOLD, headers=KEY).status_code == 201
    assert holds(house) == ["M-7"]


def test_who_finishes_after_another_took_over_overwrites_nothing(
    house: House, client: Client, gate: Gate
) -> None:
    sender = client("holds:write")
    with ThreadPoolExecutor(1) as pool, capture_logs() as logs:
        first = pool.submit(sender.post, "/v1/holds", json=HOLD, headers=KEY)
        assert gate.reached.wait(20)
        lapse(house)
        second = sender.post("/v1/holds", json=HOLD, headers=KEY)
        gate.opened.set()
        late = first.result(20)
    again = sender.post("/v1/holds", json=HOLD, headers=KEY)

    # Both were done, and each is told the truth; what is repeated is the answer of who held the claim.
    assert (late.status_code, second.status_code) == (201, 201)
    assert late.json()["id"] != second.json()["id"]
    assert again.content == second.content
    assert "answer.not_kept" in [one["event"] for one in logs]


def test_who_fails_after_another_took_over_does_not_free_its_key(
    house: House, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = client("holds:write")
    gate = Gate(_raise(DOWN))
    with ThreadPoolExecutor(1) as pool:
        with monkeypatch.context() as stuck:
            stuck.setattr("worker.http.routes.holds.place_hold", gate)
            first = pool.submit(sender.post, "/v1/holds", json=HOLD, headers=KEY)
            assert gate.reached.wait(20)
        lapse(house)
        second = sender.post("/v1/holds", json=HOLD, headers=KEY)
        gate.opened.set()
        assert first.result(20).status_code == 503

    assert sender.post("/v1/holds", json=HOLD, headers=KEY).content == second.content
    assert holds(house) == ["M-7"]


@pytest.mark.parametrize("act", [hold.place_hold, _raise(DOWN)], ids=["done", "failed"])
def test_who_comes_late_ends_no_claim_of_another_who_still_runs(
    house: House,
    client: Client,
    assert_problem: Check,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[..., Any],
) -> None:
    sender = client("holds:write")
    gates = [Gate(act), Gate(hold.place_hold)]
    running = []
    with ThreadPoolExecutor(2) as pool:
        for gate in gates:
            monkeypatch.setattr("worker.http.routes.holds.place_hold", gate)
            running.append(pool.submit(sender.post, "/v1/holds", json=HOLD, headers=KEY))
            assert gate.reached.wait(20)
            if gate is gates[0]:
                lapse(house)
        gates[0].opened.set()
        running[0].result(20)
        early = sender.post("/v1/holds", json=HOLD, headers=KEY)
        gates[1].opened.set()
        second = running[1].result(20)

    assert_problem(early, 409, "idempotency_key_in_use")
    assert sender.post("/v1/holds", json=HOLD, headers=KEY).content == second.content


@pytest.mark.parametrize(
    ("error", "status"), [(DOWN, 503), (RuntimeError("broken"), 500)], ids=["down", "broken"]
)
def test_what_failed_is_tried_anew(
    house: House, admin: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    # Captured, since telling a traceback to a terminal takes seconds.
    with monkeypatch.context() as broken, capture_logs():
        broken.setattr("worker.http.routes.holds.place_hold", _raise(error))
        assert admin.post("/v1/holds", json=HOLD, headers=KEY).status_code == status
    assert rows(house) == []

    assert admin.post("/v1/holds", json=HOLD, headers=KEY).status_code == 201


def test_a_refusal_frees_the_key_for_a_better_request(
    house: House, admin: TestClient, client: Client, assert_problem: Check
) -> None:
    empty = {**HOLD, "scope": {}}
    assert_problem(admin.post("/v1/holds", json=empty, headers=KEY), 422, "empty_scope")
    assert_problem(admin.post("/v1/nothing", json=HOLD, headers=KEY), 404, "not_found")
    assert_problem(client("threads:read").post("/v1/holds", json=HOLD, headers=KEY), 403, "forbidden")
    assert rows(house) == []
    assert admin.post("/v1/holds", json=HOLD, headers=KEY).status_code == 201


def test_a_day_later_the_key_is_a_new_one(house: House, admin: TestClient) -> None:
    first = admin.post("/v1/holds", json=HOLD, headers=KEY)
    house.clock.move(hours=24)

    second = admin.post("/v1/holds", json=OTHER_HOLD, headers=KEY)

    assert second.status_code == 201
    assert second.json()["id"] != first.json()["id"]
    assert admin.post("/v1/holds", json=OTHER_HOLD, headers=KEY).content == second.content


def test_beat_removes_what_is_a_day_old_and_leaves_what_still_runs(
    house: House, admin: TestClient, client: Client, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_once, "_FORGOTTEN_AT_ONCE", 2)
    gate.opened.set()
    for n in range(5):
        admin.post("/v1/holds", json=HOLD, headers={"Idempotency-Key": f'"{n}"'})
    forget_answers(house.database, clock=house.clock)
    assert len(rows(house)) == 5

    gate.first = True
    gate.opened.clear()
    gate.reached.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(client("holds:write").post, "/v1/holds", json=HOLD, headers=KEY)
        assert gate.reached.wait(20)
        (ends,) = leases(house)
        house.clock.move(hours=25)
        with house.database.write() as db:
            open_ = update(kept_answer).where(kept_answer.c.lease_until.is_not(None))
            db.execute(open_.values(lease_until=ends + timedelta(hours=26)))
        forget_answers(house.database, clock=house.clock)
        assert len(leases(house)) == len(rows(house)) == 1
        gate.opened.set()
        assert running.result(20).status_code == 201


def test_beat_does_so_first_whatever_else_it_lacks(house: House, admin: TestClient, tmp_path: Path) -> None:
    admin.post("/v1/holds", json=HOLD, headers=KEY)
    house.clock.move(hours=25)
    given = house.services
    nothing = Source(folder=tmp_path / "nothing", key_globs=())
    beat = Beat(
        database=house.database,
        clock=house.clock,
        source=nothing,
        sealer=given.sealer,
        actor="tests tenure/0",
    )

    with pytest.raises(TenureError):
        keep_house(beat)
    assert rows(house) == []


@pytest.mark.parametrize(
    "value",
    [
        '""',
        '"a',
        'a"',
        '"a"b"',
        '"a\\b"',
        "a b",
        "a,b",
        '"a"; p=1',
        '"a", "b"',
        '"\u00e9"',
        '"a\tb"',
        f'"{"a" * 256}"',
        "a" * 256,
        "",
    ],
)
@SQLITE
def test_what_is_no_key_is_400_and_names_the_repair(
    house: House, admin: TestClient, assert_problem: Check, value: str
) -> None:
    headers = [(b"Idempotency-Key", value.encode("latin-1"))]
    problem = assert_problem(
        admin.post("/v1/holds", json=HOLD, headers=headers), 400, "malformed_idempotency_key"
    )

    assert 'Idempotency-Key: "' in problem["detail"]
    assert holds(house) == []
    assert rows(house) == []


@SQLITE
def test_two_keys_in_one_request_are_400(admin: TestClient, assert_problem: Check) -> None:
    twice = [("Idempotency-Key", '"a"'), ("Idempotency-Key", '"a"')]
    answer = admin.post("/v1/holds", json=HOLD, headers=twice)

    assert_problem(answer, 400, "malformed_idempotency_key")


@pytest.mark.parametrize(
    ("first", "second"),
    [(f'"{NAME}"', NAME), (f'  "{NAME}"\t', NAME), ('"a"', "a"), (f'"{"a" * 255}"', "a" * 255)],
)
@SQLITE
def test_quotes_are_not_part_of_the_key(house: House, admin: TestClient, first: str, second: str) -> None:
    one, two = (
        admin.post("/v1/holds", json=HOLD, headers={"Idempotency-Key": value}) for value in (first, second)
    )

    assert one.content == two.content
    assert two.headers["idempotency-replayed"] == "true"
    assert holds(house) == ["M-7"]


@SQLITE
def test_escaped_quotes_are_part_of_the_key(house: House, admin: TestClient) -> None:
    for value in ('"a\\"b\\\\c"', '"a\\"b\\\\d"'):
        assert admin.post("/v1/holds", json=HOLD, headers={"Idempotency-Key": value}).status_code == 201

    assert len(holds(house)) == 2


@SQLITE
def test_methods_that_are_idempotent_by_themselves_pass_it_over(house: House, admin: TestClient) -> None:
    bad = {"Idempotency-Key": '"'}
    switch = {"enabled": True, "reason": "r", "project": "support-eu"}

    assert admin.get("/v1/holds", headers=bad).status_code == 200
    assert admin.put("/v1/switches/deletes", json=switch, headers=bad).status_code == 200
    assert rows(house) == []


def test_a_key_that_was_made_is_never_shown_again_and_kept_nowhere(
    house: House, admin: TestClient, assert_problem: Check
) -> None:
    body = {"label": "robot", "scopes": ["threads:read"], "projects": ["*"]}
    made = admin.post("/v1/keys", json=body, headers=KEY).json()
    rotate = f"/v1/keys/{made['id']}/rotate"
    rotated = admin.post(rotate, json={}, headers=KEY).json()

    for path, sent in (("/v1/keys", body), (rotate, {})):
        again = admin.post(path, json=sent, headers=KEY)
        problem = assert_problem(again, 409, "answer_not_kept")
        assert "revoke" in problem["detail"]
        secrets = [one["key"].split("_")[2] for one in (made, rotated)]
        assert not any(text in again.text for text in (*secrets, rotated["id"]))

    kept = repr([tuple(one) for one in rows(house)])
    assert [one.body for one in rows(house)] == [None, None]
    for text in (made["key"], rotated["key"]):
        assert text.split("_")[2] not in kept
    labels = [one["label"] for one in admin.get("/v1/keys?limit=100").json()["data"]]
    assert labels.count("robot") == 2


def test_revoking_shows_no_secret_and_is_repeated(admin: TestClient) -> None:
    body = {"label": "robot", "scopes": ["threads:read"], "projects": ["*"]}
    revoke = f"/v1/keys/{admin.post('/v1/keys', json=body).json()['id']}/revoke"

    first, again = (admin.post(revoke, headers=KEY) for _ in range(2))

    assert first.status_code == 200
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"


@SQLITE
def test_every_route_that_shows_a_key_is_known_to_hold_a_secret(app: FastAPI) -> None:
    made = app.openapi()
    found = set()
    for path, methods in made["paths"].items():
        for method, one in methods.items():
            told = json.dumps([one["responses"][code] for code in one["responses"] if code < "300"])
            named = [name for name in made["components"]["schemas"] if f'/{name}"' in told]
            if any("key" in made["components"]["schemas"][name].get("properties", {}) for name in named):
                found.add((method, path))
                assert has_secret(path)
    assert found == {("post", "/v1/keys"), ("post", "/v1/keys/{key_id}/rotate")}


@SQLITE
def test_the_header_is_described_where_it_counts_and_nowhere_else(app: FastAPI) -> None:
    for path, methods in app.openapi()["paths"].items():
        for method, one in methods.items():
            named = [each["name"] for each in one.get("parameters", [])].count("Idempotency-Key")
            counts = path.startswith("/v1/") and method.upper() in METHODS
            assert named == int(counts), (method, path)
            done = [answer for code, answer in one["responses"].items() if code < "300"]
            assert all(("Idempotency-Replayed" in each.get("headers", {})) == counts for each in done)
            if counts:
                assert {"400", "409", "422"} <= one["responses"].keys()


@SQLITE
def test_the_key_is_neither_logged_nor_stored(
    house: House, admin: TestClient, registered: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered("conv_1")
    with capture_logs() as logs:
        admin.post("/v1/holds", json=HOLD, headers=KEY)
        admin.post("/v1/holds", json=HOLD, headers=KEY)
        admin.post("/v1/holds", json=OTHER_HOLD, headers=KEY)
        admin.post("/v1/holds", json=HOLD, headers={"Idempotency-Key": f'"{NAME}'})
        monkeypatch.setattr("worker.http.routes.holds.place_hold", _raise(RuntimeError("broken")))
        admin.post("/v1/holds", json=HOLD, headers={"Idempotency-Key": f'"{NAME}-2"'})

    assert len([one for one in logs if one["event"] == "request.served"]) == 5
    assert NAME not in repr(logs)
    assert NAME not in repr([tuple(one) for one in rows(house)])


@SQLITE
def test_an_answer_that_could_not_be_kept_is_given_all_the_same(
    house: House, admin: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.http.recorder.keep", _raise(DOWN))
    with capture_logs() as logs:
        answer = admin.post("/v1/holds", json=HOLD, headers=KEY)

    assert answer.status_code == 201
    assert holds(house) == ["M-7"]
    assert [one["reason"] for one in logs if one["event"] == "answer.not_kept"] == ["OperationalError"]


@SQLITE
def test_a_database_that_is_down_is_503_before_anything_is_done(
    house: House, admin: TestClient, assert_problem: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.http.once.begin", _raise(DOWN))

    assert_problem(admin.post("/v1/holds", json=HOLD, headers=KEY), 503, "unavailable")
    assert holds(house) == []


@SQLITE
def test_a_body_that_is_too_large_is_413_with_a_key_too(
    house: House, admin: TestClient, assert_problem: Check
) -> None:
    json_ = {**KEY, "Content-Type": "application/json"}
    for content in (b" " * (1024 * 1024 + 1), (b" " * 65536 for _ in range(17))):
        assert_problem(admin.post("/v1/threads", content=content, headers=json_), 413, "too_large")
    assert rows(house) == []


def test_a_long_answer_is_given_once_and_its_key_says_so_afterwards(
    house: House,
    admin: TestClient,
    registered: Register,
    assert_problem: Check,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for n in range(5):
        registered(f"conv_{n}")
    order = {"owner": "team-support", "reason": "request"}
    monkeypatch.setattr("worker.http.recorder.MOST_KEPT_BYTES", 500)

    first = admin.post("/v1/erasures", json=order, headers=KEY)
    size = entries(house)
    again = admin.post("/v1/erasures", json=order, headers=KEY)

    assert (first.status_code, len(first.json()["threads"])) == (201, 5)
    problem = assert_problem(again, 409, "answer_not_kept")
    assert "/v1/audit/entries" in problem["detail"]
    assert entries(house) == size
