from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from worker.http.catalogue import CATALOGUE
from worker.store.engine import Database

Check = Callable[..., dict[str, Any]]

PLAIN = {"external_id": "conv_1", "project": "support-eu", "owner": "team-support"}
# A refusal has the same shape whatever lies below.
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/nothing"),
        ("GET", "/v1/nothing"),
        ("GET", "/v1/threads/"),
        ("GET", "/v1/failures/fp_0000000000000000"),
        ("POST", "/v1/threads/conv_1/touch"),
        ("GET", "/v1/audit/exports/exp_1"),
        ("GET", "/docs/problems/nothing"),
    ],
)
def test_what_is_not_served_is_404(admin: TestClient, assert_problem: Check, method: str, path: str) -> None:
    problem = assert_problem(admin.request(method, path), 404, "not_found")

    assert problem["instance"] == path


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/v1/threads"), ("DELETE", "/v1/threads/conv_1"), ("POST", "/healthz")]
)
def test_another_method_is_405_and_says_which_there_are(
    admin: TestClient, assert_problem: Check, method: str, path: str
) -> None:
    answer = admin.request(method, path)

    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", "malformed_json"),
        (b"", "invalid"),
        (b"nope", "malformed_json"),
        (b'{"a": 1,}', "malformed_json"),
        (b'{"external_id": "conv_1"} x', "malformed_json"),
        (b"\xff\xfe", "malformed_json"),
        (b'"\xff"', "malformed_json"),
    ],
)
def test_a_body_that_is_not_json_is_400(
    admin: TestClient, assert_problem: Check, content: bytes, code: str
) -> None:
    answer = admin.post("/v1/threads", content=content, headers=JSON)

    assert_problem(answer, 422 if code == "invalid" else 400, code)


@pytest.mark.parametrize("content", [b"[]", b"null", b'"text"', b"1", b"[" * 5000, b"NaN"])
def test_json_that_is_no_object_is_refused(admin: TestClient, content: bytes) -> None:
    answer = admin.post("/v1/threads", content=content, headers=JSON)

    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/x-ndjson"},
        {"Content-Type": ""},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "application/json", "Content-Encoding": "br"},
    ],
)
def test_another_type_or_encoding_is_415(
    admin: TestClient, assert_problem: Check, headers: dict[str, str]
) -> None:
    answer = admin.post("/v1/threads", content=b"{}", headers=headers)

    assert_problem(answer, 415, "unsupported_media_type")


def test_a_body_above_one_mebibyte_is_413_by_its_announced_length(
    admin: TestClient, assert_problem: Check
) -> None:
    answer = admin.post("/v1/threads", content=b" " * (1024 * 1024 + 1), headers=JSON)

    assert_problem(answer, 413, "too_large")


def test_a_body_above_one_mebibyte_is_413_without_an_announced_length(
    admin: TestClient, assert_problem: Check
) -> None:
    answer = admin.post("/v1/threads", content=(b" " * 65536 for _ in range(17)), headers=JSON)

    assert "content-length" not in answer.request.headers
    assert_problem(answer, 413, "too_large")


def test_an_unknown_field_is_pointed_to_and_its_value_never_repeated(
    admin: TestClient, assert_problem: Check
) -> None:
    answer = admin.post("/v1/threads", json={**PLAIN, "a/b~c": "sk-secret-value"})

    problem = assert_problem(answer, 422, "invalid")
    assert [(one["pointer"], one["code"]) for one in problem["errors"]] == [("/a~1b~0c", "unknown_field")]
    assert "sk-secret-value" not in answer.text


def test_every_wrong_place_is_named_at_once(admin: TestClient, assert_problem: Check) -> None:
    answer = admin.post("/v1/threads", json={"external_id": 1, "ttl": False, "extra": 1})

    places = {one["pointer"] for one in assert_problem(answer, 422, "invalid")["errors"]}
    assert places == {"/external_id", "/ttl", "/extra", "/project", "/owner"}


def test_a_given_request_id_is_kept_and_a_bad_one_replaced(admin: TestClient) -> None:
    kept = admin.get("/v1/threads", headers={"X-Request-ID": "abc-123"})
    replaced = [admin.get("/v1/threads", headers={"X-Request-ID": bad}) for bad in ("a b", "x" * 101, "<a>")]

    assert kept.headers["x-request-id"] == "abc-123"
    assert all(one.headers["x-request-id"].startswith("req_") for one in replaced)


def test_a_broken_route_is_a_500_that_tells_nothing_and_is_logged(
    app: FastAPI, house: Any, assert_problem: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        msg = "the secret plan of /etc/tenure"
        raise RuntimeError(msg)

    monkeypatch.setattr("worker.http.routes.threads.list_threads", broken)
    client = TestClient(app, headers={"Authorization": f"Bearer {house.key('threads:read')}"})
    with capture_logs() as logs:
        answer = client.get("/v1/threads")

    problem = assert_problem(answer, 500, "internal")
    assert "secret" not in answer.text
    (failed,) = [one for one in logs if one["event"] == "request.failed"]
    assert failed["request_id"] == problem["request_id"]
    assert isinstance(failed["exc_info"], RuntimeError)


def test_a_database_that_is_gone_is_503_with_a_time_to_retry(
    admin: TestClient, database: Database, assert_problem: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise OperationalError("select password", {}, Exception("host db.internal refused"))

    for where in ("worker.http.auth.authenticate", "worker.http.routes.threads.list_threads"):
        with monkeypatch.context() as patch:
            patch.setattr(where, gone)
            with capture_logs() as logs:
                answer = admin.get("/v1/threads")
        assert [one["reason"] for one in logs if one["event"] == "request.postponed"]
        (served,) = [one for one in logs if one["event"] == "request.served"]
        assert served["error.type"] == "unavailable"
        assert_problem(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert "db.internal" not in answer.text
        assert "password" not in answer.text


def test_each_request_is_one_line_without_query_or_secret(admin: TestClient) -> None:
    with capture_logs() as logs:
        admin.get("/v1/threads/conv_nobody?x=1", headers={"X-Request-ID": "one"})
        admin.get("/v1/nothing/secret")

    first, second = [one for one in logs if one["event"] == "request.served"]
    assert first["http.route"] == "/v1/threads/{thread_id}"
    assert first["http.request.method"] == "GET"
    assert first["http.response.status_code"] == 404
    assert (first["code"], first["error.type"]) == ("not_found", None)
    assert first["request_id"] == "one"
    assert first["actor"].startswith("key:")
    assert 0 <= first["seconds"] < 60
    assert (second["http.route"], second["code"]) == (None, "not_found")
    assert "secret" not in str(logs)


def test_every_answer_forbids_sniffing_and_caching(admin: TestClient) -> None:
    for path in ("/v1/threads", "/v1/nothing", "/healthz"):
        headers = admin.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_each_code_has_a_page(admin: TestClient) -> None:
    for code in CATALOGUE:
        page = admin.get(f"/docs/problems/{code}")
        assert page.status_code == 200
        assert page.text.startswith(code)


@pytest.mark.parametrize("given", ["req-1.A_b", "a" * 100])
def test_a_request_id_that_is_given_comes_back_also_from_a_refusal(admin: TestClient, given: str) -> None:
    for path in ("/v1/threads", "/v1/nothing", "/nothing", "/docs/problems/nothing"):
        answer = admin.get(path, headers={"X-Request-Id": given})
        assert answer.headers["x-request-id"] == given
        if answer.status_code >= 400:
            assert answer.json()["request_id"] == given
