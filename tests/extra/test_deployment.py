"""What others' tools say of the chart, the image's recipe, compose and the units: `tests/deploy` has none."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "tenure"
COLLECTOR = "http://otel-collector.observability:4318"
REPO = {"policies": {"gitSync": {"repo": "https://git.example.com/retention.git"}}}


def has(*modules: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in modules)


def program(name: str) -> str:
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent)) or ""


with_helm = pytest.mark.skipif(not has("helm_python"), reason="Helm's library is for Linux only")


@pytest.fixture(scope="module")
def render() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render", DEPLOY / "kubernetes" / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@with_helm
def test_helm_finds_nothing_to_say_of_the_chart(render: ModuleType) -> None:
    from helm_python import lint

    # 1 is a hint, such as that an icon is recommended.
    assert [one for one in lint(CHART, values=REPO)["messages"] if one["severity"] > 1] == []


@with_helm
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"autoscaling": {"enabled": True}, "metrics": {"monitor": True, "rules": True}},
        {"networkPolicy": {"enabled": False}, "anchors": {"existingClaim": "kept"}},
        {"image": {"digest": "sha256:" + "0" * 64}, "imagePullSecrets": [{"name": "registry"}]},
        {"policies": {"gitSync": {"repo": "git@git.example.com:retention.git", "sshSecret": "git"}}},
        {
            "traces": {
                "endpoint": COLLECTOR,
                "variables": {"OTEL_BSP_MAX_QUEUE_SIZE": 4096},
                "headersSecret": "otlp",
            }
        },
    ],
    ids=["defaults", "with every operator", "without", "by digest", "by ssh", "with traces"],
)
def test_what_the_chart_makes_is_valid(render: ModuleType, values: dict[str, Any]) -> None:
    made = render.documents(render.render({**REPO, **values}))
    # Objects of operators have no schema here.
    core = [one for one in made if not one["apiVersion"].startswith(("keda.sh", "monitoring.coreos.com"))]
    assert len(core) >= 8
    for one in core:
        kubernetes_validate.validate(one, "1.37", strict=True)
    deployed = {one["kind"] for one in made} - {one["kind"] for one in core}
    wanted = {"ScaledObject", "TriggerAuthentication", "PodMonitor", "ServiceMonitor", "PrometheusRule"}
    assert deployed == (wanted if "autoscaling" in values else set())


@with_helm
@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"policies": {"gitSync": {"repo": ""}}}, "name the repository that holds your policies"),
        ({"worker": {"replicas": "many"}}, "replicas"),
        ({"wroker": {"replicas": 3}}, "wroker"),
        ({"settings": {"DATABASE_URL": "postgresql://tenure:secret@db/tenure"}}, "DATABASE_URL"),
        ({"traces": {"variables": {"OTEL_EXPORTER_OTLP_HEADERS": "x-key=secret"}}}, "HEADERS"),
        ({"traces": {"endpoint": "http://me:secret@collector:4318"}}, "endpoint"),
        ({"traces": {"endpoint": COLLECTOR, "to": []}}, "minItems"),
    ],
    ids=[
        "no repository",
        "a word for a number",
        "a misspelt name",
        "a password in a values file",
        "a header of the collector in a values file",
        "a password in the collector's address",
        "a collector that is everywhere",
    ],
)
def test_a_wrong_value_stops_the_installation_and_is_named(
    render: ModuleType, values: dict[str, Any], told: str
) -> None:
    from helm_python import HelmError

    with pytest.raises(HelmError, match=told):
        render.render({**REPO, **values})


def sent_to(made: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the variables of OpenTelemetry by Deployment, and the rules that let their pods go anywhere."""
    found: dict[str, Any] = {}
    for one in made:
        if one["kind"] == "Deployment":
            variables = one["spec"]["template"]["spec"]["containers"][0]["env"]
            found[one["metadata"]["name"]] = [v for v in variables if v["name"].startswith("OTEL_")]
        if one["kind"] == "NetworkPolicy" and one["metadata"]["name"].endswith("-traces"):
            found["policy"] = one["spec"]
    return found


@with_helm
def test_the_chart_switches_traces_on_where_an_endpoint_is_named_and_lets_them_reach_it_alone(
    render: ModuleType,
) -> None:
    told = {"variables": {"OTEL_TRACES_SAMPLER": "always_on"}, "headersSecret": "otlp"}
    off = sent_to(render.documents(render.render({**REPO, "traces": told})))
    assert off == {"tenure-api": [], "tenure-worker": [], "tenure-beat": []}

    peer = {"ipBlock": {"cidr": "192.0.2.10/32"}}
    values = {**REPO, "traces": {**told, "endpoint": COLLECTOR, "to": [peer], "port": 4319}}
    on = sent_to(render.documents(render.render(values)))
    variables = [
        {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": COLLECTOR},
        {"name": "OTEL_TRACES_SAMPLER", "value": "always_on"},
        {
            "name": "OTEL_EXPORTER_OTLP_HEADERS",
            "valueFrom": {"secretKeyRef": {"name": "otlp", "key": "headers"}},
        },
    ]
    policy = on.pop("policy")
    assert on == {"tenure-api": variables, "tenure-worker": variables, "tenure-beat": []}
    assert policy["egress"] == [{"to": [peer], "ports": [{"port": 4319}]}]
    assert policy["podSelector"]["matchExpressions"][0]["values"] == ["api", "worker"]

    open_network = render.render({**values, "networkPolicy": {"enabled": False}})
    assert "policy" not in sent_to(render.documents(open_network))


@with_helm
@pytest.mark.skipif(not program("kubectl"), reason="kubectl is absent")
def test_the_component_for_kustomize_does_what_the_chart_does(render: ModuleType, tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "kubernetes", tmp_path / "kubernetes")
    overlay = tmp_path / "overlay" / "kustomization.yaml"
    overlay.parent.mkdir()
    overlay.write_text("resources: [../kubernetes/base]\ncomponents: [../kubernetes/traces]\n")
    command = [program("kubectl"), "kustomize", str(overlay.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    made = list(YAML(typ="safe", pure=True).load_all(done.stdout))
    wanted = render.documents(render.render({**REPO, "traces": {"endpoint": COLLECTOR}}))
    assert sent_to(made) == sent_to(wanted)


@with_helm
def test_the_base_for_kustomize_is_what_the_chart_makes(render: ModuleType) -> None:
    assert render.BASE.read_text() == render.base_text(), "run `make manifests`"


@pytest.mark.skipif(not program("kubectl"), reason="kubectl is absent")
def test_kustomize_builds_the_base_and_the_example() -> None:
    for folder, image in (("base", "tenure:0.1.0"), ("example", "registry.example.com/tenure:0.1.0")):
        command = [program("kubectl"), "kustomize", str(DEPLOY / "kubernetes" / folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        made = list(YAML(typ="safe", pure=True).load_all(done.stdout))
        workers = next(one for one in made if one["metadata"]["name"] == "tenure-worker")
        assert workers["spec"]["template"]["spec"]["containers"][0]["image"] == image
        for one in made:
            kubernetes_validate.validate(one, "1.37", strict=True)


@pytest.mark.skipif(not has("compose_spec"), reason="compose-spec is absent")
def test_compose_files_have_no_key_that_the_format_does_not_know() -> None:
    from compose_spec import PyCompose

    # It reads no merge keys, so they are resolved first.
    yaml, text = YAML(typ="safe", pure=True), StringIO()
    yaml.dump(yaml.load(ROOT / "docker-compose.yml"), text)
    PyCompose.from_yaml(text.getvalue())


@pytest.mark.skipif(not program("hadolint"), reason="hadolint is absent")
def test_hadolint_finds_nothing_to_say_of_the_recipe() -> None:
    done = subprocess.run(
        [program("hadolint"), str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    assert done.returncode == 0


@pytest.mark.skipif(not program("systemd-analyze"), reason="systemd-analyze is absent")
def test_systemd_knows_every_line_of_the_units() -> None:
    units = sorted((DEPLOY / "systemd").glob("*.service"))
    done = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", *map(str, units)],
        capture_output=True,
        text=True,
        check=False,
    )
    # The command itself is installed on the target machine.
    assert [one for one in done.stderr.splitlines() if "is not executable" not in one] == []
