"""What is no bundle, or a bundle made to hurt its reader, is refused clearly and in bounds."""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.audit.mutations import Members, pack, signed_again, unzip, zip_up
from worker.audit import dsse
from worker.audit.archive import Archive, BadArchive
from worker.audit.checkpoint import Checkpoint, sign_checkpoint
from worker.audit.envelope import Leaf
from worker.audit.findings import Report
from worker.audit.merkle import root_of
from worker.audit.note import Ed25519Signer
from worker.audit.verify import verify_bundle

Check = Callable[[bytes], Report]
_MEGABYTE = 1 << 20


def told(report: Report) -> str:
    assert not report.verified
    return " | ".join(f"{one.member}: {one.what}" for one in report.problems)


def deflated(members: Members) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in members.items():
            archive.writestr(zipfile.ZipInfo(name), raw, zipfile.ZIP_DEFLATED)
    return out.getvalue()


@pytest.mark.parametrize("name", ["envelopes.jsonl.gz", "bodies.jsonl.gz"])
def test_many_short_lines_that_unpack_without_end_cost_no_more_than_the_file_allows(
    name: str, whole: bytes, tmp_path: Path
) -> None:
    members = unzip(whole)
    # 300 MB of empty lines, packed twice, are a few kilobytes.
    inner = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(inner.compress(b"\n" * _MEGABYTE) for _ in range(300)) + inner.flush()
    path = tmp_path / "bomb.zip"
    path.write_bytes(deflated({**members, name: packed}))
    archive = Archive(path)
    with pytest.raises(BadArchive, match="more than a bundle of this length can hold"):
        for _ in archive.lines(name, 2048):
            pass
    archive.close()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert name in told(verify_bundle(path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


@pytest.mark.timeout(20)
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "This is no file" in told(verify_bundle(tmp_path / "pipe"))
    assert "This is no file" in told(verify_bundle(tmp_path))


def test_a_member_that_states_a_size_it_cannot_have_is_refused(whole: bytes, check: Check) -> None:
    raw = bytearray(whole)
    at = raw.index(b"PK\x01\x02")
    raw[at + 24 : at + 28] = struct.pack("<L", 0x7FFFFFFF)
    assert "beyond measure" in told(check(bytes(raw)))


def test_members_that_share_their_bytes_are_not_unpacked_again_and_again(
    whole: bytes, tmp_path: Path, signer: Ed25519Signer
) -> None:
    """As the overlapping zip bombs do: a directory of many names over one member."""
    plain, count = 10 * _MEGABYTE, 2000
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("a0000"), bytes(plain), zipfile.ZIP_DEFLATED)
    raw = out.getvalue()
    start = raw.rindex(b"PK\x01\x02")
    entry, end = raw[start : raw.rindex(b"PK\x05\x06")], raw[raw.rindex(b"PK\x05\x06") :]
    directory = b"".join(entry.replace(b"a0000", b"a%04d" % n) for n in range(count))
    fields = list(struct.unpack("<4s4H2LH", end))
    fields[3] = fields[4] = count
    fields[5], fields[6] = len(directory), start
    path = tmp_path / "overlapping.zip"
    path.write_bytes(raw[:start] + directory + struct.pack("<4s4H2LH", *fields))
    bundle = Archive(path)
    read = [0]

    def read_all() -> None:
        for name in sorted(bundle.names):
            for chunk in bundle.chunks(name):
                read[0] += len(chunk)

    with pytest.raises(BadArchive):
        read_all()
    bundle.close()
    assert read[0] < 16 * _MEGABYTE + 1000 * path.stat().st_size
    assert read[0] < plain * count / 20


def test_envelopes_that_no_file_of_this_length_can_hold_are_not_remembered(
    whole: bytes, signer: Ed25519Signer, tmp_path: Path, pseudonym: str
) -> None:
    """Each is another thread without a body, and all pack to a few bytes: digests of real bodies do not."""
    count, members = 300_000, unzip(whole)
    form = (
        b'{"body":"%064d","id":"%032d","project":"%s","subject":"%032x",'
        b'"t":"2026-11-02T00:00:00.000000Z","type":"thread.registered","v":1}'
    )
    lines = [form % (0, 0, pseudonym.encode(), n) for n in range(count)]
    log = json.loads(dsse.payload_of(members["manifest.dsse.json"]))["predicate"]["log"]
    changed = {**members, "envelopes.jsonl.gz": pack(lines)}
    path = tmp_path / "thin.zip"
    path.write_bytes(signed_again(changed, signer, log={**log, "size": count}))
    report = verify_bundle(path, keys=[signer.vkey])
    assert "more lines than its packed bytes can hold" in told(report)
    assert report.entries < path.stat().st_size / 32 + 2000 < count / 4


def test_a_directory_that_is_longer_than_any_bundles_is_not_read(whole: bytes, tmp_path: Path) -> None:
    start, end = whole.rindex(b"PK\x01\x02"), whole.rindex(b"PK\x05\x06")
    entry = whole[start:end]
    name = int.from_bytes(entry[28:30], "little")
    # Each with a comment of 50,000 bytes behind its name.
    long = entry[:32] + struct.pack("<H", 50_000) + entry[34 : 46 + name] + bytes(50_000)
    directory = b"".join(long.replace(long[46:50], b"%04d" % n, 1) for n in range(200))
    fields = list(struct.unpack("<4s4H2LH", whole[end : end + 22]))
    fields[3] = fields[4] = 200
    fields[5], fields[6] = len(directory), start
    path = tmp_path / "wide.zip"
    path.write_bytes(whole[:start] + directory + struct.pack("<4s4H2LH", *fields))
    with zipfile.ZipFile(path) as readable:
        assert len(readable.infolist()) == 200
    assert "directory has more than" in told(verify_bundle(path))


@pytest.mark.parametrize(
    "name",
    [
        "../keys.txt",
        "/etc/passwd",
        "a/../../b",
        "a\\..\\b",
        "C:keys.txt",
        "a//b",
        "./a",
        "folder/",
        "\u202ekeys",
    ],
)
def test_a_name_that_leads_elsewhere_is_told_and_nothing_is_written(
    name: str, whole: bytes, check: Check, tmp_path: Path
) -> None:
    before = {path for path in tmp_path.rglob("*") if path.name != "bundle.zip"}
    assert "name" in told(check(zip_up([*unzip(whole).items(), (name, b"x")])))
    assert {path for path in tmp_path.rglob("*") if path.name != "bundle.zip"} == before


def test_a_doubled_member_is_told(whole: bytes, check: Check) -> None:
    members = unzip(whole)
    for name, raw in members.items():
        assert "twice" in told(check(zip_up([*members.items(), (name, raw)])))


@pytest.mark.parametrize("size", [1, 40, 5000])
def test_foreign_bytes_around_the_archive_are_told(size: int, whole: bytes, check: Check) -> None:
    foreign = b"x" * size
    assert "foreign bytes" in told(check(whole + foreign))
    assert "foreign bytes" in told(check(foreign + whole))


def test_foreign_bytes_that_the_directory_counts_in_are_told(whole: bytes, check: Check) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        # Written behind the beginning, so that every offset is right.
        out.write(b"x" * 40)
        archive.start_dir = 40
        for name, raw in unzip(whole).items():
            archive.writestr(zipfile.ZipInfo(name), raw)
    assert "foreign bytes" in told(check(out.getvalue()))


def test_an_archive_of_more_members_than_a_plain_end_record_counts_has_no_foreign_bytes(
    tmp_path: Path,
) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(65_536):
            archive.writestr(zipfile.ZipInfo(f"{number}"), b"")
    with path.open("ab") as file:
        assert not [what for _, what in Archive(path).defects()]
        file.write(b"x")
    assert ["foreign bytes" in what for _, what in Archive(path).defects()] == [True]


def test_two_names_that_differ_in_case_only_are_told_whoever_signs_them(
    whole: bytes, signer: Ed25519Signer, check: Check
) -> None:
    members = {**unzip(whole), "Certificate.html": b"<p>all deleted</p>"}
    assert "differ in case only" in told(check(signed_again(members, signer)))


def test_an_unknown_version_is_named(whole: bytes, signer: Ed25519Signer, check: Check) -> None:
    members = unzip(whole)
    statement = json.loads(dsse.payload_of(members["manifest.dsse.json"]))
    for change in (
        {"predicateType": "urn:tenure:deletion-evidence:v2"},
        {"_type": "https://in-toto.io/Statement/v9"},
    ):
        sealed = dsse.seal(json.dumps({**statement, **change}).encode(), signer)
        report = check(zip_up(list({**members, "manifest.dsse.json": sealed}.items())))
        assert "no statement of deletion evidence" in told(report)
    for line in (b'{"v":2}', members["checkpoint"]):
        lines = [line, *gzip.decompress(members["envelopes.jsonl.gz"]).splitlines()[1:]]
        changed = {**members, "envelopes.jsonl.gz": pack(lines)}
        assert "no envelope of version 1" in told(check(signed_again(changed, signer)))
    scoped = signed_again(members, signer, scope={"kind": "galaxy", "of": None})
    assert "scope 'galaxy' is not known" in told(check(scoped))


def test_keys_of_another_log_are_told_as_such(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(whole)
    other = Ed25519Signer.from_seed("example.org/other", b"\x08" * 32)
    assert "It is of the log example.org/retention/test, the keys are of example.org/other" in told(
        verify_bundle(path, keys=[other.vkey])
    )
    for bad in ("nonsense", other.vkey[:-4], other.vkey.replace("+", "-"), f"{other.vkey} x"):
        assert "keys.txt: " in told(verify_bundle(path, keys=[bad]))


def test_a_bundle_of_another_origin_is_told(
    whole: bytes, signer: Ed25519Signer, leaves: Sequence[Leaf], check: Check
) -> None:
    members = unzip(whole)
    elsewhere = Checkpoint(
        origin="example.org/other", size=len(leaves), root=root_of(one.hash for one in leaves)
    )
    note = sign_checkpoint(elsewhere, signer).encode()
    report = check(signed_again({**members, "checkpoint": note}, signer))
    assert "the manifest names another tree than the checkpoint" in told(report)


@pytest.mark.parametrize("depth", [100, 100_000])
def test_json_that_nests_without_end_is_refused(
    depth: int, whole: bytes, signer: Ed25519Signer, check: Check
) -> None:
    members = unzip(whole)
    line = b'{"i": 0, "body": ' + b"[" * depth + b"]" * depth + b"}"
    changed = {**members, "bodies.jsonl.gz": pack([line])}
    assert "bodies.jsonl.gz" in told(check(signed_again(changed, signer)))
    deep: dict[str, Any] = {**members, "manifest.dsse.json": b"[" * depth}
    assert "manifest.dsse.json" in told(check(zip_up(list(deep.items()))))


def test_what_a_hostile_bundle_says_of_itself_reaches_no_terminal(
    whole: bytes, signer: Ed25519Signer, check: Check
) -> None:
    report = check(signed_again(unzip(whole), signer, project="\x1b[2Jpwned\r\n"))
    assert "\x1b" not in told(report)
