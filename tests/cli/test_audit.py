from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ran import Run
from worker.audit.findings import Report
from worker.cli.audit_verify import show_report
from worker.cli.output import Format

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
    for args in (
        ("--type", "thread.registered"),
        ("--thread", thread["id"]),
        ("--after", "0", "--limit", "1"),
    ):
        assert [one["index"] for one in tenure("audit", "list", *args, "-o", "json").json] == [1]
    # Each look is an entry too.
    read = tenure("audit", "list", "--type", "access.read", "-o", "json").json
    assert [one["body"]["rows"] for one in read] == [2, 1, 1, 1]


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


def test_a_pipe_is_no_export_and_is_not_waited_for(offline: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is no file" in offline("audit", "verify", str(tmp_path / "pipe"), code=2).err


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
    # A bundle that was given as keys, or as a checkpoint, is not read whole.
    with keys.open("wb") as sparse:
        sparse.truncate(10**12)
    for option in ("--keys", "--anchor"):
        assert "larger than" in offline("audit", "verify", str(bundle), option, str(keys), code=2).err


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


def test_the_report_is_for_people_and_names_the_first_bad_entry(bundle: Path, offline: Run) -> None:
    import gzip
    import zipfile

    done = offline("audit", "verify", str(bundle))
    assert "VERIFIED" in done.out
    assert "came with the bundle: not authenticated" in done.out
    with zipfile.ZipFile(bundle) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    lines = gzip.decompress(members["envelopes.jsonl.gz"]).splitlines()
    lines[1] = lines[1].replace(b"thread.registered", b"thread.withdrawn")
    members["envelopes.jsonl.gz"] = gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0)
    with zipfile.ZipFile(bundle, "w") as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    done = offline("audit", "verify", str(bundle), code=6)
    assert "NOT VERIFIED" in done.out
    assert "first bad entry 1" in done.out
    assert offline("audit", "verify", str(bundle), "-o", "json", code=6).json["first_bad_entry"] == 1


@pytest.mark.parametrize("other", ["kept", "KEPT"])
def test_two_anchors_of_one_name_are_refused_and_named(other: str, offline: Run, tmp_path: Path) -> None:
    for folder, name in (("a", "kept"), ("b", other)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("x\n")
    paths = [str(tmp_path / "a" / "kept"), str(tmp_path / "b" / other)]
    period = ["--from", "2026-11-01", "--to", "2026-12-01", "--out", str(tmp_path / "out.zip")]
    given = [part for path in paths for part in ("--anchor", path)]
    done = offline("audit", "export", "--project", "support-eu", *period, *given, code=2)
    told = " ".join(done.err.split())
    assert "have one name" in told
    assert not (tmp_path / "out.zip").exists()


def test_a_bundle_is_compared_with_a_checkpoint_that_was_kept(
    bundle: Path, offline: Run, tmp_path: Path
) -> None:
    import zipfile

    kept = tmp_path / "kept"
    with zipfile.ZipFile(bundle) as archive:
        kept.write_bytes(archive.read("checkpoint"))
    assert offline("audit", "verify", str(bundle), "--anchor", str(kept), "-o", "json").json["verified"]
    kept.write_text("no checkpoint\n")
    offline("audit", "verify", str(bundle), "--anchor", str(kept), code=6)


def test_an_owners_answer_needs_no_period_and_goes_with_nothing_else(
    tenure: Run, register: Callable[..., Any], folder: Path
) -> None:
    thread = register("conv_1")
    args = ("audit", "export", "--project", "demo-support", "--out", "o.zip")
    made = tenure(*args, "--owner", thread["owner"], "-o", "json").json
    assert (made["scope"], made["of"], made["entries"]) == ("owner", thread["owner"], 1)
    told = tenure("audit", "verify", str(folder / "o.zip"), "-o", "json").json
    assert (told["verified"], told["scope"], told["bodies"]) == (True, "owner", 1)
    assert "no others" in " ".join(told["notes"])
    for more in (("--erasure", "era_1"), ("--begin-at", "1"), ("--with-policies",)):
        assert "not with each other" in tenure(*args, "--owner", "team", *more, code=2).err
    assert "--from and --to" in tenure(*args, code=2).err
    assert "No erasure" in tenure(*args, "--erasure", "era_1", code=1).err


@pytest.mark.parametrize(("verified", "said"), [(True, "which the log records"), (False, "are not here")])
def test_only_a_report_without_a_defect_says_that_the_log_records_what_is_gone(
    capsys: pytest.CaptureFixture[str], verified: bool, said: str
) -> None:
    show_report(Report(verified=verified, key_authenticated=True, bodies_gone=3), Format.TABLE)
    assert (
        f"gone      3 bodies {'were shredded or pruned, ' if verified else ''}{said}\n"
        in capsys.readouterr().out
    )
