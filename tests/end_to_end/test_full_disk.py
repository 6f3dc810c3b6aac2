"""A disk that is full or read-only: place and repair are named, nothing is lost, with room it goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.servers.plugin import Eventually

PROJECT = """
apiVersion: retention/v1
kind: Project
metadata: {name: demo, owner: tests}
spec:
  provider: openai
  base_url: http://127.0.0.1:9/v1
  api_key: {env: TENURE_KEY_TEST}
"""


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A file system of four MiB."""

    folder: Path

    def fill(self) -> None:
        """Leave no room at all."""
        with (self.folder / "filler").open("ab", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 65536):
                pass
        assert shutil.disk_usage(self.folder).free == 0

    def make_room(self) -> None:
        """Give the room back."""
        (self.folder / "filler").unlink()

    def mount(self, how: str) -> None:
        """Mount it again, `ro` or `rw`."""
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a small file system")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def environment(tmp_path: Path, disk: SmallDisk) -> dict[str, str]:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "project.yaml").write_text(PROJECT)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TENURE_", "OTEL_"))}
    return kept | {
        "TENURE_DATA_DIR": str(disk.folder / "data"),
        "TENURE_POLICIES": str(policies),
        "TENURE_LISTEN": "127.0.0.1:0",
        "TENURE_TICK_SECONDS": "1",
        "TENURE_LOG_FORMAT": "json",
        "TENURE_KEY_TEST": "key-of-the-test",
        "NO_COLOR": "1",
    }


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tenure(environment: dict[str, str]) -> Run:
    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "worker", *arguments],
            env=environment | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def _register(tenure: Run, number: int) -> subprocess.CompletedProcess[str]:
    return tenure("register", f"resp_{number}", "--project", "demo", "--owner", "team", "-o", "json")


def _problems(tenure: Run) -> dict[str, dict[str, Any]]:
    told = tenure("doctor", "-o", "json")
    assert told.returncode == 1, told.stderr
    return {one["check"]: one for one in json.loads(told.stdout) if one["status"] == "problem"}


def test_a_command_on_a_full_disk_names_the_place_and_goes_on_with_room(tenure: Run, disk: SmallDisk) -> None:
    assert _register(tenure, 1).returncode == 0
    disk.fill()
    refused = _register(tenure, 2)
    assert refused.returncode == 5, refused.stderr
    assert "Traceback" not in refused.stderr
    assert str(disk.folder) in refused.stderr
    assert "full" in refused.stderr
    assert "Make room" in refused.stderr
    found = _problems(tenure)
    assert "Make room" in found["disk"]["repair"]
    assert str(disk.folder) in found["disk"]["what"]
    disk.make_room()
    assert _register(tenure, 2).returncode == 0
    listed = tenure("threads", "list", "-o", "json")
    assert sorted(one["external_id"] for one in json.loads(listed.stdout)) == ["resp_1", "resp_2"]
    verified = tenure("audit", "list", "-o", "json")
    assert [one["type"] for one in json.loads(verified.stdout)].count("thread.registered") == 2


def test_a_read_only_data_folder_is_named_with_its_repair(tenure: Run, disk: SmallDisk) -> None:
    assert _register(tenure, 1).returncode == 0
    disk.mount("ro")
    for arguments in (
        ("register", "resp_2", "--project", "demo", "--owner", "team"),
        ("up",),
        ("pause", "--reason", "x"),
    ):
        refused = tenure(*arguments)
        assert refused.returncode == 5, refused.stderr
        assert "Traceback" not in refused.stderr
        assert str(disk.folder / "data") in refused.stderr
        assert "TENURE_DATA_DIR" in refused.stderr
    assert str(disk.folder / "data") in _problems(tenure)["data folder"]["what"]
    disk.mount("rw")
    assert _register(tenure, 2).returncode == 0


def test_an_export_and_an_anchor_without_room_are_named_and_leave_nothing_behind(
    tenure: Run, disk: SmallDisk, tmp_path: Path
) -> None:
    elsewhere = {"TENURE_DATA_DIR": str(tmp_path / "data")}
    made = tenure("register", "resp_1", "--project", "demo", "--owner", "team", **elsewhere)
    assert made.returncode == 0, made.stderr
    disk.fill()
    out = disk.folder / "evidence.zip"
    window = ("--project", "demo", "--from", "2026-01-01", "--to", "2100-01-01", "--out", str(out))
    refused = tenure("audit", "export", *window, **elsewhere)
    assert (refused.returncode, "Traceback" in refused.stderr) == (1, False), refused.stderr
    assert f"{out}" in refused.stderr
    assert "Make room" in refused.stderr
    assert [path.name for path in disk.folder.iterdir()] == ["filler"]
    anchors = {"TENURE_ANCHOR_FOLDER": str(disk.folder / "anchors")}
    sealed = tenure("audit", "seal", **elsewhere, **anchors)
    (alert,) = [line for line in sealed.stderr.splitlines() if "anchor.failed" in line]
    assert str(disk.folder / "anchors") in json.loads(alert)["problem"]
    disk.make_room()
    assert tenure("audit", "export", *window, **elsewhere).returncode == 0
    assert tenure("audit", "verify", str(out)).returncode == 0


@pytest.mark.timeout(150)
def test_a_service_whose_disk_fills_up_refuses_and_goes_on_with_room_and_loses_nothing(
    environment: dict[str, str], disk: SmallDisk, tmp_path: Path, eventually: Eventually
) -> None:
    log = tmp_path / "up.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", "up"], env=environment, stdout=out, stderr=out
        )
    try:
        url = eventually(lambda: _url(log), within=60)
        key = (disk.folder / "data" / "admin.key").read_text().strip()
        with httpx2.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False
        ) as client:
            answered = [_post(client, 0)]
            disk.fill()
            refused = [_post(client, number) for number in range(1, 400)]
            full = [one for one in refused if one.status_code == 503]
            assert {one.status_code for one in refused} <= {201, 503}
            assert "disk is full" in full[-1].json()["detail"]
            assert str(disk.folder) not in full[-1].text
            answered += [one for one in refused if one.status_code == 201]
            eventually(lambda: "house.failed" in log.read_text(), within=30)
            disk.make_room()
            assert _post(client, 400).status_code == 201
            for one in answered:
                assert client.get(f"/v1/threads/{one.json()['id']}").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def _url(log: Path) -> str:
    lines = [line for line in log.read_text().splitlines() if line.startswith("Tenure listens on")]
    return lines[0].split()[-1] if lines else ""


def _post(client: httpx2.Client, number: int) -> httpx2.Response:
    body = {"external_id": f"resp_{number}", "project": "demo", "owner": "team"}
    return client.post("/v1/threads", json=body, timeout=60)
