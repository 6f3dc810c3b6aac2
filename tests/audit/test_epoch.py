"""An epoch's first leaf says what the log follows, and no export may leave it out or bend it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from worker.audit import bodies, epoch
from worker.audit.bodies import Gap, Tree
from worker.audit.entry import Entry
from worker.audit.envelope import Leaf, make_leaf
from worker.audit.findings import Report
from worker.audit.merkle import Frontier, leaf_hash

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
    found = list(epoch.judge(index, made.envelope, given, before=BEFORE, tell=told.append))
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
