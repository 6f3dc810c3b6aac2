from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ran import Run

_WINDOW = ("--project", "demo-support", "--from", "2020-01-01", "--to", "2100-01-01")


@pytest.fixture
def bundle(tenure: Run, register: Callable[..., Any], folder: Path) -> Path:
    register("conv_1")
    assert tenure("audit", "export", *_WINDOW, "--out", "e.zip", "-o", "json").json["entries"] == 1
    return folder / "e.zip"


def test_entries_are_listed_oldest_first_and_filtered(tenure: Run, register: Callable[..., Any]) -> None:
    thread = register("conv_1")
    entries = tenure("audit", "list", "-o", "jsonl").lines
    assert [one["type"] for one in entries] == ["bundle.activated", "thread.registered"]
    for args in (("--type", "thread.registered"), ("--thread", thread["id"]), ("--after", "0")):
        assert [one["index"] for one in tenure("audit", "list", *args, "-o", "json").json] == [1]


def test_a_seal_is_a_signed_note_over_the_whole_log(tenure: Run, register: Callable[..., Any]) -> None:
    register("conv_1")
    sealed = tenure("audit", "seal", "-o", "json").json
    assert sealed["size"] == 2
    assert sealed["note"].startswith("tenure.local/retention\n2\n")
    assert "\u2014 tenure.local/retention " in tenure("audit", "seal").out


def test_an_empty_log_cannot_be_sealed(tenure: Run) -> None:
    assert "empty" in tenure("audit", "seal", code=1).err


def test_an_export_verifies_without_settings_and_says_whose_key_it_was(bundle: Path, offline: Run) -> None:
    done = offline("audit", "verify", str(bundle), "-o", "json")
    assert done.json["verified"] is True
    assert done.json["key_authenticated"] is False
    assert "not authenticated" in done.err


def test_an_export_verifies_against_a_key_that_came_another_way(
    bundle: Path, offline: Run, tmp_path: Path
) -> None:
    import zipfile

    keys = tmp_path / "keys.txt"
    keys.write_bytes(zipfile.ZipFile(bundle).read("keys.txt"))
    assert offline("audit", "verify", str(bundle), "--keys", str(keys), "-o", "json").json[
        "key_authenticated"
    ]
    keys.write_text("somebody.else+00000000+AWm=\n")
    offline("audit", "verify", str(bundle), "--keys", str(keys), code=2)
    keys.write_text("# none\n")
    offline("audit", "verify", str(bundle), "--keys", str(keys), code=2)


def test_any_defect_is_exit_6_and_names_the_first(bundle: Path, offline: Run) -> None:
    damaged = bytearray(bundle.read_bytes())
    damaged[len(damaged) // 3] ^= 0xFF
    bundle.write_bytes(damaged)
    done = offline("audit", "verify", str(bundle), "-o", "json", code=6)
    assert done.json["verified"] is False
    assert "NOT VERIFIED: " in done.err
    bundle.write_bytes(b"no zip at all")
    assert "NOT VERIFIED: e.zip" in offline("audit", "verify", str(bundle), code=6).err


def test_a_missing_file_is_a_usage_error(offline: Run) -> None:
    offline("audit", "verify", "nowhere.zip", code=2)


def test_an_export_needs_a_window_and_a_folder(tenure: Run) -> None:
    args = ("audit", "export", "--project", "demo-support", "--from", "2026-11-02", "--to")
    assert "--from must lie before --to" in tenure(*args, "2026-11-02", "--out", "e.zip", code=2).err
    assert "RFC 3339" in tenure(*args, "later", "--out", "e.zip", code=2).err
    assert "folder" in tenure(*args, "2026-11-03", "--out", "nowhere/e.zip", code=2).err


def test_a_project_without_entries_has_no_export(tenure: Run, register: Callable[..., Any]) -> None:
    register("conv_1")
    args = ("audit", "export", "--project", "demo-finance", "--from", "2026-01-01", "--to", "2027-01-01")
    assert "no entries" in tenure(*args, "--out", "e.zip", code=1).err
