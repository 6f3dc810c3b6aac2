"""`tenure audit epoch`, and what `tenure doctor` and the others say of a restored database."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ran import Run

_WINDOW = ("--project", "demo-support", "--from", "2020-01-01", "--to", "2100-01-01")


@pytest.fixture
def restored(tenure: Run, register: Callable[..., Any], folder: Path) -> int:
    """A data folder whose database is older than its anchor; returns the anchored size."""
    register("conv_1")
    tenure("audit", "seal")
    data = folder / "data"
    shutil.copyfile(data / "tenure.db", folder / "backup.db")
    register("conv_2")
    size = int(tenure("audit", "seal", "-o", "json").json["size"])
    for left in data.glob("tenure.db*"):
        left.unlink()
    shutil.copyfile(folder / "backup.db", data / "tenure.db")
    return size


def _anchors(tenure: Run, code: int = 0) -> dict[str, str]:
    [found] = [one for one in tenure("doctor", "-o", "json", code=code).json if one["check"] == "anchors"]
    return dict(found)


def test_a_restored_log_is_neither_sealed_nor_exported_and_the_doctor_says_why(
    tenure: Run, restored: int, folder: Path
) -> None:
    for command in (("audit", "seal"), ("audit", "export", *_WINDOW, "--out", "e.zip")):
        told = tenure(*command, code=4).err
        assert f"at size {restored}" in told
        assert "tenure audit epoch --reason" in told
    assert not (folder / "e.zip").exists()
    line = _anchors(tenure, code=1)
    assert line["status"] == "problem"
    assert "behind its anchor" in line["what"]
    rows = {one["check"]: one for one in tenure("doctor", "-o", "json", code=1).json}
    assert rows["anchor folder"]["status"] == "problem"
    assert f"holds size {restored}, and this database knows of" in rows["anchor folder"]["what"]
    # Looking goes on.
    assert len(tenure("threads", "list", "-o", "jsonl").lines) == 1


def test_a_sweep_that_waits_for_deletions_ends_with_the_reason(tenure: Run, restored: int) -> None:
    assert restored
    tenure("register", "conv_3", "--project", "demo-support", "--owner", "me")
    tenure("erase", "--id", "conv_3", "--reason", "asked")
    told = tenure("sweep", "--policy", "erasure", "--yes", "--wait", code=4)
    assert "its anchor" in told.err


def test_an_epoch_names_the_gap_and_everything_goes_on(tenure: Run, restored: int, folder: Path) -> None:
    made = tenure("audit", "epoch", "--reason", "disk failed, INC-42", "-o", "json")
    assert made.json["epoch"] == 2
    assert made.json["origin"] == "tenure.local/retention/2"
    assert made.json["anchored"]["size"] == restored
    assert made.json["note"].startswith("tenure.local/retention/2\n")
    [entry] = tenure("audit", "list", "--type", "log.epoch", "-o", "json").json
    assert entry["index"] == made.json["entry"]
    assert _anchors(tenure)["status"] == "ok"
    tenure("audit", "export", *_WINDOW, "--out", "e.zip")
    verified = tenure("audit", "verify", "e.zip")
    assert "opens the epoch tenure.local/retention/2 (disk failed, INC-42)" in verified.err
    assert (folder / "e.zip").exists()
    assert "agrees with every anchor" in tenure("audit", "epoch", "--reason", "again", code=1).err


def test_an_epoch_needs_a_reason_and_the_services_own_machine(
    tenure: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del folder
    assert "--reason" in tenure("audit", "epoch", code=2).err
    assert "--reason is empty" in tenure("audit", "epoch", "--reason", " ", code=2).err
    monkeypatch.setenv("TENURE_URL", "http://127.0.0.1:9")
    tenure("audit", "epoch", "--reason", "x", code=2)


def test_the_doctor_shows_the_lag_of_each_anchor(
    tenure: Run, register: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    register("conv_1")
    tenure("audit", "seal")
    rows = {one["check"]: one for one in tenure("doctor", "-o", "json").json}
    assert rows["anchor folder"]["what"].endswith("holds size 2; 1 entries and 0 s behind")
    # A clone that is none: told, and no other command is kept from its work by it.
    monkeypatch.setenv("TENURE_ANCHOR_GIT", str(folder))
    register("conv_2")
    tenure("audit", "seal")
    rows = {one["check"]: one for one in tenure("doctor", "-o", "json", code=1).json}
    assert rows["anchor folder"]["status"] == "ok"
    assert "not the top of a git clone" in rows["anchor git"]["what"]


def test_the_doctor_looks_into_the_anchor_and_not_only_at_what_the_database_knows_of_it(
    tenure: Run, register: Callable[..., Any], folder: Path
) -> None:
    register("conv_1")
    size = int(tenure("audit", "seal", "-o", "json").json["size"])
    named = "anchor folder"
    before = {one["check"]: one for one in tenure("doctor", "-o", "json").json}
    assert before[named]["status"] == "ok"
    shutil.rmtree(folder / "data" / "anchors")
    after = {one["check"]: one for one in tenure("doctor", "-o", "json", code=1).json}
    assert after[named]["status"] == "problem"
    assert f"held size {size} and holds nothing now" in after[named]["what"]
    tenure("audit", "seal")
    assert {one["check"]: one for one in tenure("doctor", "-o", "json").json}[named]["status"] == "ok"
