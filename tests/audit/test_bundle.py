from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from worker.audit.bundle import BundleRefused, Scope, write_bundle
from worker.audit.checkpoint import Checkpoint, sign_checkpoint
from worker.audit.envelope import Leaf
from worker.audit.merkle import root_of
from worker.audit.note import Ed25519Signer, NoteRefused
from worker.audit.verify import verify_bundle

GRADES = {
    "absent": 1,
    "acknowledged": 1,
    "confirmed": 1,
    "inferred": 1,
    "partial": 1,
    "sustained": 1,
    "unverifiable": 1,
}
START = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def bundle(tmp_path: Path, leaves: Sequence[Leaf], bundled: Callable[[Sequence[Leaf]], bytes]) -> Path:
    path = tmp_path / "evidence.zip"
    path.write_bytes(bundled(leaves))
    return path


def _member(bundle: Path, name: str) -> bytes:
    with zipfile.ZipFile(bundle) as archive:
        return archive.read(name)


def test_a_bundle_that_was_written_verifies(
    bundle: Path, signer: Ed25519Signer, leaves: Sequence[Leaf]
) -> None:
    told: list[tuple[int, int]] = []
    report = verify_bundle(
        bundle, keys=[signer.vkey], progress=lambda done, total: told.append((done, total))
    )
    assert report.problems == ()
    assert report.verified
    assert report.key_authenticated
    assert report.notes == ()
    assert (report.origin, report.size, report.entries) == (signer.name, len(leaves), len(leaves))
    assert report.root == root_of(one.hash for one in leaves).hex()
    assert report.grades == GRADES
    assert report.bodies == 34
    assert told[-1] == (len(leaves), len(leaves))
    assert json.loads(json.dumps(asdict(report)))["verified"] is True


def test_without_keys_it_says_that_the_key_is_not_authenticated(bundle: Path) -> None:
    report = verify_bundle(bundle)
    assert report.verified
    assert not report.key_authenticated
    assert "not authenticated" in report.notes[0]


def test_another_key_does_not_verify(bundle: Path) -> None:
    other = Ed25519Signer.from_seed("example.org/retention/test", b"\x08" * 32)
    report = verify_bundle(bundle, keys=[other.vkey])
    assert not report.verified
    assert {one.member for one in report.problems} >= {"manifest.dsse.json", "checkpoint"}


@pytest.mark.parametrize("keys", [[], ["nonsense"]])
def test_keys_that_are_none_verify_nothing(bundle: Path, keys: list[str]) -> None:
    assert not verify_bundle(bundle, keys=keys).verified


def test_the_same_log_gives_the_same_bytes(
    leaves: Sequence[Leaf], bundled: Callable[[Sequence[Leaf]], bytes]
) -> None:
    assert bundled(leaves) == bundled(leaves)


def test_the_members_are_the_public_contract(bundle: Path, leaves: Sequence[Leaf]) -> None:
    with zipfile.ZipFile(bundle) as archive:
        names = archive.namelist()
        dates = {one.date_time for one in archive.infolist()}
    assert names == sorted(names)
    assert set(names) - {name for name in names if name.startswith("policies/")} == {
        "README.txt",
        "bodies.jsonl.gz",
        "certificate.html",
        "checkpoint",
        "deletions.csv",
        "envelopes.jsonl.gz",
        "keys.txt",
        "manifest.dsse.json",
    }
    assert dates == {(1980, 1, 1, 0, 0, 0)}
    lines = gzip.decompress(_member(bundle, "envelopes.jsonl.gz")).split(b"\n")
    assert lines[:-1] == [one.envelope for one in leaves]
    own = [json.loads(line) for line in gzip.decompress(_member(bundle, "bodies.jsonl.gz")).splitlines()]
    assert all(leaves[one["i"]].body == one["body"].encode() for one in own)


def test_a_bundle_holds_no_body_of_another_project(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        for name in archive.namelist():
            raw = archive.read(name)
            plain = gzip.decompress(raw) if name.endswith(".gz") else raw
            assert b"research" not in plain
            assert b"conv_other" not in plain


def test_the_table_is_safe_and_has_a_row_for_each_grade(bundle: Path) -> None:
    table = list(csv.DictReader(io.StringIO(_member(bundle, "deletions.csv").decode(), newline="")))
    # One thread was confirmed first and sustained a day later.
    assert [row["grade"] for row in table].count("confirmed") == 2
    assert len(table) == 8
    assert table[0]["owner"].startswith("'=cmd")
    assert {row["may_be_called_deleted"] for row in table if row["grade"] == "absent"} == {"no"}


def test_the_certificate_begins_with_exceptions_and_claims_only_what_was_seen(bundle: Path) -> None:
    page = _member(bundle, "certificate.html").decode()
    assert page.index("Exceptions") < page.index("Threads by grade")
    assert "erased" not in page.lower()
    assert "<script" not in page
    assert "not retrievable through API X with credential Y at time T" in page
    assert "Items may remain up to 30 days." in page
    assert "unverifiable/<wbr>endpoint_retired" in page
    assert "https://api.openai.com/v1" in page
    assert "env:OPENAI_API_KEY" in page
    assert (
        "0 opening + 7 registered + 0 unregistered = 0 open + 3 deleted + 1 absent + 1 acknowledged" in page
    )
    assert "4 of 7 graded threads may not be called deleted." in page


def test_the_manifest_states_what_the_bodies_give(
    bundle: Path, signer: Ed25519Signer, pseudonym: str
) -> None:
    import base64

    sealed = json.loads(_member(bundle, "manifest.dsse.json"))
    statement = json.loads(base64.b64decode(sealed["payload"]))
    predicate = statement["predicate"]
    assert sealed["payloadType"] == "application/vnd.in-toto+json"
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert predicate["project_pseudonym"] == pseudonym
    assert predicate["grades"] == GRADES
    assert predicate["period"]["from"] == "2026-11-01T00:00:00.000000Z"
    assert predicate["log"]["origin"] == signer.name


def _write(leaves: Sequence[Leaf], signer: Ed25519Signer, pseudonym: str, **changes: Any) -> bytes:
    head = Checkpoint(origin=signer.name, size=len(leaves), root=root_of(one.hash for one in leaves))
    out = io.BytesIO()
    given: dict[str, Any] = {
        "scope": Scope(
            project="support-eu",
            pseudonym=pseudonym,
            window=(START, START + timedelta(days=2)),
            tool="tenure",
            made_at=START,
        ),
        "checkpoint_note": sign_checkpoint(head, signer),
        "vkeys": [signer.vkey],
        "signer": signer,
        "envelopes": [one.envelope for one in leaves],
        "bodies": [(n, one.body) for n, one in enumerate(leaves) if pseudonym.encode() in one.envelope],
        "policies": {},
    }
    write_bundle(out, **{**given, **changes})
    return out.getvalue()


def test_a_window_bounds_table_and_counts_but_not_the_proof(
    tmp_path: Path, leaves: Sequence[Leaf], signer: Ed25519Signer, pseudonym: str
) -> None:
    path = tmp_path / "two-days.zip"
    path.write_bytes(_write(leaves, signer, pseudonym))
    report = verify_bundle(path, keys=[signer.vkey])
    assert report.problems == ()
    assert report.grades == {"confirmed": 1, "inferred": 1}
    assert report.bodies == 34
    assert len(_member(path, "deletions.csv").splitlines()) == 3


def test_an_empty_log_gives_a_bundle_that_verifies(
    tmp_path: Path, signer: Ed25519Signer, pseudonym: str
) -> None:
    path = tmp_path / "empty.zip"
    path.write_bytes(_write([], signer, pseudonym))
    report = verify_bundle(path, keys=[signer.vkey])
    assert report.verified
    assert "No thread was graded" in _member(path, "certificate.html").decode()


def test_nothing_is_signed_for_a_log_that_does_not_fit(
    leaves: Sequence[Leaf], signer: Ed25519Signer, pseudonym: str
) -> None:
    own = [(n, one.body) for n, one in enumerate(leaves) if pseudonym.encode() in one.envelope]
    foreign = next(n for n, one in enumerate(leaves) if pseudonym.encode() not in one.envelope)
    broken: list[dict[str, Any]] = [
        {"envelopes": [one.envelope for one in leaves[:-1]], "bodies": own[:-1]},
        {"envelopes": [leaves[1].envelope, *(one.envelope for one in leaves[1:])]},
        {"bodies": own[::-1]},
        {"bodies": [*own, (len(leaves), b"{}")]},
        {"bodies": [(own[0][0], own[1][1])]},
        {"bodies": [(foreign, leaves[foreign].body)]},
        {"policies": {"sha256:" + "0" * 64: "{}"}},
        {"policies": {"../../etc/passwd": "{}"}},
    ]
    for changes in broken:
        with pytest.raises(BundleRefused):
            _write(leaves, signer, pseudonym, **changes)
    with pytest.raises(NoteRefused):
        _write(leaves, signer, pseudonym, checkpoint_note="none\n")


def test_verifying_needs_nothing_but_the_standard_library_and_cryptography(bundle: Path) -> None:
    allowed = {"worker", "cryptography", "_cffi_backend"}
    program = (
        "import sys, pathlib, worker.audit.verify as v\n"
        f"report = v.verify_bundle(pathlib.Path({str(bundle)!r}))\n"
        "assert report.verified, report.problems\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names))\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", _with_paths(program)], capture_output=True, text=True, check=True
    )
    assert {name for name in done.stdout.split() if not name.startswith("_")} <= allowed | {"cython_runtime"}


def _with_paths(program: str) -> str:
    """Without ``site`` nothing is imported at start; the search path is handed over."""
    return f"import sys; sys.path[:] = {sys.path!r}\n{program}"
