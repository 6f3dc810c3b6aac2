"""Real processes: `tenure api`, `worker` and `beat` on PostgreSQL and Redis, against the sandbox."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.servers.plugin import Eventually
from tests.world.world import ORIGIN, POLICIES, PROJECT, project_document
from worker.model.clock import SystemClock, rfc3339
from worker.sandbox.control import make_sample
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.options import SandboxOptions
from worker.sandbox.server import SandboxServer
from worker.store import migrate
from worker.store.engine import Database, open_database

# What a person's shell may hold: none of it may change where a request goes or what it carries.
HOSTILE = {
    "OPENAI_API_KEY": "sk-ambient",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    "OPENAI_ORG_ID": "org-ambient",
    "OPENAI_PROJECT_ID": "proj_ambient",
    "OPENAI_CUSTOM_HEADERS": "Authorization: Bearer sk-ambient\nX-Ambient: yes",
    "HTTP_PROXY": "http://127.0.0.1:9",
}
PROVIDER_KEY = "key-of-the-test"
_CLOCK = SystemClock()


@dataclass(slots=True, kw_only=True)
class Fleet:
    """The processes of one deployment."""

    environment: dict[str, str]
    folder: Path
    database: Database
    sandbox: SandboxServer
    eventually: Eventually
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    url: str = ""

    def start(self, role: str) -> subprocess.Popen[bytes]:
        """Start one role in a process group of its own; its output goes to a file of the test."""
        log = self.folder / f"{role}-{len(self.running)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker", role],
                env=self.environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.running.append(process)
        if role in {"api", "up"}:
            self.url = self.eventually(lambda: self._listening(log, process), within=60)
        return process

    def _listening(self, log: Path, process: subprocess.Popen[bytes]) -> str:
        assert process.poll() is None, log.read_text()
        lines = [line for line in log.read_text().splitlines() if line.startswith("Tenure listens on")]
        return lines[0].split()[-1] if lines else ""

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, request_id: str = ""
    ) -> Any:
        """Call the API with the first admin key; anything but success fails the test."""
        key = (self.folder / "data" / "admin.key").read_text().strip()
        answer = httpx2.request(
            method,
            self.url + path,
            json=body,
            headers={"Authorization": f"Bearer {key}"} | ({"X-Request-ID": request_id} if request_id else {}),
            timeout=60,
            trust_env=False,
        )
        assert answer.is_success, f"{answer.status_code} {answer.text}"
        return answer.json()

    def register(
        self,
        kind: ObjectKind,
        *,
        days: int = 40,
        owner: str = "team",
        children: int = 0,
        request_id: str = "",
    ) -> str:
        """Make an object at the sandbox and register it; returns the thread's id."""
        created = _CLOCK.now() - timedelta(days=days)
        at = int(created.timestamp())
        body = {
            "external_id": make_sample(
                self.sandbox.store, kind, created_at=at, children=children, project="proj_test"
            ),
            "project": PROJECT,
            "owner": owner,
            "created_at": rfc3339(created.replace(microsecond=0)),
        }
        return str(self.call("POST", "/v1/threads", body, request_id=request_id)["id"])

    def state(self, thread_id: str) -> str:
        """Ask the API for a thread's state."""
        return str(self.call("GET", f"/v1/threads/{thread_id}")["state"])

    def grade(self, thread_id: str) -> str:
        """Ask the API for a thread's grade."""
        return str(self.call("GET", f"/v1/threads/{thread_id}")["evidence"]["grade"])

    def slow_down(self, rate: str) -> None:
        """Let the project's account send at this rate, and sweep only when told; before the first start.

        A sweep of the schedule that came between registrations would take a part, and the guard would hold
        the other part back.
        """
        policies = self.folder / "policies" / "policies.yaml"
        slow = policies.read_text().replace("limit: 1000/s, burst: 50", f"limit: {rate}, burst: 1")
        policies.write_text(slow.replace('cron: "* * * * *"', 'cron: "0 0 1 1 *"'))

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a role and its children without any warning."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop_one(self, process: subprocess.Popen[bytes], *, within: float) -> int | None:
        """Send SIGTERM; returns the exit code, None if it did not end within that many seconds."""
        process.terminate()
        try:
            return process.wait(within)
        except subprocess.TimeoutExpired:
            return None

    def logs(self) -> str:
        """Return everything that was printed, to be shown when a test fails."""
        return "\n".join(
            f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log"))
        )

    def stop(self) -> None:
        """End every process as an operator would; a test ends here in any case."""
        for process in self.running:
            if process.poll() is None:
                process.terminate()
        for process in self.running:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def sandbox_options() -> SandboxOptions:
    """How the sandbox behaves; a test file may override it."""
    return SandboxOptions()


@pytest.fixture
def fleet(  # noqa: PLR0917 - pytest gives fixtures by name
    tmp_path: Path,
    postgres_url: str,
    redis_url: str,
    redis_prefix: str,
    eventually: Eventually,
    sandbox_options: SandboxOptions,
) -> Iterator[Fleet]:
    """A migrated database, policies, a signing key and an environment; no process runs yet."""
    database = open_database(postgres_url)
    migrate.upgrade(database)
    policies = tmp_path / "policies"
    policies.mkdir()
    key = tmp_path / "signing.key"
    key.write_text("07" * 32)
    with SandboxServer(sandbox_options) as sandbox:
        project = project_document(sandbox.base_url, extra="provider_project: proj_test")
        (policies / "policies.yaml").write_text(POLICIES + project)
        ambient = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
        made = Fleet(
            environment={
                **ambient,
                **HOSTILE,
                "TENURE_DATA_DIR": str(tmp_path / "data"),
                "TENURE_DATABASE_URL": postgres_url,
                "TENURE_BROKER_URL": redis_url,
                "TENURE_REDIS_PREFIX": redis_prefix,
                "TENURE_POLICIES": str(policies),
                "TENURE_LISTEN": "127.0.0.1:0",
                "TENURE_METRICS_LISTEN": "127.0.0.1:0",
                "TENURE_TICK_SECONDS": "1",
                "TENURE_LEASE_SECONDS": "20",
                "TENURE_AUDIT_ORIGIN": ORIGIN,
                "TENURE_SIGNING_KEY_FILE": str(key),
                "TENURE_LOG_FORMAT": "json",
                "TENURE_KEY_TEST": PROVIDER_KEY,
            },
            folder=tmp_path,
            database=database,
            sandbox=sandbox,
            eventually=eventually,
        )
        try:
            yield made
        finally:
            made.stop()
            database.dispose()
