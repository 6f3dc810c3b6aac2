"""What every anchor promises, whichever it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.anchors.conftest import ORIGIN, note
from worker.anchors.base import Anchor, AnchorFailed, AnchorForked, checkpoint_in, path_of
from worker.audit.note import Ed25519Signer

Make = Callable[[], Anchor]


def sizes(anchor: Anchor) -> dict[str, int]:
    return {one.checkpoint.origin: one.checkpoint.size for one in anchor.newest()}


def test_an_empty_anchor_holds_nothing(make: Make) -> None:
    assert make().newest() == []
    assert make().holds(ORIGIN, 1) is None


def test_what_was_published_is_held_by_whoever_opens_it_next(make: Make) -> None:
    make().publish([note(9), note(10), note(1_000_001)])
    make().publish([note(999_999)])
    assert sizes(make()) == {ORIGIN: 1_000_001}
    held = make().holds(ORIGIN, 10)
    assert held is not None
    assert held.checkpoint == checkpoint_in(note(10))
    assert make().holds(ORIGIN, 11) is None


def test_each_origin_has_its_own_newest(make: Make) -> None:
    make().publish([note(80), note(52, origin=f"{ORIGIN}/2"), note(3, origin="other")])
    assert sizes(make()) == {ORIGIN: 80, f"{ORIGIN}/2": 52, "other": 3}


def test_publishing_again_changes_nothing(make: Make) -> None:
    make().publish([note(7)])
    make().publish([note(7)])
    make().publish([])
    assert sizes(make()) == {ORIGIN: 7}


def test_another_root_of_the_same_size_is_a_fork_and_never_replaces_the_first(make: Make) -> None:
    make().publish([note(7, root=1)])
    with pytest.raises(AnchorForked) as told:
        make().publish([note(7, root=2)])
    assert "size 7" in told.value.problem
    held = make().holds(ORIGIN, 7)
    assert held is not None
    assert held.checkpoint.root == b"\1" * 32


def test_another_signature_under_the_same_checkpoint_is_no_fork(make: Make) -> None:
    make().publish([note(7)])
    make().publish([note(7, signer=Ed25519Signer.from_seed(ORIGIN, b"\x08" * 32))])
    assert sizes(make()) == {ORIGIN: 7}


def test_an_origin_that_looks_like_a_path_stays_inside(make: Make, tmp_path: Path) -> None:
    names = ["..", ".git", "../../up", "/etc/log", "a/../b", "x*y?[z]", "ü"]
    before = set(tmp_path.iterdir())
    make().publish([note(5, origin=name) for name in names])
    assert sizes(make()) == dict.fromkeys(names, 5)
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "anchors"}


def test_a_log_of_a_million_million_leaves_cannot_be_named() -> None:
    assert path_of(ORIGIN, 10**12 - 1).endswith("/999/999/999/999")
    with pytest.raises(AnchorFailed):
        path_of(ORIGIN, 10**12)
