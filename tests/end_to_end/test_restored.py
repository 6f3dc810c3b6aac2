"""The one-process service on a database that was restored: it serves, and signs nothing before an epoch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.end_to_end.test_embedded import _environment, _up
from tests.servers.plugin import Eventually
from worker.anchors.folder import FolderAnchor


def _tenure(folder: Path, *arguments: str, code: int = 0) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "worker", *arguments, "-o", "json"],
        env=_environment(folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def _anchored(folder: Path) -> dict[str, int]:
    marks = FolderAnchor(folder / "data" / "anchors").newest()
    return {one.checkpoint.origin: one.checkpoint.size for one in marks}


@pytest.mark.timeout(240)
def test_up_serves_a_restored_database_and_signs_it_only_after_an_epoch(
    tmp_path: Path, eventually: Eventually
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup.db"
    with _up(tmp_path):
        eventually(lambda: _anchored(tmp_path), within=30)
    # The service is gone, so that the file alone is the whole database once its log is folded in.
    _tenure(tmp_path, "audit", "seal")
    shutil.copyfile(data / "tenure.db", backup)
    _tenure(tmp_path, "keys", "create", "--label", "lost", "--scope", "audit:read")
    lost = _tenure(tmp_path, "audit", "seal")["size"]
    for left in data.glob("tenure.db*"):
        left.unlink()
    shutil.copyfile(backup, data / "tenure.db")
    with _up(tmp_path) as (_, url):
        bearer = {"Authorization": f"Bearer {(data / 'admin.key').read_text().strip()}"}
        answer = httpx2.get(f"{url}/v1/threads", headers=bearer, timeout=30, trust_env=False)
        assert answer.status_code == 200
        eventually(lambda: "log.refused" in (tmp_path / "up.log").read_text(), within=30)
        assert "log_behind" in (tmp_path / "up.log").read_text()
        assert "behind its anchor" in _tenure(tmp_path, "audit", "seal", code=4)
        assert _anchored(tmp_path) == {"tenure.local/retention": lost}
        made = _tenure(tmp_path, "audit", "epoch", "--reason", "restored")
        assert made["anchored"]["size"] == lost
        assert _anchored(tmp_path)["tenure.local/retention/2"] == made["entry"] + 1
        rows = {one["check"]: one["status"] for one in _tenure(tmp_path, "doctor")}
        assert (rows["anchors"], rows["log"]) == ("ok", "ok")
