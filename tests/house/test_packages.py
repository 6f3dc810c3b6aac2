"""What is built from the tree, with no network, carries all that an installed Tenure needs."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from worker.providers.profiles import SHIPPED

ROOT = Path(__file__).resolve().parents[2]
# The tree's own package is put out of sight: only what was unpacked can answer.
READ_FROM_THE_WHEEL = """
import sys
sys.path.insert(0, sys.argv[1])
import worker
print("wheel" if worker.__file__.startswith(sys.argv[1]) else worker.__file__)
from worker.providers.profiles import SHIPPED, profile
print(*(profile(name).name for name in SHIPPED))
from worker.store import engine, migrate
database = engine.open_database(sys.argv[2])
migrate.upgrade(database)
print("migrated" if migrate.drift(database) == [] else "drift")
"""


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


def test_the_wheel_holds_every_file_that_the_package_reads(wheel: set[str]) -> None:
    profiles = {f"worker/{name}" for name in sources("worker", "*.yaml")}
    assert {f"worker/providers/profiles/{name}.yaml" for name in SHIPPED} <= profiles
    every = {f"worker/{name}" for name in sources("worker", "*") if "__pycache__" not in name}
    assert {name for name in every if (ROOT / name).is_file()} <= wheel


def test_profiles_and_migrations_are_read_from_the_wheel_alone(built: Path, tmp_path: Path) -> None:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)  # noqa: S202 - it was built here a moment ago
    told = subprocess.run(
        [sys.executable, "-P", "-c", READ_FROM_THE_WHEEL, tmp_path, f"sqlite:///{tmp_path / 'tenure.db'}"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert told.stdout.split() == ["wheel", *SHIPPED, "migrated"]


def test_the_wheel_puts_nothing_beside_the_package(wheel: set[str]) -> None:
    assert {name.split("/")[0].split("-")[0] for name in wheel} == {"worker", "tenure"}


def test_the_source_archive_can_build_and_test_itself_and_holds_no_local_file(sdist: set[str]) -> None:
    assert {"pyproject.toml", "Makefile", "LICENSE", "requirements.lock", "tests/conftest.py"} <= sdist
    assert [name for name in sdist if name.startswith((".venv", ".tenure")) or "__pycache__" in name] == []
    assert not sdist & {"uv.lock", "pylock.toml"}
