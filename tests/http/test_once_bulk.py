"""Bulk registrations with an `Idempotency-Key`: streamed bodies and answers, long ones and broken ones."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from tests.http.conftest import House
from worker.flows.register import register_many
from worker.store.tables import kept_answer

Check = Callable[..., dict[str, Any]]

PATH = "/v1/threads/bulk"
HEADERS = {"Idempotency-Key": '"import-2026-11-29-part-1"', "Content-Type": "application/x-ndjson"}
GZIP = {**HEADERS, "Content-Encoding": "gzip"}
DOWN = OperationalError("insert", {}, Exception("the server closed the connection"))


def lines(count: int, first: int = 0) -> bytes:
    plain = {"project": "support-eu", "owner": "team-support"}
    rows = [{**plain, "external_id": f"conv_{n}"} for n in range(first, first + count)]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def told(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["status"] for one in map(json.loads, answer.text.splitlines()) if "line" in one]


def test_the_lines_come_again_as_they_were(admin: TestClient) -> None:
    first = admin.post(PATH, content=lines(5), headers=HEADERS)
    again = admin.post(PATH, content=lines(5), headers=HEADERS)

    assert told(first) == ["created"] * 5
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotency-replayed"] == "true"
    assert (
        told(admin.post(PATH, content=lines(5), headers={**HEADERS, "Idempotency-Key": "2"}))
        == ["exists"] * 5
    )


def test_a_body_in_many_pieces_is_the_same_as_in_one(admin: TestClient) -> None:
    content = lines(50)
    pieces = (content[n : n + 777] for n in range(0, len(content), 777))

    first = admin.post(PATH, content=pieces, headers=HEADERS)
    again = admin.post(PATH, content=content, headers=HEADERS)

    assert told(first) == ["created"] * 50
    assert again.content == first.content


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_body_that_does_not_fit_into_memory_comes_through_whole(admin: TestClient) -> None:
    blank = b" " * 200_000 + b"\n"
    content = blank * 30 + lines(3) + blank * 30 + lines(3, first=3)

    first = admin.post(PATH, content=content, headers=HEADERS)

    assert told(first) == ["created"] * 6
    assert admin.post(PATH, content=content, headers=HEADERS).content == first.content


def test_other_lines_or_another_way_of_asking_are_another_request(
    admin: TestClient, assert_problem: Check
) -> None:
    told(admin.post(PATH, content=lines(2), headers=HEADERS))

    packed = gzip.compress(lines(2))
    others = [
        admin.post(PATH, content=lines(3), headers=HEADERS),
        admin.post(f"{PATH}?dry_run=true", content=lines(2), headers=HEADERS),
        admin.post(PATH, content=packed, headers=GZIP),
    ]

    for answer in others:
        assert_problem(answer, 422, "idempotency_key_reused")


def test_what_is_packed_is_the_same_by_its_bytes(admin: TestClient) -> None:
    packed = gzip.compress(lines(2), mtime=1)

    first = admin.post(PATH, content=packed, headers=GZIP)

    assert told(first) == ["created"] * 2
    assert admin.post(PATH, content=packed, headers=GZIP).content == first.content


def test_gzip_that_breaks_off_frees_the_key(admin: TestClient, assert_problem: Check) -> None:
    packed = gzip.compress(lines(2))
    assert_problem(admin.post(PATH, content=packed[:-5], headers=GZIP), 400, "malformed_gzip")

    assert told(admin.post(PATH, content=packed, headers=GZIP)) == ["created"] * 2


def test_more_lines_than_are_kept_are_all_answered_and_the_key_says_so_afterwards(
    house: House, admin: TestClient, assert_problem: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.http.recorder.MOST_KEPT_BYTES", 1000)

    first = admin.post(PATH, content=lines(50), headers=HEADERS)
    again = admin.post(PATH, content=lines(50), headers=HEADERS)

    assert told(first) == ["created"] * 50
    assert json.loads(first.text.splitlines()[-1])["created"] == 50
    problem = assert_problem(again, 409, "answer_not_kept")
    assert "exists" in problem["detail"]
    with house.database.read() as db:
        (row,) = db.execute(select(kept_answer))
    assert (row.status, row.body, row.lease_until) == (200, None, None)
    other = {**HEADERS, "Idempotency-Key": '"part-1, once more"'}
    assert told(admin.post(PATH, content=lines(50), headers=other)) == ["exists"] * 50


@pytest.mark.parametrize("most", [1_000_000, 200])
def test_a_registration_that_broke_off_goes_on_under_the_same_key(
    house: House, admin: TestClient, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("worker.http.bulk_lines.MOST_AT_ONCE", 2)
    monkeypatch.setattr("worker.http.recorder.MOST_KEPT_BYTES", most)
    calls: list[int] = []

    def breaking(*args: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise DOWN
        return register_many(*args, **named)

    monkeypatch.setattr("worker.http.bulk_lines.register_many", breaking)

    first = admin.post(PATH, content=lines(8), headers=HEADERS)
    again = admin.post(PATH, content=lines(8), headers=HEADERS)

    assert told(first) == ["created"] * 4
    assert json.loads(first.text.splitlines()[-1])["error"]["code"] == "unavailable"
    assert told(again) == ["exists"] * 4 + ["created"] * 4
