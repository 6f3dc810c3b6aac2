"""The embedded default: one process, SQLite, no broker."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def _environment(folder: Path) -> dict[str, str]:
    ambient = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    return {
        **ambient,
        "TENURE_DATA_DIR": str(folder / "data"),
        "TENURE_POLICIES": str(REPOSITORY / "policies"),
        "TENURE_LISTEN": "127.0.0.1:0",
        "TENURE_TICK_SECONDS": "1",
        "TENURE_LOG_FORMAT": "json",
    }


@contextmanager
def _up(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `tenure up` and yield it with its URL once it listens."""
    with (folder / "up.log").open("a+", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", "up", *options],
            env=_environment(folder),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        try:
            line = next((one for one in process.stdout if one.startswith("Tenure listens")), "")
            log.seek(0)
            assert line, log.read()
            yield process, line.split()[-1]
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.mark.timeout(120)
def test_up_makes_one_admin_key_that_only_its_owner_reads_and_ends_cleanly_twice(tmp_path: Path) -> None:
    for _ in range(2):
        with _up(tmp_path) as (process, url):
            key_file = tmp_path / "data" / "admin.key"
            key = key_file.read_text().strip()
            assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
            bearer = {"Authorization": f"Bearer {key}"}
            answer = httpx2.get(f"{url}/v1/threads", headers=bearer, timeout=30, trust_env=False)
            assert answer.json()["data"] == []
            assert httpx2.get(f"{url}/v1/threads", timeout=30, trust_env=False).status_code == 401
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


@pytest.mark.timeout(60)
def test_a_second_service_on_one_data_folder_is_refused(tmp_path: Path) -> None:
    with _up(tmp_path):
        second = subprocess.run(
            [sys.executable, "-m", "worker", "up"],
            env=_environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    assert second.returncode == 5
    assert "Another service works on the data folder" in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.timeout(240)
def test_the_demo_holds_every_expectation_and_leaves_a_verified_export(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worker", "demo", "-o", "json"],
        cwd=tmp_path,
        # Its service is its own, whatever commands speak to otherwise.
        env={
            **_environment(tmp_path),
            "PYTHONPATH": str(REPOSITORY),
            "TENURE_URL": "http://127.0.0.1:9",
            "TENURE_API_KEY": "tnr_none",
        },
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["held_deleted"] == 0
    assert told["audit"]["verified"] is True
    assert Path(told["export"]).is_file()
    assert {"confirmed", "inferred", "absent", "acknowledged", "unverifiable"} <= set(told["grades"])
    assert {"HELD", "RETAINED", "PENDING"} <= set(told["outcomes"])
    assert sum(told["grades"].values()) + sum(told["outcomes"].values()) == told["registered"]


@pytest.mark.parametrize("role", ["api", "worker", "beat"])
def test_a_role_of_production_refuses_sqlite_and_memory(tmp_path: Path, role: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worker", role],
        env=_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode != 0
    assert "TENURE_DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr
