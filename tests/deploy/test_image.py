"""The image's recipe and the script that makes secrets. Nothing is built here."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest

from worker.settings import load_settings


@pytest.fixture(scope="module")
def recipe(root: Path) -> list[str]:
    joined = (root / "deploy" / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def test_the_base_can_be_chosen(recipe: list[str]) -> None:
    assert recipe[0] == "ARG BASE=python:3.12-slim"
    assert [line.split()[1] for line in recipe if line.startswith("FROM ")] == ["${BASE}", "${BASE}"]


def test_packages_come_from_the_lock_by_hash_and_the_recipe_names_no_index(recipe: list[str]) -> None:
    installs = [line for line in recipe if "pip install" in line]
    assert "--require-hashes -r requirements-otel.lock" in installs[0]
    assert "--no-index" in installs[1]
    assert not re.search(r"https?://|index-url", " ".join(recipe))


def test_the_image_runs_as_a_plain_user_with_tenure_as_its_command(recipe: list[str]) -> None:
    assert "USER 10001:10001" in recipe
    assert 'ENTRYPOINT ["tenure"]' in recipe
    after = recipe[recipe.index("USER 10001:10001") :]
    assert not [line for line in after if line.startswith(("RUN", "COPY", "ADD"))]


def test_what_the_recipe_copies_exists_and_is_let_through(recipe: list[str], root: Path) -> None:
    let_through = {
        line.removeprefix("!")
        for line in (root / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for line in recipe
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }
    assert copied == let_through
    assert [name for name in copied if not (root / name).exists()] == []


def test_no_secret_stands_in_the_recipe(recipe: list[str]) -> None:
    assert not [line for line in recipe if re.search(r"(?i)(api_key|password|secret|token)", line)]


@pytest.fixture
def secrets(root: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    subprocess.run(["sh", root / "deploy" / "make-secrets.sh", folder], check=True, capture_output=True)
    return folder


def test_the_script_makes_every_secret_that_compose_mounts(
    secrets: Path, compose: dict[str, dict[str, dict[str, str]]]
) -> None:
    wanted = {Path(one["file"]).name for one in compose["secrets"].values()}
    assert {path.name for path in secrets.iterdir()} == wanted
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700


def test_the_settings_files_that_it_makes_are_read(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logins = {
        "migrate.yaml": ("tenure", "database_password"),
        "tenure.yaml": ("tenure_service", "service_password"),
    }
    for name, (login, file) in logins.items():
        monkeypatch.setenv("TENURE_CONFIG", str(secrets / name))
        password = (secrets / file).read_text()
        assert load_settings().database == f"postgresql+psycopg://{login}:{password}@postgres:5432/tenure"
    assert (secrets / "service_password").read_text() != (secrets / "database_password").read_text()


def test_the_signing_key_that_it_makes_is_a_seed_of_32_bytes(secrets: Path) -> None:
    assert len(bytes.fromhex((secrets / "signing_key").read_text())) == 32


def test_running_it_again_replaces_nothing(secrets: Path, root: Path) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    subprocess.run(["sh", root / "deploy" / "make-secrets.sh", secrets], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before
