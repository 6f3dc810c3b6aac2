from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from worker.flows.register import register_many
from worker.http.app import create_app

Check = Callable[..., dict[str, Any]]

PLAIN = {"external_id": "conv_1", "project": "support-eu", "owner": "team-support"}
LINES = {"Content-Type": "application/x-ndjson"}
GZIP = {**LINES, "Content-Encoding": "gzip"}


def lines(*rows: Any) -> bytes:
    return b"".join(
        (row if isinstance(row, bytes) else json.dumps({**PLAIN, **row}).encode()) + b"\n" for row in rows
    )


def send(client: TestClient, content: bytes | Iterable[bytes], **more: Any) -> list[dict[str, Any]]:
    answer = client.post("/v1/threads/bulk", content=content, headers=more.pop("headers", LINES), **more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_each_line_is_answered_and_a_bad_one_blocks_no_other(admin: TestClient) -> None:
    content = lines(
        {"external_id": "conv_1", "ttl": "30d"},
        {"external_id": "conv_1", "ttl": "P30D"},
        {"external_id": "conv_1", "ttl": "1d"},
        {"external_id": "run_1"},
        {"external_id": "conv_2", "ttl": False},
        b"{not json",
        b"",
        {"external_id": "conv_1", "project": "support-twin"},
        {"external_id": "conv_3", "project": "nobody"},
        b"[1]",
        {"external_id": "conv_4", "tags": ["keep"]},
    )

    *answers, summary = send(admin, content)

    told = [(one["line"], one["status"], (one["error"] or {}).get("code")) for one in answers]
    assert told == [
        (1, "created", None),
        (2, "exists", None),
        (3, "conflict", "conflict"),
        (4, "invalid", "wrong_kind"),
        (5, "invalid", "invalid"),
        (6, "invalid", "malformed_json"),
        (8, "conflict", "registered_elsewhere"),
        (9, "invalid", "unknown_project"),
        (10, "invalid", "invalid"),
        (11, "created", None),
    ]
    assert answers[0]["id"] == answers[1]["id"] == answers[2]["id"]
    assert answers[2]["error"]["diff"] == [{"field": "ttl", "registered": "P30D", "given": "P1D"}]
    assert answers[4]["error"]["errors"][0]["pointer"] == "/ttl"
    assert answers[6]["id"] is None
    assert summary == {
        "object": "summary",
        "lines": 10,
        "created": 2,
        "exists": 1,
        "conflict": 2,
        "invalid": 5,
        "dry_run": False,
        "error": None,
    }
    assert len(admin.get("/v1/threads").json()["data"]) == 2


def test_a_dry_run_says_the_same_and_keeps_nothing(admin: TestClient) -> None:
    send(admin, lines({"external_id": "conv_old"}))
    # Reading the log is an entry of its own, which comes behind what was read.
    facts = "/v1/audit/entries?limit=100&type=thread.registered"
    before = admin.get(facts).json()["data"]

    content = lines({"external_id": "conv_old"}, {"external_id": "conv_new"}, {"external_id": "run_1"})
    *answers, summary = send(admin, content, params={"dry_run": "true"})

    assert [one["status"] for one in answers] == ["exists", "created", "invalid"]
    assert answers[1]["id"] is None
    assert summary["dry_run"] is True
    assert len(admin.get("/v1/threads").json()["data"]) == 1
    assert admin.get(facts).json()["data"] == before


def test_more_lines_than_one_transaction_holds_are_all_registered(admin: TestClient) -> None:
    content = lines(*({"external_id": f"conv_{number}"} for number in range(2300)))

    *answers, summary = send(admin, gzip.compress(content), headers=GZIP)

    assert [one["line"] for one in answers] == list(range(1, 2301))
    assert summary["created"] == 2300
    *_, again = send(admin, content)
    assert again["exists"] == 2300


def test_an_empty_body_is_an_empty_summary(admin: TestClient) -> None:
    (summary,) = send(admin, b"\n \n")

    assert summary["lines"] == 0


def test_several_gzip_members_are_one_body(admin: TestClient) -> None:
    content = b"".join(gzip.compress(lines({"external_id": f"conv_{number}"})) for number in range(3))

    *_, summary = send(admin, (content[i : i + 7] for i in range(0, len(content), 7)), headers=GZIP)

    assert summary["created"] == 3


@pytest.mark.parametrize(
    "content",
    [b"plain", gzip.compress(b"x" * 1000)[:-4], b"\x1f\x8b"],
    ids=["no gzip", "cut short", "a head alone"],
)
def test_damaged_gzip_registers_nothing(admin: TestClient, assert_problem: Check, content: bytes) -> None:
    answer = admin.post("/v1/threads/bulk", content=content, headers=GZIP)

    assert_problem(answer, 400, "malformed_gzip")


def test_a_bomb_is_stopped_at_the_limit_after_unpacking(
    admin: TestClient, assert_problem: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.http.spool.MOST_BULK_BYTES", 1024 * 1024)
    bomb = gzip.compress(lines({}) + b" " * (2 * 1024 * 1024))

    answer = admin.post("/v1/threads/bulk", content=bomb, headers=GZIP)

    assert len(bomb) < 10_000
    assert_problem(answer, 413, "too_large")
    assert admin.get("/v1/threads").json()["data"] == []


def test_a_body_above_the_limit_is_413(
    admin: TestClient, assert_problem: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.http.edge.MOST_BULK_BYTES", 1000)

    for content in (b" " * 1001, (b" " * 100 for _ in range(11))):
        answer = admin.post("/v1/threads/bulk", content=content, headers=LINES)
        assert_problem(answer, 413, "too_large")


def test_a_line_that_is_too_long_is_refused_alone(admin: TestClient) -> None:
    long = b'{"external_id": "' + b"x" * 600_000 + b'"}'

    *answers, summary = send(admin, lines(long, {"external_id": "conv_1"}))

    assert [one["status"] for one in answers] == ["invalid", "created"]
    assert answers[0]["error"]["code"] == "too_large"
    assert [one["line"] for one in answers] == [1, 2]
    assert summary["lines"] == 2


def test_a_bound_key_registers_in_its_projects_only(client: Any) -> None:
    bound = client("threads:write", projects=["sales-us"])

    *answers, _ = send(
        bound, lines({"external_id": "conv_1"}, {"external_id": "conv_1", "project": "sales-us"})
    )

    assert [(one["status"], (one["error"] or {}).get("code")) for one in answers] == [
        ("invalid", "unknown_project"),
        ("created", None),
    ]


@pytest.mark.parametrize(
    "headers",
    [{"Content-Type": "application/json"}, {}, {**LINES, "Content-Encoding": "br"}],
)
def test_another_type_is_415(admin: TestClient, assert_problem: Check, headers: dict[str, str]) -> None:
    answer = admin.post("/v1/threads/bulk", content=lines({}), headers=headers)

    assert_problem(answer, 415, "unsupported_media_type")


def test_before_any_bundle_it_is_a_plain_503(bare: Any, assert_problem: Check) -> None:
    key = bare.key("threads:write")
    client = TestClient(create_app(bare.services), headers={"Authorization": f"Bearer {key}"})

    assert_problem(client.post("/v1/threads/bulk", content=lines({}), headers=LINES), 503, "no_bundle")


def test_a_database_that_fails_in_the_middle_is_told_by_the_summary(
    admin: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(10))

    def flaky(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == 1:
            raise OperationalError("insert", {}, Exception("gone"))
        return register_many(*args, **kwargs)

    monkeypatch.setattr("worker.http.bulk_lines.register_many", flaky)
    monkeypatch.setattr("worker.http.bulk_lines.MOST_AT_ONCE", 2)
    content = lines(*({"external_id": f"conv_{number}"} for number in range(4)))

    *answers, summary = send(admin, content)

    assert len(answers) == 2
    assert summary["created"] == 2
    assert summary["error"]["code"] == "unavailable"
    monkeypatch.undo()
    *_, again = send(admin, content)
    assert (again["exists"], again["created"]) == (2, 2)


def test_of_two_projects_on_one_account_the_first_line_has_the_object(admin: TestClient) -> None:
    content = lines({"external_id": "conv_1", "project": "support-twin"}, {"external_id": "conv_1"})

    *answers, _ = send(admin, content)

    assert [one["status"] for one in answers] == ["created", "conflict"]


_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = ("external_id", "project", "owner", "kind", "ttl", "tags", "created_at", "children", "more")
_ROW = st.fixed_dictionaries({}, optional=dict.fromkeys(_FIELDS, _VALUE)) | _VALUE
_LINE = (
    st.integers(0, 9).map(lambda number: json.dumps({**PLAIN, "external_id": f"conv_{number}"}).encode())
    | _ROW.map(lambda row: json.dumps({**PLAIN, **row} if isinstance(row, dict) else row).encode())
    | st.binary(max_size=40)
)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(rows=st.lists(_LINE, max_size=8), packed=st.booleans())
def test_whatever_the_lines_hold_each_is_answered(admin: TestClient, rows: list[bytes], packed: bool) -> None:
    content = b"\n".join(rows)
    wanted = [number for number, row in enumerate(content.split(b"\n"), start=1) if row.strip()]

    body, headers = (gzip.compress(content), GZIP) if packed else (content, LINES)
    *answers, summary = send(admin, body, headers=headers)

    assert [one["line"] for one in answers] == wanted
    assert summary["lines"] == len(wanted)
    assert summary["error"] is None
    assert all((one["error"] is None) == (one["status"] in {"created", "exists"}) for one in answers)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(content=st.binary(max_size=200), cut=st.integers(0, 60), flip=st.integers(0, 60))
def test_damaged_gzip_is_a_problem_and_never_an_error_of_ours(
    admin: TestClient, content: bytes, cut: int, flip: int
) -> None:
    packed = bytearray(gzip.compress(content))
    packed[flip % len(packed)] ^= 0x55

    answer = admin.post("/v1/threads/bulk", content=bytes(packed[: len(packed) - cut]), headers=GZIP)

    assert answer.status_code in {200, 400}
