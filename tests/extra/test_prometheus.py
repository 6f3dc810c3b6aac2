"""A real Prometheus takes the rules, scrapes a running service and answers all that the dashboard asks."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.servers.plugin import Eventually

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus"

pytestmark = pytest.mark.skipif(
    not (shutil.which("promtool") and shutil.which("prometheus")), reason="prometheus is absent"
)


def test_promtool_accepts_the_rules_and_their_tests() -> None:
    for command in (["check", "rules", "rules.yaml"], ["test", "rules", "rules.test.yaml"]):
        done = subprocess.run(["promtool", *command], cwd=RULES, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def service(tmp_path: Path, eventually: Eventually) -> Iterator[str]:
    """The address of `tenure up`, with the shipped policies."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    environment |= {
        "TENURE_DATA_DIR": str(tmp_path / "data"),
        "TENURE_LISTEN": "127.0.0.1:0",
        "TENURE_TICK_SECONDS": "1",
        "TENURE_POLICIES": str(ROOT / "policies"),
    }
    out = tmp_path / "up.log"
    with out.open("wb") as file:
        running = subprocess.Popen(
            [sys.executable, "-m", "worker", "up", "--sandbox"], env=environment, stdout=file, stderr=file
        )

    def listening() -> str:
        assert running.poll() is None, out.read_text()
        lines = [one for one in out.read_text().splitlines() if one.startswith("Tenure listens on")]
        return lines[0].rpartition("/")[2] if lines else ""

    try:
        yield eventually(listening, within=60)
    finally:
        running.terminate()
        running.wait(60)


@pytest.fixture
def prometheus(tmp_path: Path, service: str) -> Iterator[str]:
    """The address of a Prometheus that scrapes the service each second."""
    shutil.copy(RULES / "rules.yaml", tmp_path / "rules.yaml")
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        "rule_files: [rules.yaml]\n"
        "scrape_configs:\n"
        f"  - {{job_name: tenure, static_configs: [{{targets: ['{service}']}}]}}\n"
    )
    # It takes no port 0; whoever takes this one in between makes it end, and the test fails plainly.
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (tmp_path / "prometheus.log").open("wb") as log:
        running = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'metrics'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield f"http://{address}"
    finally:
        running.terminate()
        running.wait(30)


def ask(prometheus: str, expression: str) -> list[object]:
    try:
        answer = httpx2.get(
            f"{prometheus}/api/v1/query", params={"query": expression}, trust_env=False, timeout=10
        )
    except httpx2.TransportError:
        return []
    if answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE:
        return []  # it is starting
    assert answer.json()["status"] == "success", (expression, answer.text)
    found: list[object] = answer.json()["data"]["result"]
    return found


@pytest.mark.timeout(180)
def test_a_scraped_service_answers_every_question_of_the_dashboard(
    prometheus: str, eventually: Eventually
) -> None:
    # Beat has ticked, and a checkpoint and its anchor are there.
    awaited = "tenure_beat_last_tick_timestamp_seconds", "tenure_anchor_lag_seconds"
    eventually(lambda: all(ask(prometheus, gauge) for gauge in awaited), within=90)
    loaded = json.loads((ROOT / "deploy" / "grafana" / "tenure.json").read_text())
    asked = [target["expr"] for panel in loaded["panels"] for target in panel["targets"]]
    gauges = [one for one in asked if one.startswith(("max(", "time() - max("))]
    assert len(gauges) > 12
    for expression in asked:
        found = ask(prometheus, expression)
        assert found or expression not in gauges, expression
