"""`tenure doctor` on what stands beside Tenure: a repair for each finding."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import NamedTuple

import pytest

from worker.cli.check import Check, Status
from worker.cli.machine_checks import machine_checks
from worker.settings import load_settings


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def looked(folder: Path, **settings: str) -> dict[str, Check]:
    folder.mkdir(exist_ok=True)
    return {one.check: one for one in machine_checks(load_settings(data_dir=folder, **settings))}


def test_one_process_needs_no_redis(tmp_path: Path) -> None:
    found = looked(tmp_path / "data")
    assert found["redis"].status is Status.INFO
    assert found["trust store"].status is Status.OK


def test_a_redis_that_answers_is_told_once_for_both_uses(tmp_path: Path, redis_url: str) -> None:
    found = looked(tmp_path / "data", broker_url=redis_url)
    assert found["redis"].status is Status.OK
    assert "broker and pacer" in found["redis"].what
    assert "broker" not in found


def test_a_redis_that_is_gone_is_a_problem_with_a_repair_and_no_password(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    found = looked(tmp_path / "data", broker_url=f"redis://:pa55word@127.0.0.1:{port}/0")
    assert found["redis"].is_problem
    assert "Start it" in found["redis"].repair
    assert "pa55word" not in found["redis"].what + found["redis"].repair


@pytest.mark.parametrize(
    ("free", "status"),
    [(10 * 1024**3, Status.OK), (500 * 1024**2, Status.WARNING), (1024**2, Status.PROBLEM)],
)
def test_a_disk_that_fills_up_is_told_before_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: Status
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free * 2, free, free))
    found = looked(tmp_path / "data")["disk"]
    assert found.status is status
    assert bool(found.repair) is (status is not Status.OK)
