"""The objects for Kubernetes are valid by its own schemas, and agree with the code and with each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from worker.settings import Settings
from worker.telemetry.asked import asked_for

Objects = dict[tuple[str, str], dict[str, Any]]
ROLES = ("api", "worker", "beat")
# The oldest that the chart allows, and the newest whose schemas are at hand.
VERSIONS = ("1.29", "1.37")


@pytest.fixture(scope="module")
def objects(root: Path) -> Objects:
    read = YAML(typ="safe", pure=True)
    text = (root / "deploy" / "kubernetes" / "base" / "tenure.yaml").read_text()
    return {(one["kind"], one["metadata"]["name"]): one for one in read.load_all(text)}


def pod(objects: Objects, role: str) -> dict[str, Any]:
    kind = "Job" if role == "migrate" else "Deployment"
    found: dict[str, Any] = objects[kind, f"tenure-{role}"]["spec"]["template"]
    return found


def own(objects: Objects, role: str) -> dict[str, Any]:
    (found,) = pod(objects, role)["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def environment(objects: Objects, role: str) -> dict[str, str]:
    return {one["name"]: one["value"] for one in own(objects, role)["env"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid_and_has_no_unknown_field(objects: Objects, version: str) -> None:
    for one in objects.values():
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("role", [*ROLES, "migrate"])
def test_a_role_runs_tenures_command_with_settings_that_exist(objects: Objects, role: str) -> None:
    assert own(objects, role)["args"] == (["db", "upgrade"] if role == "migrate" else [role])
    known = {f"TENURE_{field.upper()}" for field in Settings.model_fields}
    assert {name for name in environment(objects, role) if name != "TMPDIR"} <= known


@pytest.mark.parametrize("role", [*ROLES, "migrate"])
def test_a_pod_has_no_rights_and_a_file_system_that_is_read_only(objects: Objects, role: str) -> None:
    spec = pod(objects, role)["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsUser"] == 10001
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}


def secrets(objects: Objects, role: str) -> set[str]:
    volumes = pod(objects, role)["spec"]["volumes"]
    return {one["secret"]["secretName"] for one in volumes if "secret" in one}


def test_the_commands_that_make_secrets_name_those_that_pods_mount(objects: Objects, root: Path) -> None:
    text = (root / "deploy" / "README.md").read_text()
    made = dict(re.findall(r"^kubectl create secret generic (\S+) (.*)$", text, re.MULTILINE))
    assert set(made) == {one for role in (*ROLES, "migrate") for one in secrets(objects, role)}
    # A literal would stand in the shell's history.
    assert "--from-literal" not in text
    settings = {"tenure-config": "tenure.yaml", "tenure-migrate": "tenure.yaml=migrate.yaml"}
    for name, file in {**settings, "tenure-signing-key": "signing_key"}.items():
        assert made[name] == f"--namespace tenure --from-file={file}"
        key = file.partition("=")[0]
        mounted = [value for role in (*ROLES, "migrate") for value in environment(objects, role).values()]
        assert any(value.startswith("/run/secrets/") and value.endswith(f"/{key}") for value in mounted)


def test_a_role_has_the_secrets_that_it_needs_and_no_other(objects: Objects) -> None:
    assert secrets(objects, "migrate") == {"tenure-migrate"}
    assert secrets(objects, "worker") == {"tenure-config", "tenure-provider-keys"}
    for role in ("api", "beat"):
        assert secrets(objects, role) == {"tenure-config", "tenure-signing-key"}
    for role in (*ROLES, "migrate"):
        for one in pod(objects, role)["spec"]["volumes"]:
            # Its group may read it, and nobody else.
            assert one.get("secret", {}).get("defaultMode", 0o440) == 0o440


@pytest.mark.parametrize("role", [*ROLES, "migrate"])
def test_every_file_that_a_variable_names_is_mounted(objects: Objects, role: str) -> None:
    mounts = {one["mountPath"]: one["name"] for one in own(objects, role)["volumeMounts"]}
    volumes = {one["name"] for one in pod(objects, role)["spec"]["volumes"]}
    assert set(mounts.values()) <= volumes
    for value in environment(objects, role).values():
        if value.startswith("/"):
            assert any(value == path or value.startswith(path + "/") for path in mounts), value


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_two_pods_a_budget_and_time_to_end(objects: Objects, role: str) -> None:
    deployment = objects["Deployment", f"tenure-{role}"]["spec"]
    assert deployment["replicas"] == 2
    assert deployment["template"]["spec"]["terminationGracePeriodSeconds"] >= 40
    budget = objects["PodDisruptionBudget", f"tenure-{role}"]["spec"]
    assert budget == {"maxUnavailable": 1, "selector": deployment["selector"]}
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("role", ROLES)
def test_every_role_is_asked_for_its_health_at_a_port_that_it_opens(objects: Objects, role: str) -> None:
    container = own(objects, role)
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] == "/healthz"
        assert container[probe]["httpGet"]["port"] in ports
    variables = environment(objects, role)
    listens = variables["TENURE_LISTEN" if role == "api" else "TENURE_METRICS_LISTEN"]
    assert int(listens.rpartition(":")[2]) in ports.values()


def test_the_service_leads_to_the_api(objects: Objects) -> None:
    service = objects["Service", "tenure"]["spec"]
    labels = pod(objects, "api")["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert service["ports"][0]["targetPort"] in {one["name"] for one in own(objects, "api")["ports"]}


def test_policies_come_from_git_and_a_dirty_or_foreign_commit_is_refused(objects: Objects) -> None:
    variables = environment(objects, "beat")
    assert variables["TENURE_POLICIES_CLEAN"] == "1"
    (sync,) = pod(objects, "beat")["spec"]["initContainers"]
    # Beside beat, not before it.
    assert sync["restartPolicy"] == "Always"
    root = next(one.partition("=")[2] for one in sync["args"] if one.startswith("--root="))
    link = next(one.partition("=")[2] for one in sync["args"] if one.startswith("--link="))
    assert variables["TENURE_POLICIES"].startswith(f"{root}/{link}/")
    # Whether a commit descends from the last one takes the history.
    assert "--depth=0" in sync["args"]


def test_nothing_comes_in_but_requests_and_scrapes_and_only_workers_and_git_go_out(objects: Objects) -> None:
    policies = [one["spec"] for (kind, _), one in objects.items() if kind == "NetworkPolicy"]
    everybody = next(one for one in policies if one["policyTypes"] == ["Ingress", "Egress"])
    assert {"app.kubernetes.io/component"}.isdisjoint(everybody["podSelector"]["matchLabels"])
    for policy in policies:
        for rule in policy.get("ingress", []):
            assert rule["from"]
            assert rule["ports"]
    outside = [one for one in policies if any(port == {"port": 443} for port in _ports(one))]
    assert [one["podSelector"]["matchExpressions"][0]["values"] for one in outside] == [["worker", "beat"]]


def _ports(policy: dict[str, Any]) -> list[dict[str, Any]]:
    return [port for rule in policy.get("egress", []) for port in rule["ports"]]


def test_traces_are_off_and_nothing_goes_to_a_collector(objects: Objects) -> None:
    for role in (*ROLES, "migrate"):
        assert not [name for name in environment(objects, role) if name.startswith("OTEL_")]
    assert ("NetworkPolicy", "tenure-traces") not in objects
    everywhere = [one["spec"] for (kind, _), one in objects.items() if kind == "NetworkPolicy"]
    assert {port["port"] for one in everywhere for port in _ports(one)} == {22, 53, 443, 5432, 6379}


@pytest.fixture
def traces(root: Path) -> Path:
    return root / "deploy" / "kubernetes" / "traces"


def test_the_component_switches_traces_on_where_spans_are_made_and_lets_only_them_out(
    objects: Objects, traces: Path
) -> None:
    read = YAML(typ="safe", pure=True)
    component = read.load(traces / "kustomization.yaml")
    (patch,) = component["patches"]
    (step,) = read.load(patch["patch"])
    asked = {step["value"]["name"]: step["value"]["value"]}
    assert asked_for(asked) is not None
    assert patch["target"] == {"kind": "Deployment", "name": "tenure-(api|worker)"}
    (resource,) = component["resources"]
    policy = read.load(traces / resource)
    for version in VERSIONS:
        kubernetes_validate.validate(policy, version, strict=True)
    chosen = policy["spec"]["podSelector"]
    assert chosen["matchExpressions"][0]["values"] == ["api", "worker"]
    for role in ("api", "worker"):
        assert chosen["matchLabels"].items() <= pod(objects, role)["metadata"]["labels"].items()
    (rule,) = policy["spec"]["egress"]
    # Without a peer the rule would let everything out.
    assert [list(one["podSelector"]["matchLabels"]) for one in rule["to"]] == [["app.kubernetes.io/name"]]
    assert [str(one["port"]) for one in rule["ports"]] == [step["value"]["value"].rpartition(":")[2]]
