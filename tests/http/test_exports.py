"""Exports over HTTP: asked for, made by whoever may sign, fetched once they are ready, gone in the end."""

from __future__ import annotations

import gzip
import hashlib
import io
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from starlette.testclient import TestClient

from tests.http.conftest import Client, House
from worker.audit.verify import verify_bundle
from worker.flows import make_export
from worker.flows.ask_export import wanted_of
from worker.flows.make_export import LEASE, MOST_TRIES, Maker, make_exports, write_wanted
from worker.http.routes.exports import pieces_of
from worker.store import exports, log

WHOLE = {"project": "support-eu", "from": "2026-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z"}
ROUTE = "/v1/audit/exports"
Register = Callable[..., dict[str, Any]]


def maker(house: House) -> Maker:
    return Maker(database=house.database, sealer=house.services.sealer, clock=house.clock)


def asked(client: TestClient, **more: Any) -> str:
    answer = client.post(ROUTE, json={**WHOLE, **more})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"{ROUTE}/{answer.json()['id']}"
    return str(answer.json()["id"])


def test_an_export_is_made_fetched_and_verifies(
    house: House, client: Client, admin: TestClient, registered: Register, tmp_path: Path
) -> None:
    registered("conv_1")
    auditor = client("audit:export")
    export = asked(auditor)
    waiting = auditor.get(f"{ROUTE}/{export}")
    assert (waiting.json()["state"], waiting.headers["retry-after"]) == ("queued", "2")
    assert make_exports(maker(house)) == 1
    ready = auditor.get(f"{ROUTE}/{export}").json()
    assert ready["state"] == "ready"
    assert ready["progress"] == {"done": ready["made"]["size"], "total": ready["made"]["size"]}
    file = auditor.get(ready["file"])
    assert file.headers["content-type"] == "application/zip"
    assert file.headers["content-disposition"] == f'attachment; filename="tenure-{export}.zip"'
    assert int(file.headers["content-length"]) == len(file.content) == ready["made"]["bytes"]
    digest = hashlib.sha256(file.content).hexdigest()
    assert file.headers["etag"] == f'"{digest}"'
    assert ready["made"]["sha256"] == digest
    (tmp_path / "e.zip").write_bytes(file.content)
    assert verify_bundle(tmp_path / "e.zip", keys=[house.services.sealer.signer().vkey]).verified
    told = admin.get("/v1/audit/entries?limit=100").json()["data"]
    assert [one["type"] for one in told][-2:] == ["export.made", "access.read"]
    assert [one["body"]["what"] for one in told if one["type"] == "access.read"] == [
        f"POST {ROUTE} {export}",
        f"GET {ROUTE}/{export}/file",
    ]
    assert told[-2]["actor"] == told[-1]["actor"]


def test_another_projects_export_does_not_exist_for_a_bound_key(
    house: House, client: Client, registered: Register, assert_problem: Any
) -> None:
    registered("conv_1")
    export = asked(client("audit:export"))
    make_exports(maker(house))
    other = client("audit:export", projects=["sales-us"])
    assert_problem(other.get(f"{ROUTE}/{export}"), 404, "not_found")
    assert_problem(other.get(f"{ROUTE}/{export}/file"), 404, "not_found")
    assert_problem(other.post(ROUTE, json=WHOLE), 422, "unknown_project")
    own = client("audit:export", projects=["support-eu"])
    assert own.get(f"{ROUTE}/{export}/file").status_code == 200
    assert_problem(own.post(ROUTE, json={**WHOLE, "with_policies": True}), 403, "project_bound")
    told = client("audit:export")
    with_policies = asked(told, with_policies=True)
    make_exports(maker(house))
    assert_problem(own.get(f"{ROUTE}/{with_policies}"), 404, "not_found")
    assert_problem(own.get(f"{ROUTE}/{with_policies}/file"), 404, "not_found")
    # Whoever may ask for policies may fetch them.
    file = told.get(f"{ROUTE}/{with_policies}/file")
    assert file.status_code == 200
    with ZipFile(io.BytesIO(file.content)) as bundle:
        assert any(name.startswith("policies/") for name in bundle.namelist())
    assert_problem(client("audit:read").post(ROUTE, json=WHOLE), 403, "forbidden")


def test_an_order_that_reaches_other_projects_is_not_exported_by_a_bound_key(
    house: House, client: Client, admin: TestClient, registered: Register, assert_problem: Any
) -> None:
    registered("conv_1")
    registered("conv_2", project="sales-us")
    both = admin.post("/v1/erasures", json={"owner": "team-support", "reason": "r"}).json()["id"]
    mine = admin.post("/v1/erasures", json={"ids": ["conv_1"], "reason": "r"}).json()["id"]
    own = client("audit:export", projects=["support-eu"])
    assert_problem(own.post(ROUTE, json={"project": "support-eu", "erasure": both}), 404, "not_found")
    made = asked(admin, erasure=both)
    allowed = asked(own, erasure=mine)
    make_exports(maker(house))
    assert_problem(own.get(f"{ROUTE}/{made}/file"), 404, "not_found")
    assert own.get(f"{ROUTE}/{allowed}/file").status_code == 200


def test_a_maker_that_dies_is_followed_by_another_and_writes_nothing_any_more(
    house: House, admin: TestClient, registered: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered("conv_1")
    export = asked(admin)
    monkeypatch.setattr(make_export, "PIECE", 512)
    claim, pieces, add = exports.claim, list[int](), exports.add_piece
    held: list[Any] = []

    def claimed(*args: Any, **named: Any) -> Any:
        held.append(claim(*args, **named))
        return held[-1]

    def dying(db: Any, held: Any, n: int, data: bytes) -> None:
        if n == 2:
            raise RuntimeError
        add(db, held, n, data)
        pieces.append(n)

    with monkeypatch.context() as dies:
        dies.setattr(exports, "claim", claimed)
        dies.setattr(exports, "add_piece", dying)
        with pytest.raises(RuntimeError):
            make_exports(maker(house))
    dead = held[0]
    assert pieces == [0, 1]
    with house.database.read() as db:
        assert exports.piece(db, export, dead.fence, 1) is not None
    assert make_exports(maker(house)) == 0
    with house.database.write() as db:
        exports.end_leases(db, house.clock.now() - LEASE)
    with house.database.write() as db:
        second = exports.claim(db, now=house.clock.now(), lease=LEASE)
    assert second is not None
    with house.database.write() as db:
        # While another one makes it: what the first began is gone, and it writes nothing.
        assert exports.piece(db, export, dead.fence, 1) is None
        assert not exports.renew(db, dead, done=0, total=1, now=house.clock.now(), lease=LEASE)
        assert not exports.fail(db, dead, problem={}, now=house.clock.now())
        exports.release(db, dead)
        assert exports.claim(db, now=house.clock.now(), lease=LEASE) is None
        exports.release(db, second)
    assert make_exports(maker(house)) == 1
    with house.database.write() as db:
        assert not exports.renew(db, dead, done=0, total=1, now=house.clock.now(), lease=LEASE)
        assert not exports.finish(db, dead, made={}, now=house.clock.now(), until=house.clock.now())
    ready = admin.get(f"{ROUTE}/{export}").json()
    content = admin.get(ready["file"]).content
    assert hashlib.sha256(content).hexdigest() == ready["made"]["sha256"]


def test_the_file_holds_what_a_local_export_holds(
    house: House, admin: TestClient, registered: Register, tmp_path: Path
) -> None:
    registered("conv_1")
    export = asked(admin)
    make_exports(maker(house))
    (tmp_path / "there.zip").write_bytes(admin.get(f"{ROUTE}/{export}/file").content)
    sealer = house.services.sealer
    wanted = wanted_of({**admin.get(f"{ROUTE}/{export}").json()["asked"]})
    write_wanted(
        house.database, sealer, wanted, out=tmp_path / "here.zip", actor="tests tenure/0", clock=house.clock
    )
    with ZipFile(tmp_path / "there.zip") as there, ZipFile(tmp_path / "here.zip") as here:
        assert there.namelist() == here.namelist()
        for name in ("deletions.csv", "keys.txt"):
            assert there.read(name) == here.read(name)
        # The second one leads to a later checkpoint of the same tree.
        for name in ("envelopes.jsonl.gz", "bodies.jsonl.gz"):
            early, late = (gzip.decompress(one.read(name)) for one in (there, here))
            assert late.startswith(early)
            assert len(late) > len(early) > 0


def test_a_large_file_is_never_held_whole(house: House, admin: TestClient, registered: Register) -> None:
    registered("conv_1")
    export = asked(admin)
    make_exports(maker(house))
    with house.database.read() as db:
        found = exports.get(db, export)
    assert found is not None
    for n in range(1, 33):
        with house.database.write() as db:
            exports.add_piece(db, found, n, bytes([n]) * make_export.PIECE)
    tracemalloc.start()
    total = sum(len(piece) for piece in pieces_of(house.database, found))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total > 32 * make_export.PIECE
    assert peak < 8 * make_export.PIECE


def test_of_two_makers_one_gets_it(house: House, admin: TestClient) -> None:
    asked(admin)
    with house.database.write() as db:
        assert exports.claim(db, now=house.clock.now(), lease=LEASE) is not None
    with house.database.write() as db:
        assert exports.claim(db, now=house.clock.now(), lease=LEASE) is None


def test_what_cannot_be_made_says_why_and_is_not_tried_for_ever(
    house: House, admin: TestClient, registered: Register, assert_problem: Any
) -> None:
    registered("conv_1")
    nobody = asked(admin, owner="nobody")
    make_exports(maker(house))
    failed = admin.get(f"{ROUTE}/{nobody}").json()
    assert (failed["state"], failed["problem"]["code"]) == ("failed", "not_found")
    assert_problem(admin.get(f"{ROUTE}/{nobody}/file"), 409, "export_not_ready")
    left = asked(admin)
    for _ in range(MOST_TRIES):
        with house.database.write() as db:
            held = exports.claim(db, now=house.clock.now(), lease=LEASE)
            assert held is not None
            exports.release(db, held)
    make_exports(maker(house))
    assert admin.get(f"{ROUTE}/{left}").json()["problem"]["code"] == "export_abandoned"


def test_a_process_that_stops_gives_the_export_back(
    house: House, admin: TestClient, registered: Register
) -> None:
    registered("conv_1")
    export = asked(admin)
    looks = iter([False])
    assert make_exports(replace(maker(house), stopping=lambda: next(looks, True))) == 0
    assert admin.get(f"{ROUTE}/{export}").json()["state"] == "queued"


def test_a_file_expires_and_takes_no_room_any_more(
    house: House, admin: TestClient, registered: Register, assert_problem: Any
) -> None:
    registered("conv_1")
    export = asked(admin)
    make_exports(maker(house))
    house.clock.move(hours=25)
    assert admin.get(f"{ROUTE}/{export}").json()["state"] == "expired"
    assert_problem(admin.get(f"{ROUTE}/{export}/file"), 410, "export_expired")
    make_exports(maker(house))
    with house.database.read() as db:
        assert exports.piece(db, export, 1, 0) is None
    house.clock.move(days=31)
    make_exports(maker(house))
    assert_problem(admin.get(f"{ROUTE}/{export}"), 404, "not_found")


def test_a_key_has_three_under_way_at_most(client: Client, admin: TestClient, assert_problem: Any) -> None:
    for _ in range(3):
        asked(admin)
    refused = admin.post(ROUTE, json=WHOLE)
    assert_problem(refused, 429, "too_many_exports")
    assert refused.headers["retry-after"] == "60"
    asked(client())


@pytest.mark.parametrize(
    "more",
    [{"owner": "a", "begin_at": 1}, {"owner": "a", "erasure": "era_1"}, {"to": "2025-01-01T00:00:00Z"},
     {"begin_at": "1"}, {"from": None}, {"anchors": {"../x": "y"}},
     {"anchors": {"kept": "y", "x": "y", "Kept": "y"}}, {"unknown": 1}],
    ids=str,
)  # fmt: skip
def test_what_does_not_go_together_is_refused(admin: TestClient, more: dict[str, Any]) -> None:
    assert admin.post(ROUTE, json={**WHOLE, **more}).status_code == 422


def test_reading_the_trail_is_an_entry_and_no_news(
    house: House, admin: TestClient, registered: Register
) -> None:
    made = registered("conv_1")
    with house.database.read() as db:
        news = log.read_head(db).news
    admin.get(f"/v1/threads/{made['id']}/entries", headers={"X-Request-ID": "the-reading"})
    last = admin.get("/v1/audit/entries?limit=100").json()["data"][-1]
    assert (last["type"], last["project"]) == ("access.read", "support-eu")
    what = f"GET /v1/threads/{made['id']}/entries"
    assert last["body"] == {"rows": 1, "what": what, "request_id": "the-reading"}
    with house.database.read() as db:
        assert log.read_head(db).news == news


def test_a_reader_who_follows_the_log_reaches_its_end(admin: TestClient, registered: Register) -> None:
    registered("conv_1")
    after, seen, more = None, 0, True
    while more:
        page = admin.get(
            "/v1/audit/entries", params={"limit": 1, **({"after": after} if after else {})}
        ).json()
        after, more, seen = page["last_id"], page["has_more"], seen + 1
        assert seen < 20
