"""Everything that can be done to a bundle is found, and nothing else is."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from worker.audit import dsse
from worker.audit.checkpoint import Checkpoint, sign_checkpoint
from worker.audit.entry import Entry, EntryType
from worker.audit.envelope import Leaf
from worker.audit.findings import MAX_PROBLEMS, Report
from worker.audit.merkle import root_of
from worker.audit.note import Ed25519Signer
from worker.audit.verify import verify_bundle

Members = dict[str, bytes]
NAMES = (
    "README.txt",
    "bodies.jsonl.gz",
    "certificate.html",
    "checkpoint",
    "deletions.csv",
    "envelopes.jsonl.gz",
    "keys.txt",
    "manifest.dsse.json",
)
PLACES = (0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.999)


def _members(raw: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(members: Sequence[tuple[str, bytes]], *, comment: bytes = b"") -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore")  # a doubled name is what one test writes
        for name, raw in members:
            archive.writestr(zipfile.ZipInfo(name), raw)
        archive.comment = comment
    return out.getvalue()


def _resigned(members: Members, signer: Ed25519Signer, **changes: Any) -> bytes:
    """Give every member its new digest and sign again: what only the holder of the key could do."""
    statement = json.loads(dsse.payload_of(members["manifest.dsse.json"]))
    statement["subject"] = [
        {"name": name, "digest": {"sha256": hashlib.sha256(raw).hexdigest()}}
        for name, raw in sorted(members.items())
        if name != "manifest.dsse.json"
    ]
    statement["predicate"].update(changes)
    sealed = dsse.seal(json.dumps(statement).encode(), signer)
    return _zip(list({**members, "manifest.dsse.json": sealed}.items()))


def _lines(members: Members, name: str) -> list[bytes]:
    return gzip.decompress(members[name]).splitlines()


def _packed(lines: Sequence[bytes]) -> bytes:
    return gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_of_a_member_is_found(
    name: str, place: float, whole: bytes, check: Callable[[bytes], Report]
) -> None:
    members = _members(whole)
    raw = bytearray(members[name])
    raw[int(place * len(raw))] ^= 1
    report = check(_zip(list({**members, name: bytes(raw)}.items())))
    assert not report.verified
    assert name in {one.member for one in report.problems}


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_shortened_longer_or_foreign_member_is_found(
    name: str, whole: bytes, check: Callable[[bytes], Report]
) -> None:
    members = _members(whole)
    rest = {one: raw for one, raw in members.items() if one != name}
    for changed in (
        rest,
        {**members, name: members[name][: len(members[name]) // 2]},
        {**members, name: b""},
        {**members, name: members[name] + b"\n"},
        {**members, name: members[NAMES[0] if name != NAMES[0] else NAMES[1]]},
    ):
        assert not check(_zip(list(changed.items()))).verified


@pytest.mark.parametrize(
    "extra",
    [
        "extra.txt",
        "checkpoint",
        "../keys.txt",
        "/etc/passwd",
        "a\\b",
        "C:/keys.txt",
        "folder/",
        "policies/x.json",
    ],
)
def test_a_member_too_many_is_found(extra: str, whole: bytes, check: Callable[[bytes], Report]) -> None:
    assert not check(_zip([*_members(whole).items(), (extra, b"")])).verified


def test_the_unchanged_members_verify_in_any_order(whole: bytes, check: Callable[[bytes], Report]) -> None:
    assert check(_zip(list(_members(whole).items())[::-1])).problems == ()
    assert not check(_zip(list(_members(whole).items()), comment=b"hello")).verified


def test_damage_anywhere_in_the_file_is_told_and_never_raised(
    whole: bytes, check: Callable[[bytes], Report]
) -> None:
    members = _members(whole)
    for at in range(0, len(whole), max(1, len(whole) // 150)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        report = check(bytes(changed))
        # The zip's own frame has bits that say nothing of the content (times, versions).
        assert not report.verified or _members(bytes(changed)) == members


@pytest.mark.parametrize("place", PLACES)
def test_a_truncated_file_is_told_and_never_raised(
    place: float, whole: bytes, check: Callable[[bytes], Report]
) -> None:
    assert not check(whole[: int(place * len(whole))]).verified


def test_a_missing_file_is_the_callers_matter(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        verify_bundle(tmp_path / "none.zip")
    assert not verify_bundle(tmp_path).verified


def _line_changes(lines: list[bytes], own: int) -> Iterator[tuple[str, list[bytes]]]:
    yield "dropped", lines[:own] + lines[own + 1 :]
    yield "doubled", [*lines[: own + 1], *lines[own:]]
    yield "swapped", [*lines[:own], lines[own + 1], lines[own], *lines[own + 2 :]]
    yield "cut off", lines[:-1]
    yield "added", [*lines, lines[-1]]
    yield "changed", [*lines[:own], lines[own].replace(b"1", b"2", 1), *lines[own + 1 :]]
    yield "not JSON", [*lines[:own], b"{", *lines[own + 1 :]]
    yield "too long", [*lines[:own], b"x" * 200_000, *lines[own + 1 :]]


@pytest.mark.parametrize("name", ["envelopes.jsonl.gz", "bodies.jsonl.gz"])
@pytest.mark.parametrize("at", [1, 5, 12])
def test_lines_changed_by_the_holder_of_the_key_are_found(
    name: str, at: int, whole: bytes, signer: Ed25519Signer, check: Callable[[bytes], Report]
) -> None:
    members = _members(whole)
    for what, lines in _line_changes(_lines(members, name), at):
        report = check(_resigned({**members, name: _packed(lines)}, signer))
        assert not report.verified, what
    assert check(_resigned(members, signer)).problems == ()


def test_a_swapped_body_names_its_entry(
    whole: bytes, signer: Ed25519Signer, check: Callable[[bytes], Report]
) -> None:
    members = _members(whole)
    own = [json.loads(line) for line in _lines(members, "bodies.jsonl.gz")]
    own[3]["body"] = own[4]["body"]
    packed = _packed([json.dumps(one).encode() for one in own])
    report = check(_resigned({**members, "bodies.jsonl.gz": packed}, signer))
    assert (report.problems[0].member, report.problems[0].index) == ("bodies.jsonl.gz", own[3]["i"])


def test_a_left_out_body_names_its_entry(
    whole: bytes, signer: Ed25519Signer, check: Callable[[bytes], Report]
) -> None:
    members = _members(whole)
    lines = _lines(members, "bodies.jsonl.gz")
    missing = json.loads(lines.pop(5))["i"]
    report = check(_resigned({**members, "bodies.jsonl.gz": _packed(lines)}, signer))
    assert next((one.index, one.what) for one in report.problems if one.index is not None) == (
        missing,
        "the body of an entry of this project is missing",
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"confirmed", b"sustained"),
        (b"yes", b"no"),
        (b"'=cmd", b"=cmd"),
        (b"\r\n", b"\n"),
        (b"conv_crash", b"conv_other"),
    ],
)
def test_a_changed_table_is_found(
    old: bytes, new: bytes, whole: bytes, signer: Ed25519Signer, check: Callable[[bytes], Report]
) -> None:
    members = _members(whole)
    table = members["deletions.csv"]
    assert old in table
    report = check(_resigned({**members, "deletions.csv": table.replace(old, new, 1)}, signer))
    assert [one.member for one in report.problems] == ["deletions.csv"]
    for other in (table + b"x", table[: table.rindex(b"\r\n", 0, -2) + 2], b""):
        assert not check(_resigned({**members, "deletions.csv": other}, signer)).verified


@pytest.mark.parametrize(
    "changes",
    [
        {"grades": {"confirmed": 7}},
        {"entries": 1},
        {"reconciliation": {}},
        {"project": "research"},
        {"project_pseudonym": "0" * 32},
        {"period": {"from": "2026-11-02T00:00:00.000000Z", "to": "2027-01-01T00:00:00.000000Z"}},
        {"period": {"from": "x"}},
        {"log": {"origin": "other", "size": 51, "root": "00"}},
        {"log": {"origin": "other", "size": 10**18, "root": "00"}},
        {"log": {"origin": "other", "size": -1, "root": "00"}},
        {"log": None},
        {"grades": []},
    ],
    ids=repr,
)
def test_a_manifest_that_states_something_else_is_found(
    changes: dict[str, Any], whole: bytes, signer: Ed25519Signer, check: Callable[[bytes], Report]
) -> None:
    assert not check(_resigned(_members(whole), signer, **changes)).verified


def test_an_older_or_forged_checkpoint_is_found(
    whole: bytes, signer: Ed25519Signer, leaves: Sequence[Leaf], check: Callable[[bytes], Report]
) -> None:
    members = _members(whole)
    for size, root in ((len(leaves) - 1, bytes(32)), (len(leaves), bytes(32)), (10**15, bytes(32))):
        note = sign_checkpoint(Checkpoint(origin=signer.name, size=size, root=root), signer)
        assert not check(_resigned({**members, "checkpoint": note.encode()}, signer)).verified


def test_policies_must_be_those_their_name_is_the_digest_of(
    whole: bytes, signer: Ed25519Signer, check: Callable[[bytes], Report]
) -> None:
    members = _members(whole)
    name = next(one for one in members if one.startswith("policies/"))
    report = check(_resigned({**members, name: b"{}"}, signer))
    assert [one.member for one in report.problems] == [name]


def test_a_bundle_full_of_defects_is_told_in_bounds(
    whole: bytes, signer: Ed25519Signer, check: Callable[[bytes], Report]
) -> None:
    members = _members(whole)
    lines = [json.dumps({"i": 0, "body": "\x1b[31m"}).encode()] * 1000
    report = check(_resigned({**members, "bodies.jsonl.gz": _packed(lines)}, signer))
    assert report.problem_count > MAX_PROBLEMS == len(report.problems)


def test_a_line_that_unpacks_without_end_is_not_kept(
    whole: bytes, signer: Ed25519Signer, check: Callable[[bytes], Report]
) -> None:
    members = _members(whole)
    bomb = gzip.compress(b"x" * 50_000_000)
    for name in ("envelopes.jsonl.gz", "bodies.jsonl.gz"):
        report = check(_resigned({**members, name: bomb}, signer))
        assert any("longer than" in one.what for one in report.problems)


@pytest.mark.parametrize(
    ("field", "value"), [("kind", None), ("attempts", "1"), ("passes", 5), ("account", "x")]
)
def test_a_body_without_its_form_is_told_and_never_raised(
    *,
    field: str,
    value: object,
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    whole: bytes,
    signer: Ed25519Signer,
    pseudonym: str,
    check: Callable[[bytes], Report],
) -> None:
    types = [one.type for one in entries]
    at = types.index(EntryType.THREAD_GRADED)
    body: dict[str, Any] = {**entries[at].body, field: value}
    leaves = as_leaves([*entries[:at], replace(entries[at], body=body), *entries[at + 1 :]])
    report = check(_sealed_over(leaves, _members(whole), signer, pseudonym))
    assert at in {one.index for one in report.problems}


def _sealed_over(leaves: Sequence[Leaf], members: Members, signer: Ed25519Signer, pseudonym: str) -> bytes:
    """Put other entries into a bundle, with root, digests and signatures that fit them."""
    root = root_of(one.hash for one in leaves)
    head = Checkpoint(origin=signer.name, size=len(leaves), root=root)
    own = [
        json.dumps({"i": n, "body": one.body.decode()}).encode()
        for n, one in enumerate(leaves)
        if pseudonym.encode() in one.envelope
    ]
    changed = {
        **members,
        "checkpoint": sign_checkpoint(head, signer).encode(),
        "envelopes.jsonl.gz": _packed([one.envelope for one in leaves]),
        "bodies.jsonl.gz": _packed(own),
    }
    return _resigned(changed, signer, log={"origin": signer.name, "size": len(leaves), "root": root.hex()})


def test_whoever_signs_all_again_with_another_key_is_found_by_the_keys(
    whole: bytes, tmp_path: Path, signer: Ed25519Signer, leaves: Sequence[Leaf]
) -> None:
    forger = Ed25519Signer.from_seed(signer.name, b"\x09" * 32)
    members = _members(whole)
    text = members["checkpoint"].decode().rpartition("\n\n")[0].split("\n")
    head = Checkpoint(origin=text[0], size=int(text[1]), root=base64.b64decode(text[2]))
    note = sign_checkpoint(head, forger).encode()
    forged = {
        **members,
        "checkpoint": note,
        "certificate.html": members["certificate.html"].replace(members["checkpoint"], note),
        "keys.txt": f"{forger.vkey}\n".encode(),
    }
    path = tmp_path / "forged.zip"
    path.write_bytes(_resigned(forged, forger))
    assert verify_bundle(path).verified
    assert not verify_bundle(path).key_authenticated
    assert not verify_bundle(path, keys=[signer.vkey]).verified
