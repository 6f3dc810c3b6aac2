"""`docker-compose.yml` agrees with itself and with the code. No container is started here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from worker.policy.match import glob_matches
from worker.settings import Settings
from worker.store.rails import APP

Services = dict[str, dict[str, Any]]

# Commands of `tenure` that a container may run in production.
ROLES = (["api"], ["worker"], ["beat"], ["db", "upgrade"])
OPEN_CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> Services:
    found: Services = compose["services"]
    return found


@pytest.fixture(scope="module")
def ours(services: Services) -> Services:
    return {name: one for name, one in services.items() if one["image"].startswith("tenure")}


def needs(service: dict[str, Any]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = service.get("depends_on", {})
    return found


def test_every_dependency_names_a_service_and_a_condition_that_it_can_meet(services: Services) -> None:
    for name, service in services.items():
        for other, how in needs(service).items():
            assert other in services, f"{name} depends on {other}"
            assert how["condition"] in OPEN_CONDITIONS
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for the health of {other}"


def test_every_container_of_ours_runs_a_role_of_tenure(ours: Services) -> None:
    assert [name for name, one in ours.items() if one["command"] not in ROLES] == []
    assert {"api", "worker", "beat", "migrate"} == set(ours)


def test_there_are_two_workers_and_two_beats(ours: Services) -> None:
    assert ours["worker"]["deploy"]["replicas"] == 2
    assert ours["beat"]["deploy"]["replicas"] == 2


def test_nothing_starts_before_the_database_has_its_schema(ours: Services) -> None:
    assert needs(ours["migrate"])["postgres"]["condition"] == "service_healthy"
    for name in ("api", "worker", "beat"):
        assert needs(ours[name])["migrate"]["condition"] == "service_completed_successfully"
        assert needs(ours[name])["redis"]["condition"] == "service_healthy"


def test_every_variable_of_tenure_is_a_setting(services: Services) -> None:
    known = {f"TENURE_{field.upper()}" for field in Settings.model_fields}
    used = {
        name for one in services.values() for name in one.get("environment", {}) if name.startswith("TENURE_")
    }
    assert used <= known
    assert used


def test_no_variable_holds_a_secret(services: Services) -> None:
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            path = name.endswith(("_FILE", "_CONFIG"))
            assert path == str(value).startswith("/run/secrets/"), f"{name} should name a file"
            assert "@" not in str(value), f"{name} looks like an address with a password"


def test_every_secret_is_declared_as_a_file_outside_of_the_repository(
    compose: dict[str, Any], services: Services, root: Path
) -> None:
    used = {secret for one in services.values() for secret in one.get("secrets", [])}
    assert used == set(compose["secrets"])
    assert ".tenure/" in (root / ".gitignore").read_text()
    for one in compose["secrets"].values():
        assert one["file"].startswith("./.tenure/secrets/")


def test_a_file_that_a_variable_names_is_mounted_into_that_container(services: Services) -> None:
    for name, service in services.items():
        named = {
            str(value).removeprefix("/run/secrets/")
            for value in service.get("environment", {}).values()
            if str(value).startswith("/run/secrets/")
        }
        assert named <= set(service.get("secrets", [])), name


def test_only_the_worker_holds_the_providers_key_and_it_may_be_named_by_a_project(ours: Services) -> None:
    assert [name for name, one in ours.items() if "provider_key" in one.get("secrets", [])] == ["worker"]
    allowed = Settings.model_fields["provider_keys"].default
    assert any(glob_matches(pattern, "/run/secrets/provider_key") for pattern in allowed)


def test_api_and_beat_share_the_signing_key_and_nobody_else_has_it(ours: Services) -> None:
    having = {name for name, one in ours.items() if "signing_key" in one.get("secrets", [])}
    assert having == {"api", "beat"}
    files = {ours[name]["environment"]["TENURE_SIGNING_KEY_FILE"] for name in having}
    assert files == {"/run/secrets/signing_key"}


def test_policies_are_mounted_read_only_where_beat_looks_for_them(ours: Services) -> None:
    mounts = [volume for one in ours.values() for volume in one.get("volumes", []) if "policies" in volume]
    assert mounts
    assert all(volume.endswith(":ro") for volume in mounts)
    folder = ours["beat"]["environment"]["TENURE_POLICIES"]
    assert f"./policies:{folder}:ro" in ours["beat"]["volumes"]


def test_every_role_that_goes_on_is_asked_for_its_health(ours: Services) -> None:
    asked = {name: " ".join(one["healthcheck"]["test"]) for name, one in ours.items() if name != "migrate"}
    assert set(asked) == {"api", "worker", "beat"}
    port = ours["worker"]["environment"]["TENURE_METRICS_LISTEN"].rpartition(":")[2]
    for name in ("worker", "beat"):
        assert f":{port}/healthz" in asked[name]


def test_the_only_open_port_is_the_api_on_loopback(services: Services) -> None:
    published = {name: one["ports"] for name, one in services.items() if "ports" in one}
    seen_by_profile = {
        name: ports
        for name, ports in published.items()
        if services[name].get("profiles") == ["observability"]
    }
    assert seen_by_profile == {"prometheus": ["127.0.0.1:9090:9090"], "grafana": ["127.0.0.1:3000:3000"]}
    assert published == {"api": ["127.0.0.1:8400:8400"], **seen_by_profile}
    assert services["api"]["environment"]["TENURE_LISTEN"] == "0.0.0.0:8400"
    assert not [name for name, one in services.items() if "network_mode" in one]


def test_database_and_redis_have_no_way_out(compose: dict[str, Any], services: Services) -> None:
    assert compose["networks"]["stores"]["internal"] is True
    for name in ("postgres", "redis", "beat", "migrate"):
        assert services[name]["networks"] == ["stores"]


def test_every_network_and_named_volume_is_declared(compose: dict[str, Any], services: Services) -> None:
    for service in services.values():
        assert set(service["networks"]) <= set(compose["networks"])
        named = {volume.split(":")[0] for volume in service.get("volumes", [])}
        assert {one for one in named if not one.startswith("./")} <= set(compose["volumes"])


def test_containers_of_ours_may_write_only_where_tenure_does(ours: Services) -> None:
    for one in ours.values():
        assert one["read_only"] is True
        assert one["cap_drop"] == ["ALL"]
        writable = [path.split(":")[0] for path in one["tmpfs"]]
        writable += [volume.split(":")[1] for volume in one.get("volumes", []) if not volume.endswith(":ro")]
        anchors = [
            one["environment"][name] for name in ("TENURE_ANCHOR_FOLDER",) if name in one["environment"]
        ]
        assert sorted(writable) == ["/tmp", "/var/lib/tenure", *anchors]  # noqa: S108 - where it writes


def test_whoever_signs_finds_the_same_anchors_and_they_outlive_the_container(
    ours: Services, recipe: str
) -> None:
    signing = {name for name, one in ours.items() if "signing_key" in one.get("secrets", [])}
    assert signing == {name for name, one in ours.items() if "TENURE_ANCHOR_FOLDER" in one["environment"]}
    folders = {ours[name]["environment"]["TENURE_ANCHOR_FOLDER"] for name in signing}
    assert len(folders) == 1
    for name in signing:
        assert f"anchors:{min(folders)}" in ours[name]["volumes"]
    # A new volume takes its owner from the image.
    assert f"-o 10001 -g 10001 -m 0700 /var/lib/tenure {min(folders)}" in recipe


def test_only_the_migration_owns_the_tables(services: Services, ours: Services, root: Path) -> None:
    files = {name: one["environment"]["TENURE_CONFIG"] for name, one in ours.items()}
    assert files.pop("migrate") == "/run/secrets/migrate_config"
    assert set(files.values()) == {"/run/secrets/tenure_config"}
    assert "migrate_config" not in {secret for name in files for secret in ours[name]["secrets"]}
    script = "./deploy/database-roles.sh:/docker-entrypoint-initdb.d/database-roles.sh:ro"
    assert script in services["postgres"]["volumes"]
    text = (root / "deploy" / "database-roles.sh").read_text()
    assert f"CREATE ROLE {APP} NOLOGIN" in text
    assert f"IN ROLE {APP};" in text


@pytest.fixture
def recipe(root: Path) -> str:
    return (root / "deploy" / "Dockerfile").read_text()


def test_the_first_admin_key_outlives_the_apis_container(ours: Services) -> None:
    assert "api-data:/var/lib/tenure" in ours["api"]["volumes"]


def test_redis_evicts_nothing_and_keeps_nothing(services: Services) -> None:
    command = " ".join(services["redis"]["command"])
    assert "--maxmemory-policy noeviction" in command
    assert "--appendonly no" in command


def test_traces_are_off_until_a_file_that_git_ignores_asks_for_them(ours: Services) -> None:
    files = {name: one["env_file"] for name, one in ours.items() if "env_file" in one}
    # The roles that make spans; the others would send none.
    assert set(files) == {"api", "worker"}
    for name, named in files.items():
        assert named == [{"path": "./.tenure/traces.env", "required": False}]
        assert "outside" in ours[name]["networks"]
    for one in ours.values():
        assert not [name for name in one["environment"] if name.startswith("OTEL_")]
