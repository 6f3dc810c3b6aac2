"""Checkpoints are brought to every anchor until they are there, and the lag says how late they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.world.world import ACTOR, ORIGIN, World
from worker.anchors.base import Anchor, AnchorFailed, Mark
from worker.anchors.folder import FolderAnchor
from worker.flows.anchor import Lag, anchor, anchored_line, lags
from worker.flows.compare import Log
from worker.flows.seal import Sealer, seal
from worker.flows.tick import Beat, keep_house
from worker.store.log import Seal

HOUR = timedelta(hours=1)


@dataclass(slots=True)
class Fragile:
    """A folder that fails when it is told to."""

    inner: FolderAnchor
    name: str = "fragile"
    broken: bool = False
    published: list[int] = field(default_factory=list)

    @property
    def place(self) -> str:
        return self.inner.place

    def publish(self, notes: Sequence[str]) -> None:
        if self.broken:
            raise AnchorFailed("The disk is full.", repair="Make room.")
        self.inner.publish(notes)
        self.published.append(len(notes))

    def newest(self) -> list[Mark]:
        return self.inner.newest()

    def holds(self, origin: str, size: int) -> Mark | None:
        return self.inner.holds(origin, size)


def sealed(world: World, *anchors: Anchor) -> Seal:
    """Sign a checkpoint over one more entry."""
    world.register()
    made = seal(world.database, with_anchors(world, *anchors), clock=world.clock, force=True)
    assert made is not None
    return made


def with_anchors(world: World, *anchors: Anchor) -> Sealer:
    return replace(world.sealer, anchors=anchors)


def bring(world: World, *anchors: Anchor) -> list[Lag]:
    anchor(world.database, Log(origin=ORIGIN, anchors=anchors), clock=world.clock)
    with world.database.read() as db:
        return lags(db, anchors, world.clock.now())


def newest(one: Anchor) -> int:
    return max((mark.checkpoint.size for mark in one.newest()), default=0)


def test_every_checkpoint_is_one_file_and_nothing_is_late(world: World, tmp_path: Path) -> None:
    folder = FolderAnchor(tmp_path / "a")
    sizes = [sealed(world, folder).size for _ in range(3)]
    [lag] = bring(world, folder)
    assert all(folder.holds(ORIGIN, size) for size in sizes)
    # What sealing itself records is behind the checkpoint by nature, and makes nothing late.
    assert (lag.size, lag.entries, lag.late, lag.problem) == (sizes[-1], 1, timedelta(), "")


def test_an_anchor_that_fails_is_told_once_and_tried_again_while_the_others_go_on(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = FolderAnchor(tmp_path / "a"), Fragile(FolderAnchor(tmp_path / "b"), broken=True)
    first = sealed(world, good, bad)
    assert len([bring(world, bad, good) for _ in range(2)]) == 2
    assert [one.problem for one in bring(world, bad, good)] == ["The disk is full.", ""]
    assert newest(good) == first.size
    assert told(capsys).count("anchor.failed") == 1
    sealed(world, good, bad)
    bad.broken = False
    assert [one.problem for one in bring(world, bad, good)] == ["", ""]
    # Both that were missed, and then nothing any more.
    assert bad.published == [2]
    bring(world, bad, good)
    assert bad.published == [2]


def told(capsys: pytest.CaptureFixture[str]) -> str:
    seen = capsys.readouterr()
    return seen.out + seen.err


def test_the_lag_counts_from_the_first_checkpoint_that_waits_and_alerts_after_an_hour(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Fragile(FolderAnchor(tmp_path / "b"))
    sealed(world, bad)
    assert bring(world, bad)[0].late == timedelta()
    bad.broken = True
    sealed(world, bad)
    world.clock.move(HOUR - timedelta(minutes=5))
    sealed(world, bad)
    [lag] = bring(world, bad)
    assert HOUR - timedelta(minutes=6) < lag.late < HOUR
    assert lag.entries >= 3
    assert "anchor.lagging" not in told(capsys)
    world.clock.move(timedelta(minutes=6))
    for _ in range(3):
        bring(world, bad)
    assert told(capsys).count("anchor.lagging") == 1


def test_only_what_is_anchored_within_a_day_is_called_anchored(world: World, tmp_path: Path) -> None:
    bad = Fragile(FolderAnchor(tmp_path / "b"), broken=True)
    sealed(world, bad)

    def line() -> str:
        bring(world, bad)
        with world.database.read() as db:
            return anchored_line(db, [bad], world.clock.now())

    assert line().startswith("Not anchored")
    bad.broken = False
    assert line().startswith("Anchored")
    bad.broken = True
    sealed(world, bad)
    world.clock.move(23 * HOUR)
    assert line().startswith("Anchored")
    world.clock.move(2 * HOUR)
    assert line().startswith("Not anchored")


def test_an_anchor_that_lost_its_checkpoints_is_told_and_gets_them_again(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = FolderAnchor(tmp_path / "a")
    first, second = sealed(world, folder), sealed(world, folder)
    bring(world, folder)
    folder.folder.rename(tmp_path / "gone")
    bring(world, folder)
    assert "anchor.lost" in told(capsys)
    assert folder.holds(ORIGIN, first.size)
    assert newest(folder) == second.size


def test_another_folder_is_another_anchor_and_gets_them_all(world: World, tmp_path: Path) -> None:
    first = sealed(world)
    bring(world, FolderAnchor(tmp_path / "a"))
    other = FolderAnchor(tmp_path / "b")
    [lag] = bring(world, other)
    assert (lag.size, newest(other)) == (first.size, first.size)


def test_a_fork_is_alerted_and_the_anchors_own_stays(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from worker.audit.checkpoint import Checkpoint, sign_checkpoint

    folder = FolderAnchor(tmp_path / "a")
    made = sealed(world)
    other = Checkpoint(origin=ORIGIN, size=made.size, root=b"\1" * 32)
    folder.publish([sign_checkpoint(other, world.sealer.signer())])
    [lag] = bring(world, folder)
    assert "another checkpoint" in lag.problem
    assert "anchor.forked" in told(capsys)
    held = folder.holds(ORIGIN, made.size)
    assert held is not None
    assert held.checkpoint == other


def test_beats_own_round_seals_and_anchors(world: World, tmp_path: Path) -> None:
    folder = FolderAnchor(tmp_path / "a")
    world.register()
    keep_house(
        Beat(
            database=world.database,
            clock=world.clock,
            source=world.source,
            sealer=with_anchors(world, folder),
            actor=ACTOR,
        )
    )
    assert newest(folder) > 0
