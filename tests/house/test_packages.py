"""What is built from the tree, with no network, carries all that an installed Tenure needs."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> set[str]:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def sdist(built: Path) -> set[str]:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def sources(folder: str, pattern: str) -> set[str]:
    return {path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).rglob(pattern)}


def test_the_wheel_holds_the_package_and_its_types(wheel: set[str]) -> None:
    assert "worker/py.typed" in wheel
    assert {f"worker/{name}" for name in sources("worker", "*.py")} <= wheel


def test_the_wheel_holds_the_migrations_and_the_shipped_policies(wheel: set[str]) -> None:
    assert {f"worker/_migrations/{name}" for name in sources("alembic", "*.py")} <= wheel
    assert {f"worker/_migrations/{name}" for name in sources("alembic", "*.mako")} <= wheel
    assert {f"worker/_policies/{name}" for name in sources("policies", "*.yaml")} <= wheel


def test_the_wheel_puts_nothing_beside_the_package(wheel: set[str]) -> None:
    assert {name.split("/")[0].split("-")[0] for name in wheel} == {"worker", "tenure"}


def test_the_source_archive_can_build_and_test_itself_and_holds_no_local_file(sdist: set[str]) -> None:
    assert {"pyproject.toml", "Makefile", "LICENSE", "requirements.lock", "tests/conftest.py"} <= sdist
    assert [name for name in sdist if name.startswith((".venv", ".tenure")) or "__pycache__" in name] == []
    assert not sdist & {"uv.lock", "pylock.toml"}
