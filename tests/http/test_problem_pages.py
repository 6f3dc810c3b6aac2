"""Every code that a problem can have has a page, and every page a code."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import worker
from worker.http.catalogue import CATALOGUE
from worker.http.problems import _CODES, _STATUSES
from worker.model.errors import TenureError

# Floors whose refusals a caller of the API may come to see: pacer, providers and sandbox are not asked there.
_SEEN = ("http", "flows", "store", "policy", "model")


@pytest.fixture(scope="module", autouse=True)
def _everything_is_loaded() -> None:
    """A class is known once its module is imported, and no other test decides which are."""
    for part in _SEEN:
        package = importlib.import_module(f"worker.{part}")
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(found.name)


def _kinds(kind: type[TenureError]) -> Iterator[type[TenureError]]:
    if kind.__module__.split(".")[1] in _SEEN:
        yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


def _written_codes() -> Iterator[tuple[str, str]]:
    """Yield each `code="…"` that the code gives, where a caller of the API may come to see it."""
    root = Path(worker.__file__).parent
    for part in ("http", "flows", "model"):
        for file in sorted((root / part).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                for given in node.keywords:
                    if given.arg == "code" and isinstance(given.value, ast.Constant) and given.value.value:
                        yield str(given.value.value), f"{file.name}:{node.lineno}"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_every_code_has_a_page_that_says_what_to_do(admin: TestClient) -> None:
    codes = dict(_written_codes())
    for kind, _ in _STATUSES:
        codes |= {one.code: one.__name__ for one in _kinds(kind)}
    codes |= dict.fromkeys(_CODES.values(), "status")

    assert {code: where for code, where in codes.items() if code not in CATALOGUE} == {}
    assert len(codes) > 40
    for code, (title, repair) in CATALOGUE.items():
        page = admin.get(f"/docs/problems/{code}")
        assert page.status_code == 200
        assert title in page.text
        assert repair in page.text


def test_every_code_of_the_catalogue_is_used() -> None:
    text = "".join(
        file.read_text(encoding="utf-8")
        for file in sorted(Path(worker.__file__).parent.rglob("*.py"))
        if file.name != "catalogue.py"
    )
    assert [code for code in CATALOGUE if f'"{code}"' not in text] == []
