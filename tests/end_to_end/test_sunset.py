"""The walk of docs/sandbox.md with real processes: a retired endpoint certifies nothing and explains why."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

_POLICIES = """
apiVersion: retention/v1
kind: Project
metadata: {name: tour, owner: me}
spec:
  provider: openai
  base_url: BASE_URL
  api_key: {env: TENURE_KEY_SANDBOX}
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: tour-30d, owner: me}
spec:
  mode: enforce
  match: {projects: [tour]}
  delete: {after: 30d}
  guards: {max_deletes: 100, max_percent: 100, min_population: 0, window: 24h}
"""


def _command(*args: str) -> list[str]:
    return [sys.executable, "-m", "worker", *args]


@contextmanager
def _running(begins: str, *args: str, env: dict[str, str], errors: Path) -> Iterator[str]:
    """Run a command that stays, and yield the last word of the line that begins so."""
    with errors.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(_command(*args), env=env, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        try:
            line = next((one for one in process.stdout if one.startswith(begins)), "")
            assert line, errors.read_text()
            yield line.split()[-1]
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


class Tour:
    """The two processes, and commands in the same folder."""

    def __init__(self, env: dict[str, str], sandbox: str, service: str, folder: Path) -> None:
        self._env = env
        self._service = service
        self.sandbox = sandbox.removesuffix("/v1")
        self.folder = folder

    def run(self, *args: str, code: int = 0) -> str:
        """Run one command to its end; returns what it printed."""
        done = subprocess.run(
            _command(*args), env=self._env, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def api(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call the service as a product would."""
        key = (self.folder / "data" / "admin.key").read_text().strip()
        bearer = {"Authorization": f"Bearer {key}"}
        url = f"{self._service}{path}"
        answer = httpx2.request(method, url, json=body, headers=bearer, timeout=60, trust_env=False)
        assert answer.is_success, answer.text
        return answer.json()

    def register(self, external_id: str, created_at: str) -> None:
        """Register one thread of the project."""
        about = {"project": "tour", "owner": "team-support", "created_at": created_at}
        self.api("POST", "/v1/threads", {"external_id": external_id, **about})

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call one of the sandbox's own addresses."""
        method = "POST" if body is not None else "GET"
        return httpx2.request(method, f"{self.sandbox}{path}", json=body, trust_env=False).json()


@pytest.fixture
def tour(tmp_path: Path) -> Iterator[Tour]:
    policies = tmp_path / "policies"
    policies.mkdir()
    ambient = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    env = {
        **ambient,
        "TENURE_DATA_DIR": str(tmp_path / "data"),
        "TENURE_POLICIES": str(policies),
        "TENURE_LISTEN": "127.0.0.1:0",
        "TENURE_TICK_SECONDS": "1",
        "TENURE_LOG_FORMAT": "json",
        "TENURE_KEY_SANDBOX": "sandbox",
        "PYTHONUNBUFFERED": "1",
    }
    with ExitStack() as running:
        options = ("sandbox", "--port", "0", "--latency-ms", "0", "--fault", "endpoint-retired")
        base_url = running.enter_context(
            _running("http://", *options, env=env, errors=tmp_path / "sandbox.log")
        )
        (policies / "tour.yaml").write_text(_POLICIES.replace("BASE_URL", base_url))
        service = running.enter_context(_running("Tenure listens", "up", env=env, errors=tmp_path / "up.log"))
        yield Tour(env, base_url, service, tmp_path)


@pytest.mark.timeout(180)
def test_a_retired_endpoint_certifies_nothing_parks_everything_and_explains_why(tour: Tour) -> None:
    ids = tour.ask("/sandbox/seed", {"kind": "thread", "count": 3, "created_at": 1789000000})["ids"]
    for one in ids:
        tour.register(one, "2026-09-10T00:26:40Z")

    sweep = tour.run("sweep", "--policy", "tour-30d", "--yes", "--wait", "-o", "json", code=1)
    (told,) = json.loads(sweep)["sweeps"]
    assert (told["planned"], told["parked"], told["grades"]) == (3, 3, {"unverifiable": 3})
    requests = tour.ask("/sandbox/requests")["data"]
    assert {one["method"] for one in requests} == {"GET"}
    assert tour.ask("/sandbox/state")["live"]["thread"] == 3

    explained = str(tour.api("GET", f"/v1/threads/{ids[0]}/explanation")["lines"])
    assert "unverifiable/endpoint_retired" in explained
    assert "nothing is certified" in explained

    sent = tour.run("failures", "list", "--each", "--reason", "endpoint_retired", "-o", "csv")
    lines = list(csv.DictReader(sent.splitlines()))
    assert {one["external_id"] for one in lines} == set(ids)
    for one in lines:
        assert one["reason"] == "unverifiable/endpoint_retired"
        assert one["created_at"] == "2026-09-10T00:26:40Z"
        assert one["last_seen_at"] == ""
        assert one["looked_at"]
        assert one["request_id"] in {seen["request_id"] for seen in requests}

    out = tour.folder / "evidence.zip"
    window = ("--from", "2026-11-01", "--to", "2100-01-01")
    tour.run("audit", "export", "--project", "tour", *window, "--out", str(out))
    verified = json.loads(tour.run("audit", "verify", str(out), "-o", "json"))
    assert verified["verified"] is True
    assert verified["grades"] == {"unverifiable": 3}
