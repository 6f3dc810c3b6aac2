"""The tree keeps the shape that readers and tools rely on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "worker").rglob("*.py"))
MOST_LINES = 400
MOST_LINES_PER_FUNCTION = 50
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}


def functions(source: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_the_migrations_folder_is_no_package_and_so_does_not_shadow_the_library() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists()


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_source_file_can_be_read_in_one_sitting(source: Path) -> None:
    assert len(source.read_text().splitlines()) <= MOST_LINES
    long = [f"{f.name}:{f.lineno}" for f in functions(source) if _lines(f) > MOST_LINES_PER_FUNCTION]
    assert long == []


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_every_name_says_what_is_inside() -> None:
    assert [path for path in SOURCES if EMPTY_NAMES & set(path.relative_to(ROOT).with_suffix("").parts)] == []
