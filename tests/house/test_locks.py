"""The locks: every package by hash, from nowhere in particular, and one set inside the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = [
    "bootstrap.lock",
    "requirements.lock",
    "requirements-otel.lock",
    "requirements-test.lock",
    "requirements-extra.lock",
]
PIN = re.compile(r"^(?P<name>[a-z0-9.-]+)(?:\[[^\]]*\])?==(?P<rest>[^\\]+?)\s*\\$", re.MULTILINE)


def pins(lock: str) -> set[tuple[str, str]]:
    return {(match["name"], match["rest"]) for match in PIN.finditer((ROOT / lock).read_text())}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address(lock: str) -> None:
    assert "://" not in (ROOT / lock).read_text()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash(lock: str) -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())
    assert len(entries) == len(pins(lock))
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_bootstrap_lock_is_the_installer_alone() -> None:
    assert {name for name, _ in pins("bootstrap.lock")} == {"uv"}


def test_tests_run_on_the_versions_that_are_shipped() -> None:
    plain, traced, tested = (
        {(name, rest.split(";")[0].strip()) for name, rest in pins(lock)}
        for lock in ("requirements.lock", "requirements-otel.lock", "requirements-test.lock")
    )
    assert plain < traced <= tested
