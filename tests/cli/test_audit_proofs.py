"""`tenure audit prove`, the check of its file, and `tenure audit rotate-key`, as a person meets them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ran import Run
from worker.audit.tlog_proof import parse_tlog_proof

_WINDOW = ("--project", "demo-support", "--from", "2020-01-01", "--to", "2100-01-01")


@pytest.fixture
def keys(tenure: Run, register: Callable[..., Any], folder: Path) -> Path:
    """The keys.txt of an export."""
    register("conv_1")
    tenure("audit", "export", *_WINDOW, "--out", "e.zip")
    (folder / "keys.txt").write_bytes(zipfile.ZipFile(folder / "e.zip").read("keys.txt"))
    return folder / "keys.txt"


@pytest.fixture
def proof(tenure: Run, keys: Path, folder: Path) -> Path:
    """The proof of the entry that registered the thread."""
    made = tenure("audit", "prove", "1", "--out", "1.tlog-proof", "-o", "json").json
    file = folder / "1.tlog-proof"
    assert (made["index"], made["proof"]) == (1, file.read_text(encoding="utf-8"))
    assert tenure("audit", "prove", "1").out == made["proof"]
    return file


def test_a_proof_verifies_offline_with_the_keys_of_an_export(proof: Path, keys: Path, offline: Run) -> None:
    told = offline("audit", "verify", str(proof), "--keys", str(keys), "-o", "json").json
    assert (told["verified"], told["index"], told["origin"]) == (True, 1, "tenure.local/retention")
    assert '"type":"thread.registered"' in told["envelope"]
    assert "--keys" in offline("audit", "verify", str(proof), code=2).err


def test_a_proof_is_read_whatever_git_made_of_its_lines(proof: Path, keys: Path, offline: Run) -> None:
    as_written = proof.read_bytes()
    for travelled in (as_written.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + as_written):
        proof.write_bytes(travelled)
        assert offline("audit", "verify", str(proof), "--keys", str(keys), "-o", "json").json["verified"]


def test_an_entry_is_proved_by_the_id_in_its_envelope(tenure: Run, keys: Path) -> None:
    by_index = parse_tlog_proof(tenure("audit", "prove", "1").out)
    assert by_index.envelope is not None
    named = by_index.envelope.partition(b'"id":"')[2][:32].decode()
    assert parse_tlog_proof(tenure("audit", "prove", named).out) == by_index


def test_a_spoiled_proof_is_exit_6(proof: Path, keys: Path, offline: Run) -> None:
    good = proof.read_text(encoding="utf-8")
    for bad in (good.replace("index 1", "index 0"), good[:-9], good.replace("@v1\n", "@v1\n\n"), good[:22]):
        proof.write_text(bad, encoding="utf-8")
        told = offline("audit", "verify", str(proof), "--keys", str(keys), code=6)
        assert "NOT VERIFIED: 1.tlog-proof" in told.err


def test_what_is_no_entry_is_refused(tenure: Run, keys: Path) -> None:
    assert "neither" in tenure("audit", "prove", "conv_1", code=1).err
    assert "no entry 999" in tenure("audit", "prove", "999", code=1).err
    assert "folder" in tenure("audit", "prove", "1", "--out", "nowhere/x", code=2).err


def test_a_rotated_key_signs_beside_the_old_one_and_both_stand_in_the_next_export(
    tenure: Run, keys: Path, folder: Path
) -> None:
    old = keys.read_text(encoding="utf-8").strip()
    done = tenure("audit", "rotate-key", "--reason", "yearly", "-o", "json").json
    assert done["previous"] == old
    assert done["vkey"] != old
    seeds = folder / "data" / "signing.key"
    assert len(set(seeds.read_text(encoding="ascii").split())) == 2
    assert seeds.stat().st_mode & 0o777 == 0o600
    note = tenure("audit", "seal", "-o", "json").json["note"]
    assert note.count("\u2014 tenure.local/retention ") == 2
    tenure("audit", "export", *_WINDOW, "--out", "later.zip")
    brought = zipfile.ZipFile(folder / "later.zip").read("keys.txt").decode().splitlines()
    assert brought == [old, f"{done['vkey']} {done['since']}"]
    keys.write_text("\n".join(brought), encoding="utf-8")
    for name in ("e.zip", "later.zip"):
        assert "Verified" in tenure("audit", "verify", name, "--keys", "keys.txt").err
    (entry,) = tenure("audit", "list", "--type", "key.rotated", "-o", "json").json
    assert entry["body"]["vkey"] == done["vkey"]
    again = tenure("audit", "rotate-key", "--reason", "again", code=1)
    assert "under way" in again.err


def test_a_seed_that_was_added_to_the_file_by_hand_is_the_next_key(
    tenure: Run, keys: Path, folder: Path
) -> None:
    file = folder / "data" / "signing.key"
    with file.open("a", encoding="ascii") as opened:
        opened.write("ab" * 32 + "\n")
    before = file.read_text(encoding="ascii")
    done = tenure("audit", "rotate-key", "--reason", "by hand", "-o", "json").json
    assert file.read_text(encoding="ascii") == before
    assert done["vkey"] in tenure("audit", "list", "--type", "key.rotated", "-o", "jsonl").out
