"""The description's examples are what the service takes and gives; its page needs nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import jsonschema_rs
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from worker.http.examples import ANSWERS, REQUESTS, refusals
from worker.http.examples import base as values
from worker.http.problems import _CODES, _STATUSES, MEDIA_TYPE

# What is described does not depend on the database.
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

_IDS = {
    "thread_id": values.THREAD,
    "hold_id": values.HOLD,
    "erasure_id": values.ERASURE,
    "sweep_id": values.SWEEP,
    "key_id": values.KEY,
    "export_id": values.EXPORT,
    "preview_id": values.PREVIEW,
    "fingerprint": values.FINGERPRINT,
}
# Elements and attributes by which a page loads, sends or runs something.
_LOADING = {"src", "srcset", "style", "action", "data", "poster", "ping", "background"}
_LOADS = {"script", "style", "iframe", "img", "object", "embed", "form", "base", "video", "audio", "svg"}


def operations(app: FastAPI) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in app.openapi()["paths"].items():
        for method, one in methods.items():
            yield path, method, one


def validator(app: FastAPI, schema: dict[str, Any]) -> Any:
    made = app.openapi()
    return jsonschema_rs.Draft202012Validator({**schema, "components": made["components"]})


def named(app: FastAPI, schema: dict[str, Any]) -> dict[str, Any]:
    name = schema["$ref"].rpartition("/")[2]
    found: dict[str, Any] = app.openapi()["components"]["schemas"][name]
    return found


def test_every_body_of_a_request_has_an_example_that_its_schema_takes(app: FastAPI) -> None:
    seen = set()
    for path, method, one in operations(app):
        for media, content in one.get("requestBody", {}).get("content", {}).items():
            assert content["examples"], (method, path)
            seen.add(one["operationId"])
            for name, example in content["examples"].items():
                if media == "application/json":
                    validator(app, content["schema"]).validate(example["value"])
                else:
                    assert isinstance(example["value"], str), name
    assert seen == REQUESTS.keys()


def test_every_answer_that_is_no_problem_has_an_example_with_exactly_its_fields(app: FastAPI) -> None:
    seen = set()
    for path, method, one in operations(app):
        for status, answer in one["responses"].items():
            for media, content in answer["content"].items():
                if media in {MEDIA_TYPE, "application/zip"}:
                    continue
                assert "example" in content, (method, path, status, media)
                seen.add((one["operationId"], int(status)))
                if media != "application/json":
                    continue
                validator(app, content["schema"]).validate(content["example"])
                properties = named(app, content["schema"])["properties"]
                assert content["example"].keys() == properties.keys() or one["operationId"] == "getThreads"
    assert seen == {(name, status) for name, told in ANSWERS.items() for status in told}


def test_every_problem_that_is_described_has_an_example_under_its_own_status(app: FastAPI) -> None:
    examples = app.openapi()["components"]["examples"]
    schema = validator(app, {"$ref": "#/components/schemas/Problem"})
    statuses = {kind.code: status for kind, status in _STATUSES} | {
        code: status for status, code in _CODES.items()
    }
    for code, example in examples.items():
        problem = example["value"]
        schema.validate(problem)
        # Of several classes with one code each is told by its own status; other codes belong to Invalid.
        assert problem["status"] == statuses.get(code, problem["status"] if code == "internal" else 422), code
    for path, method, one in operations(app):
        for status, answer in one["responses"].items():
            if int(status) < 400:
                continue
            named_ = answer["content"][MEDIA_TYPE].get("examples", {})
            # A write may meet a conflict that only some of them have a name for.
            assert named_ or status == "409", (method, path, status)
            for code, reference in named_.items():
                assert reference == {"$ref": f"#/components/examples/{code}"}
                assert examples[code]["value"]["status"] == int(status)


def test_what_one_operation_refuses_alone_names_operations_that_are_there(app: FastAPI) -> None:
    there = {one["operationId"]: one["responses"] for _, _, one in operations(app)}
    for name, codes in refusals._ALONE.items():
        assert {str(status) for status in codes} <= there[name].keys()


def test_no_request_of_an_example_is_found_invalid(app: FastAPI, admin: TestClient, house: Any) -> None:
    # Deletes are never really paused or ordered twice: each example is asked once, of an empty registry.
    release = TestClient(app, headers={"Authorization": f"Bearer {house.key('holds:release')}"})
    asked = 0
    for path, method, one in operations(app):
        for name, body in REQUESTS.get(one["operationId"], {}).items():
            text, type_ = (
                (body, "application/x-ndjson")
                if isinstance(body, str)
                else (json.dumps(body), "application/json")
            )
            client = release if one["security"] == [{"HTTPBearer": ["holds:release"]}] else admin
            headers = {"Content-Type": type_, "If-Match": "*"}
            answer = client.request(method, path.format(**_IDS), content=text, headers=headers)
            asked += 1
            assert answer.status_code in {200, 201, 202, 404}, (method, path, name, answer.text)
    assert asked == sum(len(named_) for named_ in REQUESTS.values())


class Page(HTMLParser):
    """Collects what a page would load or run, and what it shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[tuple[str, dict[str, str | None]]] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.shown = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        handlers = any(name.startswith("on") for name in given)
        if tag in _LOADS or tag == "link" or handlers or _LOADING & given.keys():
            self.loads.append((tag, given))
        if tag == "a":
            self.links.append(str(given["href"]))
        if "id" in given:
            self.ids.add(str(given["id"]))

    def handle_data(self, data: str) -> None:
        self.shown += data


def test_the_page_loads_its_own_sheet_and_nothing_else(app: FastAPI) -> None:
    client = TestClient(app)
    answer = client.get("/docs")
    policy = answer.headers["content-security-policy"]
    page = Page(answer.text)

    assert answer.headers["content-type"].startswith("text/html")
    assert policy.startswith("default-src 'none'; style-src 'self';")
    assert "unsafe" not in policy
    assert page.loads == [("link", {"rel": "stylesheet", "href": "/docs/style.css"})]
    sheet = client.get("/docs/style.css")
    assert sheet.status_code == 200
    assert sheet.headers["content-type"].startswith("text/css")
    assert "url(" not in sheet.text
    assert "@import" not in sheet.text


def test_every_link_of_the_page_leads_somewhere_on_this_service(app: FastAPI) -> None:
    client = TestClient(app)
    page = Page(client.get("/docs").text)

    assert len(page.links) > 20
    for link in set(page.links):
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert client.get(link).status_code == 200, link


def test_the_page_shows_every_operation_with_its_examples(app: FastAPI) -> None:
    page = Page(TestClient(app).get("/docs").text)

    for path, method, one in operations(app):
        assert f"{method.upper()} {path}" in page.shown
        assert one["operationId"] in page.ids
        for body in REQUESTS.get(one["operationId"], {}).values():
            wanted = (
                body.rstrip("\n") if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False)
            )
            assert wanted in page.shown
