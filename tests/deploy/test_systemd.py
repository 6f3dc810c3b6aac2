"""The units agree with the code, and give each role no more than it needs."""

from __future__ import annotations

from configparser import RawConfigParser
from pathlib import Path

import pytest

from worker.policy.match import glob_matches
from worker.settings import Settings

ROLES = ("api", "worker", "beat")


class Repeating(dict[str, str]):
    """Keys that stand several times are kept, one after the other."""

    def __setitem__(self, key: str, value: str | list[str]) -> None:
        if isinstance(value, list) and key in self:
            value = [*self[key], *value]
        super().__setitem__(key, value)  # type: ignore[assignment]  # configparser joins lists at its end


def read(path: Path) -> RawConfigParser:
    found = RawConfigParser(dict_type=Repeating, strict=False)
    found.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names keep their case
    found.read(path)
    return found


@pytest.fixture(scope="module")
def units(root: Path) -> dict[str, list[RawConfigParser]]:
    folder = root / "deploy" / "systemd"
    made = {"migrate": [read(folder / "tenure-migrate.service")]}
    for role in ROLES:
        more = sorted((folder / f"tenure@{role}.service.d").glob("*.conf"))
        made[role] = [read(folder / "tenure@.service"), *map(read, more)]
    return made


def values(unit: list[RawConfigParser], name: str) -> list[str]:
    return [word for one in unit for word in one.get("Service", name, fallback="").replace("\n", " ").split()]


def test_every_variable_is_a_setting(units: dict[str, list[RawConfigParser]]) -> None:
    known = {f"TENURE_{field.upper()}" for field in Settings.model_fields}
    for unit in units.values():
        used = {one.partition("=")[0] for one in values(unit, "Environment")}
        assert used <= known
        assert "TENURE_CONFIG" in used


def test_who_signs_has_the_signing_key_and_workers_alone_have_the_providers(
    units: dict[str, list[RawConfigParser]],
) -> None:
    having = {
        role: {one.partition(":")[0] for one in values(unit, "LoadCredential")}
        for role, unit in units.items()
    }
    assert having == {
        "migrate": {"tenure.yaml"},
        "api": {"tenure.yaml", "signing_key"},
        "beat": {"tenure.yaml", "signing_key"},
        "worker": {"tenure.yaml", "provider_key"},
    }


def test_the_providers_key_may_be_named_by_a_project(units: dict[str, list[RawConfigParser]]) -> None:
    (allowed,) = [
        one.partition("=")[2]
        for one in values(units["worker"], "Environment")
        if one.startswith("TENURE_PROVIDER_KEYS=")
    ]
    assert glob_matches(allowed, "/run/credentials/tenure@worker.service/provider_key")


@pytest.mark.parametrize("role", [*ROLES, "migrate"])
def test_a_unit_has_no_rights_and_writes_to_its_own_folders_only(
    units: dict[str, list[RawConfigParser]], role: str
) -> None:
    unit = units[role]
    assert values(unit, "User") == ["tenure"]
    assert values(unit, "ProtectSystem") == ["strict"]
    assert values(unit, "NoNewPrivileges") == ["yes"]
    assert values(unit, "CapabilityBoundingSet") == []
    assert set(values(unit, "StateDirectory")) <= {"tenure", "tenure-anchors"}


def test_a_role_that_ends_is_started_anew_and_has_time_to_end(
    units: dict[str, list[RawConfigParser]],
) -> None:
    for role in ROLES:
        assert values(units[role], "Restart") == ["always"]
        assert int(values(units[role], "TimeoutStopSec")[0]) >= 40


def test_traces_are_asked_for_by_a_file_that_need_not_be_there_where_spans_are_made(
    units: dict[str, list[RawConfigParser]],
) -> None:
    files = {role: values(unit, "EnvironmentFile") for role, unit in units.items()}
    asked = ["-/etc/tenure/traces.env"]
    assert files == {"api": asked, "worker": asked, "beat": [], "migrate": []}
