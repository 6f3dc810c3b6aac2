"""An epoch's first leaf says what the log follows, and no export may leave it out or bend it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.audit.test_ranges import beginning, own, single, write
from worker.audit import bodies, epoch
from worker.audit.bodies import Gap, Tree
from worker.audit.bundle import BundleRefused
from worker.audit.checkpoint import Checkpoint, sign_checkpoint
from worker.audit.entry import Entry
from worker.audit.envelope import Leaf, make_leaf, subject_pseudonym
from worker.audit.epoch import Epochs
from worker.audit.findings import Report
from worker.audit.merkle import Frontier, leaf_hash, root_of
from worker.audit.note import Ed25519Signer

AT = datetime(2026, 11, 22, tzinfo=UTC)
BEFORE = Frontier().extend(leaf_hash(bytes([n])) for n in range(5))
GAP = Gap(
    why="log_behind",
    anchored=Tree(origin="example.org/log", size=9, root=b"\1" * 32),
    held=Tree(origin="example.org/log", size=5, root=BEFORE.root()),
    agreed=4,
)


def entry(gap: Gap = GAP) -> Entry:
    return bodies.log_epoch(
        number=2, origin="example.org/log/2", gap=gap, reason="disk failed", at=AT, actor="cli:host tenure/0"
    )


def leaf(made: Entry) -> Leaf:
    return make_leaf(made, entry_id="0" * 32, salt=bytes(16), pseudonym_key=b"k" * 32)


def judged(made: Leaf, *, index: int = 5, body: bytes | None = b"") -> tuple[list[str], list[str]]:
    told: list[str] = []
    given = made.body if body == b"" else body
    found = list(Epochs(tell=told.append).judge(index, made.envelope, given, before=BEFORE))
    return found, told


def test_a_sound_one_tells_what_the_log_follows() -> None:
    found, [told] = judged(leaf(entry()))
    assert found == []
    for part in ("Entry 5", "example.org/log/2", "disk failed", "at size 9", "behind entry 4", "01010101"):
        assert part in told


def test_only_its_own_type_begins_an_epoch(leaves: Sequence[Leaf]) -> None:
    assert epoch.begins(leaf(entry()).envelope)
    assert not any(epoch.begins(one.envelope) for one in leaves)


@pytest.mark.parametrize(
    ("gap", "index"),
    [
        (GAP, 4),
        (replace(GAP, held=replace(GAP.held, size=4)), 5),
        (replace(GAP, held=replace(GAP.held, root=bytes(32))), 5),
    ],
)
def test_one_that_follows_another_tree_is_a_defect(gap: Gap, index: int) -> None:
    found, _ = judged(leaf(entry(gap)), index=index)
    assert found == ["the epoch says that it follows another tree than the leaves before it"]


@pytest.mark.parametrize("body", [None, b"{}", b"no json"])
def test_one_without_its_body_is_a_defect(body: bytes | None) -> None:
    found, told = judged(leaf(entry()), body=body)
    assert len(found) == 1
    assert told == []


def test_one_that_says_it_is_a_projects_own_is_a_defect() -> None:
    found, told = judged(leaf(replace(entry(), project="support-eu")))
    assert len(found) == 1
    assert told == []


def test_one_that_lacks_a_field_is_a_defect(as_leaves: Callable[[Sequence[Entry]], list[Leaf]]) -> None:
    made = entry()
    less = {name: value for name, value in made.body.items() if name != "anchored"}
    [lying] = as_leaves([replace(made, body=less)])
    found, told = judged(lying)
    assert len(found) == 1
    assert told == []


def test_an_export_that_leaves_the_epochs_body_out_does_not_verify(
    entries: list[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    bundled: Callable[[Sequence[Leaf]], bytes],
    check: Callable[[bytes], Report],
) -> None:
    report = check(bundled(as_leaves([*entries, entry()])))
    assert not report.verified
    [problem] = report.problems
    assert (problem.index, problem.member) == (len(entries), "envelopes.jsonl.gz")
    assert "missing" in problem.what


@pytest.fixture
def opened(
    entries: list[Entry], leaves: Sequence[Leaf], as_leaves: Callable[[Sequence[Entry]], list[Leaf]]
) -> list[Leaf]:
    """A log that goes on in a second epoch, and has an entry in it."""
    held = Tree(origin="example.org/log", size=len(leaves), root=root_of(one.hash for one in leaves))
    return as_leaves([*entries, entry(replace(GAP, held=held)), entries[0]])


def with_epoch(leaves: Sequence[Leaf], pseudonym: str) -> list[tuple[int, bytes]]:
    return sorted([*own(leaves, pseudonym), (len(leaves) - 2, leaves[-2].body)])


def test_an_export_that_holds_the_epochs_body_verifies_and_tells_what_it_follows(
    opened: list[Leaf], signer: Ed25519Signer, pseudonym: str, check: Callable[[bytes], Report]
) -> None:
    report = check(write(opened, signer, pseudonym, bodies=with_epoch(opened, pseudonym)))
    assert report.problems == ()
    [note] = report.notes
    assert f"Entry {len(opened) - 2} opens the epoch example.org/log/2" in note
    # A range begins at a checkpoint of the epoch that it ends in.
    with pytest.raises(BundleRefused, match="at which the range begins"):
        write(opened, signer, pseudonym, beginning=beginning(opened, signer, 13))


@pytest.mark.parametrize(
    ("number", "origin", "gap", "told"),
    [
        (1, "example.org/log/1", GAP, "number 1, and 1 came before it"),
        (77, "elsewhere.example/log", GAP, "not that of number 77"),
        (3, "example.org/log/2", GAP, "not that of number 3"),
        (2, "example.org/other/2", GAP, "not that of number 2"),
        (
            2,
            "example.org/log/2",
            replace(GAP, anchored=replace(GAP.anchored, origin="example.org/log/2")),
            "not that of number 2",
        ),
        (2, "example.org/log/2", replace(GAP, agreed=6), "agree up to 6"),
        (2, "example.org/log/2", replace(GAP, anchored=replace(GAP.anchored, size=3)), "agree up to 4"),
    ],
)
def test_one_that_contradicts_itself_is_a_defect(number: int, origin: str, gap: Gap, told: str) -> None:
    made = bodies.log_epoch(
        number=number, origin=origin, gap=gap, reason="disk failed", at=AT, actor="cli:host tenure/0"
    )
    [found], _ = judged(leaf(made))
    assert told in found


def test_one_of_a_later_epoch_may_follow_a_shorter_tree_and_another_setting_of_the_origin() -> None:
    """After a second restore the anchored tree of epoch 2 may end before what both trees share of epoch 1."""
    anchored = Tree(origin="example.org/new/2", size=3, root=b"\1" * 32)
    held = replace(GAP.held, origin="example.org/new")
    made = bodies.log_epoch(
        number=3,
        origin="example.org/new/3",
        gap=replace(GAP, anchored=anchored, held=held),
        reason="again",
        at=AT,
        actor="cli:host tenure/0",
    )
    epochs = Epochs(tell=lambda _: None, number=2)
    later = leaf(made)
    assert list(epochs.judge(5, later.envelope, later.body, before=BEFORE)) == []
    assert [epochs.is_of(f"example.org/new{end}") for end in ("/3", "/2", "")] == [True, False, False]
    assert list(epochs.judge(5, later.envelope, later.body, before=BEFORE)) == [
        "the epoch has the number 3, and 3 came before it"
    ]


def test_a_checkpoint_of_before_the_epoch_does_not_cover_it(
    opened: list[Leaf], signer: Ed25519Signer, pseudonym: str, check: Callable[[bytes], Report]
) -> None:
    root = root_of(one.hash for one in opened)
    note = sign_checkpoint(Checkpoint(origin=signer.name, size=len(opened), root=root), signer)
    raw = write(opened, signer, pseudonym, bodies=with_epoch(opened, pseudonym), checkpoint_note=note)
    [problem] = check(raw).problems
    assert (problem.member, problem.index) == ("checkpoint", None)
    assert "in epoch 2 by its entries" in problem.what


def test_an_epoch_that_follows_another_tree_than_the_exports_is_found(
    entries: list[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    signer: Ed25519Signer,
    pseudonym: str,
    check: Callable[[bytes], Report],
) -> None:
    held = Tree(origin="example.org/log", size=len(entries), root=bytes(32))
    bent = as_leaves([*entries, entry(replace(GAP, held=held)), entries[0]])
    report = check(write(bent, signer, pseudonym, bodies=with_epoch(bent, pseudonym)))
    assert [(one.index, one.member) for one in report.problems] == [(len(entries), "bodies.jsonl.gz")]
    assert "another tree" in report.problems[0].what


def test_a_body_of_an_epoch_that_is_not_the_leafs_own_stops_the_export(
    opened: list[Leaf], signer: Ed25519Signer, pseudonym: str
) -> None:
    at = len(opened) - 2
    other = [*own(opened[:at], pseudonym), (at, opened[at].body.replace(b"disk failed", b"disk filled"))]
    with pytest.raises(BundleRefused, match=f"leaf {at} is not the one"):
        write(opened, signer, pseudonym, bodies=other)


def test_single_entries_bring_the_epochs_entry_along(
    opened: list[Leaf], signer: Ed25519Signer, pseudonym: str, check: Callable[[bytes], Report]
) -> None:
    crash = subject_pseudonym(b"k" * 32, "thr_crash").encode()
    mine = [index for index, _ in own(opened, pseudonym) if crash in opened[index].envelope][:3]
    report = check(single(opened, signer, pseudonym, [*mine, len(opened) - 2]))
    assert report.problems == ()
    assert (report.entries, report.bodies) == (4, 4)
    assert any("opens the epoch" in one for one in report.notes)


def test_a_copy_of_a_checkpoint_of_another_epoch_is_refused_when_an_export_is_made(
    leaves: Sequence[Leaf], signer: Ed25519Signer, pseudonym: str
) -> None:
    later = Checkpoint(origin=f"{signer.name}/2", size=5, root=root_of(one.hash for one in leaves[:5]))
    with pytest.raises(BundleRefused, match="An anchor is of the log"):
        write(leaves, signer, pseudonym, anchors={"kept": sign_checkpoint(later, signer)})
