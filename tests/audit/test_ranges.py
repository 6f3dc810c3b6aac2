"""A range that begins later, single entries with proofs, copies of checkpoints, and bodies that are gone."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from worker.audit import bodies, epoch
from worker.audit.bundle import Beginning, BundleRefused, Scope, write_bundle
from worker.audit.checkpoint import Checkpoint, sign_checkpoint
from worker.audit.entry import Entry, EntryType
from worker.audit.envelope import Leaf
from worker.audit.findings import Report
from worker.audit.gone import Gone
from worker.audit.manifest import Manifest
from worker.audit.merkle import Frontier, consistency_proof, inclusion_proof, root_of
from worker.audit.note import Ed25519Signer
from worker.audit.single import write_single
from worker.audit.tlog_proof import ProofRefused, TlogProof
from worker.audit.verify import verify_bundle

START = datetime(2026, 11, 1, tzinfo=UTC)
END = START + timedelta(days=60)
PROJECT = "support-eu"


def head(leaves: Sequence[Leaf], signer: Ed25519Signer, size: int | None = None) -> str:
    cut = leaves if size is None else leaves[:size]
    root = root_of(one.hash for one in cut)
    opened = [json.loads(one.body)["origin"] for one in cut if epoch.begins(one.envelope)]
    origin = opened[-1] if opened else signer.name
    return sign_checkpoint(Checkpoint(origin=origin, size=len(cut), root=root), signer)


def beginning(leaves: Sequence[Leaf], signer: Ed25519Signer, size: int) -> Beginning:
    hashes = [one.hash for one in leaves]
    return Beginning(
        note=head(leaves, signer, size),
        frontier=Frontier().extend(hashes[:size]),
        consistency=consistency_proof(size, len(leaves), hashes),
    )


def own(leaves: Sequence[Leaf], pseudonym: str) -> list[tuple[int, bytes]]:
    return [(n, one.body) for n, one in enumerate(leaves) if pseudonym.encode() in one.envelope]


def scope(pseudonym: str, **changes: Any) -> Scope:
    given = Scope(project=PROJECT, pseudonym=pseudonym, window=(START, END), tool="tenure", made_at=END)
    return replace(given, **changes)


def write(leaves: Sequence[Leaf], signer: Ed25519Signer, pseudonym: str, **changes: Any) -> bytes:
    out = io.BytesIO()
    first = changes["beginning"].frontier.size if changes.get("beginning") else 0
    given: dict[str, Any] = {
        "scope": scope(pseudonym),
        "checkpoint_note": head(leaves, signer),
        "vkeys": [signer.vkey],
        "signer": signer,
        "envelopes": [one.envelope for one in leaves[first:]],
        "bodies": [one for one in own(leaves, pseudonym) if one[0] >= first],
        "policies": {},
    }
    write_bundle(out, **{**given, **changes})
    return out.getvalue()


def members(raw: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, raw in parts.items():
            archive.writestr(name, raw)
    return out.getvalue()


@pytest.mark.parametrize("first", [1, 8, 13, 16, 23])
def test_a_range_that_begins_later_holds_no_older_leaf_and_verifies(
    first: int,
    leaves: Sequence[Leaf],
    signer: Ed25519Signer,
    pseudonym: str,
    check: Callable[[bytes], Report],
) -> None:
    raw = write(leaves, signer, pseudonym, beginning=beginning(leaves, signer, first))
    report = check(raw)
    assert report.problems == ()
    assert (report.first, report.entries, report.size) == (first, len(leaves) - first, len(leaves))
    parts = members(raw)
    assert gzip.decompress(parts["envelopes.jsonl.gz"]).split(b"\n")[0] == leaves[first].envelope
    assert parts["checkpoint.start"].decode().split("\n")[1] == str(first)
    assert len(parts["frontier.start"].splitlines()) == first.bit_count()


def test_what_a_later_range_cannot_know_is_counted_as_earlier_and_told(
    entries: Sequence[Entry],
    leaves: Sequence[Leaf],
    signer: Ed25519Signer,
    pseudonym: str,
    check: Callable[[bytes], Report],
) -> None:
    graded = next(n for n, one in enumerate(entries) if one.type is EntryType.THREAD_GRADED)
    raw = write(leaves, signer, pseudonym, beginning=beginning(leaves, signer, graded))
    report = check(raw)
    assert report.problems == ()
    assert any("lean on others that are not here" in note for note in report.notes)
    page = members(raw)["certificate.html"].decode()
    assert "0 opening + 6 registered + 0 unregistered + 1 earlier = " in page
    assert "where this bundle begins" in page


def test_a_thread_registered_in_a_later_range_still_needs_its_intent_there(
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    signer: Ed25519Signer,
    pseudonym: str,
    check: Callable[[bytes], Report],
) -> None:
    lying = as_leaves([one for one in entries if one.type is not EntryType.DELETE_INTENDED])
    report = check(write(lying, signer, pseudonym, beginning=beginning(lying, signer, 1)))
    told = {one.what.rpartition(": ")[2] for one in report.problems}
    assert told == {
        "a DELETE was answered, and no intent stands before it",
        "a read since the DELETE stands there, and no intent before it",
        "no intent stands before this grade",
        "the grade tells of 1 DELETEs, and 0 were intended before it",
    }


@pytest.mark.parametrize("name", ["checkpoint.start", "frontier.start", "consistency.txt"])
def test_a_changed_or_missing_beginning_is_found(
    name: str,
    leaves: Sequence[Leaf],
    signer: Ed25519Signer,
    pseudonym: str,
    check: Callable[[bytes], Report],
) -> None:
    parts = members(write(leaves, signer, pseudonym, beginning=beginning(leaves, signer, 13)))
    other = members(write(leaves, signer, pseudonym, beginning=beginning(leaves, signer, 11)))
    for changed in ({**parts, name: other[name]}, {k: v for k, v in parts.items() if k != name}):
        report = check(zipped(changed))
        assert name in {one.member for one in report.problems}
    # Also with a digest that fits: the hashes themselves are compared.
    changed = {**parts, name: other[name]}
    told = {one.what for one in check(zipped(changed)).problems}
    assert len(told - {"the digest is not the one in the manifest"}) > 0


def test_a_beginning_that_does_not_fit_is_not_signed(
    leaves: Sequence[Leaf], signer: Ed25519Signer, pseudonym: str
) -> None:
    good = beginning(leaves, signer, 13)
    wrong = beginning(leaves, signer, 11)
    for bad in (
        replace(good, note=wrong.note),
        replace(good, frontier=wrong.frontier),
        replace(good, consistency=wrong.consistency),
    ):
        with pytest.raises(BundleRefused):
            write(leaves, signer, pseudonym, beginning=bad)


def test_a_copy_of_a_checkpoint_travels_along_and_is_compared(
    leaves: Sequence[Leaf], signer: Ed25519Signer, pseudonym: str, check: Callable[[bytes], Report]
) -> None:
    held = head(leaves, signer, 9)
    raw = write(leaves, signer, pseudonym, anchors={"example.org-9": held})
    assert members(raw)["anchors/example.org-9"].decode() == held
    assert check(raw).problems == ()
    forked = sign_checkpoint(Checkpoint(origin=signer.name, size=9, root=bytes(32)), signer)
    with pytest.raises(BundleRefused, match="rewritten"):
        write(leaves, signer, pseudonym, anchors={"a": forked})
    with pytest.raises(BundleRefused, match="name an anchor"):
        write(leaves, signer, pseudonym, anchors={"../a": held})


def test_a_checkpoint_that_was_kept_elsewhere_shows_another_history(
    leaves: Sequence[Leaf], signer: Ed25519Signer, whole: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(whole)
    assert verify_bundle(path, keys=[signer.vkey], anchors=[head(leaves, signer, 9)]).verified
    forked = sign_checkpoint(Checkpoint(origin=signer.name, size=9, root=bytes(32)), signer)
    report = verify_bundle(path, keys=[signer.vkey], anchors=[forked])
    assert [one.what for one in report.problems] == [
        "the log had another root at 9 entries: its history was rewritten"
    ]
    ahead = sign_checkpoint(Checkpoint(origin=signer.name, size=900, root=bytes(32)), signer)
    report = verify_bundle(path, keys=[signer.vkey], anchors=[ahead])
    assert report.verified
    assert "does not reach" in report.notes[-1]
    elsewhere = sign_checkpoint(Checkpoint(origin="other", size=9, root=bytes(32)), signer)
    assert not verify_bundle(path, keys=[signer.vkey], anchors=[elsewhere]).verified
    assert not verify_bundle(path, keys=[signer.vkey], anchors=["nonsense"]).verified


def _after(entries: Sequence[Entry], *more: Entry) -> list[Entry]:
    return [*entries, *more]


@pytest.mark.parametrize("pruned", [True, False])
def test_a_body_that_an_entry_says_is_gone_may_be_missing_and_is_counted(
    *,
    pruned: bool,
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    signer: Ed25519Signer,
    pseudonym: str,
    check: Callable[[bytes], Report],
) -> None:
    gone = [n for n, one in enumerate(entries) if one.project == PROJECT][:3]
    ranges = [(gone[0], gone[1] + 1), (gone[2], gone[2] + 1)]
    at = START + timedelta(days=30)
    said = (
        bodies.log_pruned(leaves=ranges, reason="400 days", at=at, actor="beat tenure/0")
        if pruned
        else bodies.body_shredded(PROJECT, leaves=ranges, reason="order", at=at, actor="beat tenure/0")
    )
    leaves = as_leaves(_after(entries, said))
    kept = [one for one in own(leaves, pseudonym) if one[0] not in gone]
    if pruned:
        kept.append((len(leaves) - 1, leaves[-1].body))
    raw = write(leaves, signer, pseudonym, bodies=kept)
    report = check(raw)
    assert report.problems == ()
    assert report.bodies_gone == 3
    assert any("lean on others that are not here" in note for note in report.notes)
    assert "3 entries were shredded or pruned" in members(raw)["certificate.html"].decode()
    if pruned:
        without = [one for one in kept if one[0] != len(leaves) - 1]
        with pytest.raises(BundleRefused, match="missing, which says what else"):
            write(leaves, signer, pseudonym, bodies=without)


def test_a_body_that_nothing_excuses_is_not_signed_and_an_excuse_reaches_back_only(
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    leaves: Sequence[Leaf],
    signer: Ed25519Signer,
    pseudonym: str,
) -> None:
    whole = own(leaves, pseudonym)
    with pytest.raises(BundleRefused, match=f"leaf {whole[3][0]} is missing"):
        write(leaves, signer, pseudonym, bodies=[*whole[:3], *whole[4:]])
    ahead = bodies.body_shredded(PROJECT, leaves=[(0, 10**6)], reason="all", at=START, actor="beat tenure/0")
    made = as_leaves([*entries, ahead])
    from worker.audit.reading import Misshapen

    with pytest.raises(Misshapen, match="no range of leaves before"):
        write(made, signer, pseudonym)


def test_an_entry_that_says_of_a_body_which_is_here_that_it_is_gone_is_neither_signed_nor_accepted(
    *,
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    signer: Ed25519Signer,
    pseudonym: str,
    check: Callable[[bytes], Report],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = [n for n, one in enumerate(entries) if one.project == PROJECT][:4]
    ranges = [(n, n + 1) for n in gone]
    said = bodies.body_shredded(PROJECT, leaves=ranges, reason="x", at=entries[-1].at, actor="cli tenure/0")
    leaves = as_leaves(_after(entries, said))
    kept = [one for one in own(leaves, pseudonym) if one[0] not in gone[1:]]
    with pytest.raises(
        BundleRefused, match=f"Entry {len(entries)} says that a body is gone, and it is there"
    ):
        write(leaves, signer, pseudonym, bodies=kept)
    with monkeypatch.context() as patched:
        patched.setattr(Gone, "overstated", lambda _self: iter(()))
        raw = write(leaves, signer, pseudonym, bodies=kept)
    report = check(raw)
    assert [(one.index, one.what) for one in report.problems] == [
        (len(entries), "the entry says that a body is gone which is here")
    ]
    assert report.bodies_gone == 3


def test_a_grade_may_lean_on_a_control_that_was_pruned_and_on_none_that_never_was(
    *,
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    signer: Ed25519Signer,
    pseudonym: str,
    check: Callable[[bytes], Report],
) -> None:
    """One that is gone excuses one grade: a log with fewer controls than grades is found all the same."""
    probes = {n for n, one in enumerate(entries) if one.type is EntryType.CONTROL_PROBED}
    mine = sorted(n for n in probes if entries[n].project == PROJECT)
    for gone, whole in ((mine, True), (mine[1:], False)):
        left = [one for n, one in enumerate(entries) if n not in set(mine) - set(gone)]
        moved = [n - sum(other < n for other in set(mine) - set(gone)) for n in gone]
        said = bodies.log_pruned(
            leaves=[(n, n + 1) for n in moved], reason="old", at=entries[-1].at, actor="cli tenure/0"
        )
        leaves = as_leaves([*left, said])
        kept = [one for one in own(leaves, pseudonym) if one[0] not in moved]
        report = check(write(leaves, signer, pseudonym, bodies=[*kept, (len(leaves) - 1, leaves[-1].body)]))
        told = {one.what.rpartition(" leans")[2] for one in report.problems}
        assert told == (set() if whole else {" on a control that no entry holds"})
        assert any("lean on others that are not here" in note for note in report.notes)


def single(
    leaves: Sequence[Leaf], signer: Ed25519Signer, pseudonym: str, indices: Sequence[int], **changes: Any
) -> bytes:
    note, hashes = head(leaves, signer), [one.hash for one in leaves]
    out = io.BytesIO()
    given: dict[str, Any] = {
        "scope": scope(pseudonym, kind="owner", of="team-ü"),
        "checkpoint_note": note,
        "vkeys": [signer.vkey],
        "signer": signer,
        "proved": [
            (
                TlogProof(
                    index=n,
                    hashes=tuple(inclusion_proof(n, len(leaves), hashes)),
                    checkpoint=note,
                    envelope=leaves[n].envelope,
                ),
                leaves[n].body,
            )
            for n in indices
        ],
    }
    write_single(out, **{**given, **changes})
    return out.getvalue()


@pytest.fixture
def crash(entries: Sequence[Entry]) -> list[int]:
    """The entries of one thread."""
    return [n for n, one in enumerate(entries) if one.subject == "thr_crash"]


def test_single_entries_verify_by_their_proofs_and_hold_nobody_elses(
    leaves: Sequence[Leaf],
    signer: Ed25519Signer,
    pseudonym: str,
    crash: list[int],
    check: Callable[[bytes], Report],
) -> None:
    raw = single(leaves, signer, pseudonym, crash)
    report = check(raw)
    assert report.problems == ()
    assert (report.scope, report.of, report.entries) == ("owner", "team-ü", len(crash))
    assert report.grades == {"inferred": 1}
    assert "not that there are no others" in report.notes[0]
    parts = members(raw)
    assert sorted(name for name in parts if name.startswith("proofs/")) == sorted(
        f"proofs/{n}.tlog-proof" for n in crash
    )
    assert "envelopes.jsonl.gz" not in parts
    assert "single entries of the threads of owner team-ü" in parts["certificate.html"].decode()
    assert "erased" not in parts["certificate.html"].decode().lower()


def test_single_entries_that_were_changed_are_found(
    leaves: Sequence[Leaf],
    signer: Ed25519Signer,
    pseudonym: str,
    crash: list[int],
    check: Callable[[bytes], Report],
) -> None:
    parts = members(single(leaves, signer, pseudonym, crash))
    first, second = (f"proofs/{n}.tlog-proof" for n in crash[:2])
    swapped = {**parts, first: parts[second], second: parts[first]}
    lacking = {name: raw for name, raw in parts.items() if name != first}
    lines = gzip.decompress(parts["bodies.jsonl.gz"]).splitlines(keepends=True)
    shorter = {**parts, "bodies.jsonl.gz": gzip.compress(b"".join(lines[1:]), mtime=0)}
    for changed in (swapped, lacking, shorter, {**parts, first: b"x"}, {**parts, first: b"\xff"}):
        report = check(zipped(changed))
        assert {one.what for one in report.problems} - {"the digest is not the one in the manifest"}


def test_single_entries_that_do_not_fit_are_not_signed(
    leaves: Sequence[Leaf], signer: Ed25519Signer, pseudonym: str, crash: list[int]
) -> None:
    with pytest.raises(BundleRefused, match="out of order"):
        single(leaves, signer, pseudonym, crash[::-1])
    with pytest.raises(BundleRefused, match="out of order"):
        single(leaves, signer, pseudonym, [crash[0], crash[0]])
    foreign = next(
        n
        for n, one in enumerate(leaves)
        if b'"project":null' not in one.envelope and pseudonym.encode() not in one.envelope
    )
    with pytest.raises(BundleRefused, match="not of this project"):
        single(leaves, signer, pseudonym, [foreign])
    note = head(leaves, signer)
    wrong = TlogProof(index=crash[0], hashes=(), checkpoint=note, envelope=leaves[crash[0]].envelope)
    with pytest.raises(ProofRefused):
        single(leaves, signer, pseudonym, [], proved=[(wrong, leaves[crash[0]].body)])


def test_a_manifest_of_before_reads_as_a_whole_project_from_leaf_0(whole: bytes) -> None:
    import base64

    statement = json.loads(base64.b64decode(json.loads(members(whole)["manifest.dsse.json"])["payload"]))
    del statement["predicate"]["scope"], statement["predicate"]["bodies_gone"]
    del statement["predicate"]["log"]["first"]
    read = Manifest.from_bytes(json.dumps(statement).encode())
    assert (read.scope, read.of, read.first, read.gone) == ("project", None, 0, 0)


def test_a_frontier_or_proof_that_was_changed_by_the_holder_of_the_key_is_found(
    *,
    leaves: Sequence[Leaf],
    signer: Ed25519Signer,
    pseudonym: str,
    crash: list[int],
    check: Callable[[bytes], Report],
) -> None:
    from tests.audit.mutations import signed_again

    parts = members(write(leaves, signer, pseudonym, beginning=beginning(leaves, signer, 13)))
    hashes = parts["frontier.start"].splitlines(keepends=True)
    turned = {**parts, "frontier.start": b"".join(hashes[::-1])}
    told = {one.what for one in check(signed_again(turned, signer)).problems}
    assert "the frontier is not that of checkpoint.start" in told
    other = members(write(leaves, signer, pseudonym, beginning=beginning(leaves, signer, 11)))
    told = {
        one.what
        for one in check(
            signed_again({**parts, "consistency.txt": other["consistency.txt"]}, signer)
        ).problems
    }
    assert told == {"the checkpoint does not continue checkpoint.start"}
    parts = members(single(leaves, signer, pseudonym, crash))
    name = f"proofs/{crash[0]}.tlog-proof"
    lines = parts[name].split(b"\n")
    lines[3], lines[4] = lines[4], lines[3]
    report = check(signed_again({**parts, name: b"\n".join(lines)}, signer))
    assert [one.what for one in report.problems] == [
        "the proof does not lead from the entry to the checkpoint"
    ]
