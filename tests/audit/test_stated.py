"""What a manifest states of itself is read in bounds, and what is gone is said by bodies that are there."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.audit.conftest import PROJECT
from tests.audit.mutations import lines_of, pack, signed_again, unzip
from tests.audit.test_ranges import head, own, single, write
from worker.audit import bodies, bundle, dsse
from worker.audit.archive import Archive
from worker.audit.bundle import BundleRefused
from worker.audit.checkpoint import Checkpoint, sign_checkpoint
from worker.audit.entry import Entry, EntryType
from worker.audit.envelope import Leaf, canonical
from worker.audit.findings import Report
from worker.audit.gone import Gone
from worker.audit.manifest import Manifest
from worker.audit.merkle import leaf_hash, root_of
from worker.audit.note import Ed25519Signer
from worker.audit.reading import MAX_BODY, Misshapen
from worker.audit.tally import Tally

Check = Callable[[bytes], Report]
Make = Callable[[Sequence[Entry]], list[Leaf]]
ACTOR = "cli:host tenure/0"


def predicate_of(raw: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dsse.payload_of(unzip(raw)["manifest.dsse.json"]))["predicate"]
    return found


def of(report: Report) -> list[tuple[int | None, str]]:
    return [(one.index, one.what) for one in report.problems]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"log": {"first": 2**63, "size": 2**63 + 9}}, "'first' counts nothing"),
        ({"log": {"size": 2**80}}, "'size' counts nothing"),
        ({"log": {"first": -1}}, "'first' counts nothing"),
        ({"log": {"first": 10**6}}, "cannot begin at leaf 1000000"),
        ({"bodies_gone": -1}, "'bodies_gone' counts nothing"),
        ({"entries": -1}, "'entries' counts nothing"),
        ({"grades": {"confirmed": -1}}, "'confirmed' counts nothing"),
        ({"period": {"from": ""}}, "'from' is no instant"),
        ({"period": {"to": "z"}}, "'to' is no instant"),
        ({"period": {"to": "2026-11-32T00:00:00.000000Z"}}, "'to' is no instant"),
        ({"made_at": "never"}, "'made_at' is no instant"),
        ({"scope": {"kind": "owner", "of": None}}, "do not say whose they are"),
        ({"scope": {"kind": "owner", "of": "o"}, "log": {"first": 5}}, "cannot begin at leaf 5"),
    ],
)
def test_a_manifest_that_states_what_cannot_be_is_not_read(
    *, changes: dict[str, Any], told: str, whole: bytes, signer: Ed25519Signer, check: Check
) -> None:
    stated = predicate_of(whole)
    new = {
        name: {**stated[name], **value} if isinstance(value, dict) else value
        for name, value in changes.items()
    }
    report = check(signed_again(unzip(whole), signer, **new))
    assert [one.member for one in report.problems] == ["manifest.dsse.json"]
    assert told in report.problems[0].what


def test_grades_of_a_version_that_the_verifier_does_not_know_are_told_as_not_checked(
    whole: bytes, signer: Ed25519Signer, check: Check
) -> None:
    report = check(signed_again(unzip(whole), signer, grader_version=99))
    [problem] = report.problems
    assert "version 99, which this verifier does not know" in problem.what
    made = Manifest.from_bytes(dsse.payload_of(unzip(whole)["manifest.dsse.json"]))
    stated = replace(made, entries=0, gone=0, grades={}, reconciliation={})
    assert stated.disagreements(Tally(start=made.start, end=made.end)) == []


def test_a_single_entry_behind_the_checkpoint_is_not_judged(
    entries: Sequence[Entry], leaves: Sequence[Leaf], signer: Ed25519Signer, pseudonym: str, check: Check
) -> None:
    mine = [n for n, one in enumerate(entries) if one.subject == "thr_crash"]
    members = unzip(single(leaves, signer, pseudonym, mine[:1]))
    for far in (len(leaves), 2**63, 2**64):
        line = json.loads(lines_of(members, "bodies.jsonl.gz")[0])
        changed = {**members, "bodies.jsonl.gz": pack([json.dumps({**line, "i": far}).encode()])}
        proof = changed.pop(f"proofs/{mine[0]}.tlog-proof")
        changed[f"proofs/{far}.tlog-proof"] = proof.replace(b"index %d\n" % mine[0], b"index %d\n" % far)
        report = check(signed_again(changed, signer))
        assert (far, "the entry lies behind the checkpoint") in of(report)


def long_body(size: int, *, n: int = 0) -> bytes:
    """Return a body of ``body.shredded`` that has about so many bytes."""
    fields = {
        "actor": ACTOR,
        "count": 1,
        "leaves": [[1, 2]],
        "project": PROJECT,
        "reason": "x" * size,
        "salt": f"{n:032x}",
        "subject": None,
        "type": "body.shredded",
    }
    return json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()


def with_bodies(
    whole: bytes, leaves: Sequence[Leaf], signer: Ed25519Signer, pseudonym: str, more: Sequence[bytes]
) -> bytes:
    """Append entries of ``body.shredded`` with these bodies, and sign all of it."""
    members, size = unzip(whole), len(leaves)
    added = [
        canonical(
            {
                "body": hashlib.sha256(one).hexdigest(),
                "id": f"{size + n:032x}",
                "project": pseudonym,
                "subject": None,
                "t": "2026-11-03T00:00:00.000000Z",
                "type": "body.shredded",
                "v": 1,
            }
        )
        for n, one in enumerate(more)
    ]
    lines = [*(one.envelope for one in leaves), *added]
    told = io.BytesIO()
    with gzip.GzipFile("", "wb", 9, told, mtime=0) as packed:
        packed.write(gzip.decompress(members["bodies.jsonl.gz"]))
        for n, one in enumerate(more, size):
            packed.write(json.dumps({"i": n, "body": one.decode()}, ensure_ascii=False).encode() + b"\n")
    root = root_of(map(leaf_hash, lines))
    note = sign_checkpoint(Checkpoint(origin=signer.name, size=len(lines), root=root), signer)
    changed = {
        **members,
        "envelopes.jsonl.gz": pack(lines),
        "bodies.jsonl.gz": told.getvalue(),
        "checkpoint": note.encode(),
    }
    log = {"origin": signer.name, "first": 0, "size": len(lines), "root": root.hex()}
    return signed_again(changed, signer, log=log)


def test_a_body_that_is_longer_than_any_entrys_is_a_defect_and_not_read(
    whole: bytes, leaves: Sequence[Leaf], signer: Ed25519Signer, pseudonym: str, check: Check
) -> None:
    empty = len(long_body(0))
    for size, found in ((MAX_BODY, False), (MAX_BODY + 1, True)):
        report = check(with_bodies(whole, leaves, signer, pseudonym, [long_body(size - empty)]))
        told = {what for index, what in of(report) if index == len(leaves)}
        assert (f"the body has {size} bytes; {MAX_BODY} is the limit" in told) is found
        # The other is read: it says of a body which is here that it is gone.
        assert ("the entry says that a body is gone which is here" in told) is not found


def test_the_same_limit_holds_for_an_epochs_body(
    *,
    entries: Sequence[Entry],
    leaves: Sequence[Leaf],
    as_leaves: Make,
    signer: Ed25519Signer,
    pseudonym: str,
    check: Check,
) -> None:
    tree = bodies.Tree(origin=signer.name, size=len(leaves), root=root_of(one.hash for one in leaves))
    gap = bodies.Gap(why="log_behind", anchored=tree, held=tree, agreed=4)
    opened = bodies.log_epoch(
        number=2, origin=f"{signer.name}/2", gap=gap, reason="r", at=entries[-1].at, actor=ACTOR
    )
    long = replace(opened, body={**opened.body, "why": "x" * 8000, "reason": "x" * 8000, "more": "y" * 8000})
    made = as_leaves([*entries, long])
    report = check(
        write(made, signer, pseudonym, bodies=[*own(made, pseudonym), (len(leaves), made[-1].body)])
    )
    assert any(index == len(leaves) and "is the limit" in what for index, what in of(report))


def test_ranges_that_excuse_nothing_are_not_kept() -> None:
    gone = Gone()
    for index in range(0, 6000, 2):
        gone.see(index)
        gone.miss(index + 1)
    for _ in range(40):
        gone.excuse(6000, {"leaves": [[n, n + 1] for n in range(1, 6000, 4)], "count": 1500})
        gone.excuse(6000, {"leaves": [[6000 - n, 6001 - n] for n in range(1, 6000, 4)], "count": 1500})
        gone.excuse(10**9, {"leaves": [[n, n + 1] for n in range(6000, 9000, 2)], "count": 1500})
    assert len(gone._starts) < 20_000
    assert list(gone.unexcused()) == []
    assert list(gone.overstated()) == []
    gone.excuse(10**9, {"leaves": [[0, 1]], "count": 1})
    assert list(gone.overstated()) == [10**9]


def test_a_count_that_its_ranges_do_not_give_is_misshapen() -> None:
    for count in (0, 2, 999):
        with pytest.raises(Misshapen, match="counted otherwise"):
            Gone().excuse(9, {"leaves": [[3, 4]], "count": count})


@pytest.fixture
def unrefused(
    signer: Ed25519Signer, pseudonym: str, check: Check, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Sequence[Leaf], Sequence[tuple[int, bytes]]], Report]:
    """Verify what the writer would refuse to sign."""

    def checked(made: Sequence[Leaf], kept: Sequence[tuple[int, bytes]]) -> Report:
        with monkeypatch.context() as patched:
            patched.setattr(bundle, "_check", lambda *_: None)
            patched.setattr(bundle, "says_gone", lambda _: False)
            raw = write(made, signer, pseudonym, bodies=kept)
        return check(raw)

    return checked


def test_what_says_that_bodies_are_gone_is_itself_never_gone(
    *,
    entries: Sequence[Entry],
    as_leaves: Make,
    signer: Ed25519Signer,
    pseudonym: str,
    unrefused: Callable[[Sequence[Leaf], Sequence[tuple[int, bytes]]], Report],
) -> None:
    at, size = entries[-1].at, len(entries)
    first = next(n for n, one in enumerate(entries) if one.project == PROJECT)

    def shredded(*ranges: tuple[int, int]) -> Entry:
        return bodies.body_shredded(PROJECT, leaves=ranges, reason="x", at=at, actor=ACTOR)

    made = as_leaves([*entries, shredded((first, first + 1)), shredded((first, first + 1), (size, size + 1))])
    kept = [one for one in own(made, pseudonym) if one[0] not in {first, size}]
    with pytest.raises(BundleRefused, match=f"leaf {size} is missing, which says what else is gone"):
        write(made, signer, pseudonym, bodies=kept)
    report = unrefused(made, kept)
    what = "the body of an entry that says what is gone is missing, which is kept for ever"
    assert of(report) == [(size, what)]


def test_an_entry_of_what_was_pruned_comes_with_its_body_or_not_at_all(
    *,
    entries: Sequence[Entry],
    as_leaves: Make,
    pseudonym: str,
    unrefused: Callable[[Sequence[Leaf], Sequence[tuple[int, bytes]]], Report],
) -> None:
    """Without it nobody could tell that what it says is gone is here."""
    pruned = bodies.log_pruned(leaves=[(0, 9)], reason="old", at=entries[-1].at, actor=ACTOR)
    made = as_leaves([*entries, pruned])
    kept = own(made, pseudonym)
    report = unrefused(made, kept)
    assert [index for index, _ in of(report)] == [len(entries)]
    kept = [*kept, (len(entries), made[-1].body)]
    report = unrefused(made, kept)
    assert of(report) == [(len(entries), "the entry says that a body is gone which is here")]


def test_what_was_pruned_is_said_by_an_entry_of_no_project(
    entries: Sequence[Entry], as_leaves: Make, signer: Ed25519Signer, pseudonym: str
) -> None:
    first = next(n for n, one in enumerate(entries) if one.project == PROJECT)
    pruned = bodies.log_pruned(leaves=[(first, first + 1)], reason="old", at=entries[-1].at, actor=ACTOR)
    made = as_leaves([*entries, replace(pruned, project=PROJECT)])
    kept = [one for one in own(made, pseudonym) if one[0] != first]
    with pytest.raises(BundleRefused, match=f"leaf {first} is missing, and no entry says"):
        write(made, signer, pseudonym, bodies=kept)


def test_a_salt_that_is_no_hex_is_told_as_that_alone(
    entries: Sequence[Entry],
    leaves: Sequence[Leaf],
    bundled: Callable[[Sequence[Leaf]], bytes],
    check: Check,
) -> None:
    at = next(
        n for n, one in enumerate(entries) if one.type is EntryType.THREAD_GRADED and one.project == PROJECT
    )
    old = leaves[at]
    body = old.body.replace(b'"salt":"%032x"' % at, b'"salt":"' + b"zz" * 16 + b'"')
    before, after = (hashlib.sha256(one).hexdigest().encode() for one in (old.body, body))
    envelope = old.envelope.replace(before, after)
    made = [*leaves[:at], Leaf(envelope, body, leaf_hash(envelope)), *leaves[at + 1 :]]
    assert of(check(bundled(made))) == [(at, "the salt is not written in hex")]


def test_anchors_whose_names_differ_in_case_only_are_not_signed(
    leaves: Sequence[Leaf], signer: Ed25519Signer, pseudonym: str
) -> None:
    held = head(leaves, signer, 9)
    with pytest.raises(BundleRefused, match="The anchors kept and Kept differ in case only"):
        write(leaves, signer, pseudonym, anchors={"kept": held, "other": held, "Kept": held})


def test_the_names_of_members_are_put_together_once(whole: bytes, tmp_path: Path) -> None:
    """They are asked for at each of 50,000 proofs."""
    (tmp_path / "bundle.zip").write_bytes(whole)
    archive = Archive(tmp_path / "bundle.zip")
    assert archive.names is archive.names
    archive.close()
