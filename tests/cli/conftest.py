"""A data folder of one's own, and the command line run inside this process."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvicorn
from typer.testing import CliRunner

from tests.cli.ran import Ran, Run

REPOSITORY = Path(__file__).resolve().parents[2]
# Port 9 (discard): nothing listens there, so that no command reaches a provider by accident.
PROJECTS = "\n---\n".join(
    f"""apiVersion: retention/v1
kind: Project
metadata: {{name: {name}, owner: tests}}
spec:
  provider: openai
  base_url: http://127.0.0.1:9/v1
  provider_project: {name}
  api_key: {{env: TENURE_KEY_SANDBOX}}"""
    for name in ("demo-support", "demo-finance")
)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Commands set logging up for their own stderr, which is gone after them."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give this test policies, two projects and an empty data folder."""
    policies = tmp_path / "policies"
    policies.mkdir()
    for name in ("retention.yaml", "retention.test.yaml"):
        (policies / name).write_text((REPOSITORY / "policies" / name).read_text())
    (policies / "projects.yaml").write_text(PROJECTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TENURE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TENURE_KEY_SANDBOX", "sandbox")
    return tmp_path


@pytest.fixture
def tenure(folder: Path) -> Run:
    """Run the command line here, and check how it ends."""
    del folder
    return _run


@pytest.fixture
def run_tenure() -> Run:
    """Run the command line in whichever folder and surroundings the test gives it."""
    return _run


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run commands that need neither settings nor data; these settings could not be read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TENURE_TICK_SECONDS", "never")
    return _run


def _run(*args: str, code: int = 0) -> Ran:
    from worker.cli.main import app

    result = CliRunner().invoke(app, list(args), catch_exceptions=False, prog_name="tenure")
    assert result.exit_code == code, (args, result.exit_code, result.stdout, result.stderr)
    return Ran(code=result.exit_code, out=result.stdout, err=result.stderr)


@pytest.fixture
def register(tenure: Run) -> Callable[..., dict[str, Any]]:
    def run(external_id: str, owner: str = "me", *more: str) -> dict[str, Any]:
        found: dict[str, Any] = tenure(
            *("register", external_id, "--project", "demo-support", "--owner", owner, *more, "-o", "json")
        ).json
        return found

    return run


@pytest.fixture
def service(tenure: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the same data folder over HTTP, and point TENURE_URL and TENURE_API_KEY at it."""
    from worker.cli.local import local
    from worker.flows.key import ADMIN_SCOPES
    from worker.http.app import create_app
    from worker.http.services import Services

    scopes = [part for scope in ADMIN_SCOPES for part in ("--scope", scope)]
    key = tenure("keys", "create", "--label", "tests", *scopes, "-o", "json").json["key"]
    with local() as wired:
        services = Services(
            database=wired.database,
            clock=wired.clock,
            lease=wired.lease,
            sealer=wired.sealer,
            wake=lambda _credential: None,
            source=wired.source,
        )
        with _served(create_app(services)) as url:
            monkeypatch.setenv("TENURE_URL", url)
            monkeypatch.setenv("TENURE_API_KEY", key)
            yield url


@contextmanager
def _served(app: Any) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    # The kernel queues connections already, so nobody has to wait for the server to be ready.
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
    assert not thread.is_alive()
