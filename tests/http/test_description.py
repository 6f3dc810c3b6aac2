"""The OpenAPI description is a committed file, and the API answers only what it says, to any key and none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import status_code_conformance

from worker.flows.key import ADMIN_SCOPES

FILE = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
# How many requests each operation gets from each key: nightly runs set more.
EXAMPLES = int(os.environ.get("TENURE_TEST_API_EXAMPLES", "3"))
KEYS: dict[str, tuple[str, ...]] = {
    "no key": (),
    "every scope of an admin": tuple(ADMIN_SCOPES),
    **{scope: (scope,) for scope in (*sorted(ADMIN_SCOPES), "holds:release")},
}


@schemathesis.serializer("application/x-ndjson")
def _lines(_: object, value: object) -> bytes:
    return str(value).encode("utf-8", "replace")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_committed_description_is_what_the_routes_say(app: FastAPI) -> None:
    """TENURE_TEST_REWRITE=1 writes the file anew."""
    text = json.dumps(app.openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get("TENURE_TEST_REWRITE"):
        FILE.write_text(text, encoding="utf-8")
    assert FILE.read_text(encoding="utf-8") == text, "rewrite it as docs/development.md says"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_every_operation_under_v1_names_its_scopes(app: FastAPI) -> None:
    made = app.openapi()
    for path, methods in made["paths"].items():
        for method, one in methods.items():
            if path.startswith("/v1/"):
                assert one["security"], (method, path)
                assert all(scopes for entry in one["security"] for scopes in entry.values())
            assert "default" not in one["responses"]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", KEYS)
def test_whatever_is_sent_the_answer_is_one_that_is_described(app: FastAPI, house: Any, name: str) -> None:
    headers = {"Authorization": f"Bearer {house.key(*KEYS[name])}"} if KEYS[name] else {}
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)

    for result in schema.get_all_operations():
        operation = cast("Any", result).ok()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: Any) -> None:
            case.call_and_validate(
                headers=headers, checks=[not_a_server_error, status_code_conformance], timeout=20
            )

        given(case=operation.as_strategy())(ask)()
