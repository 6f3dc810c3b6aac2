"""The folder: whole files only, never replaced, and told when it cannot be used."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.anchors.conftest import ORIGIN, note
from worker.anchors.base import AnchorFailed, AnchorForked, path_of
from worker.anchors.folder import FolderAnchor


def test_a_checkpoint_is_one_read_only_file_with_the_notes_exact_bytes(tmp_path: Path) -> None:
    FolderAnchor(tmp_path).publish([note(42)])
    file = tmp_path / "checkpoint" / "test.local%2Fretention" / "000" / "000" / "000" / "042"
    assert file.read_bytes() == note(42).encode()
    assert file.stat().st_mode & 0o222 == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def test_of_many_writers_at_once_one_wins_and_the_others_see_it(tmp_path: Path) -> None:
    def publish(root: int) -> bool:
        try:
            FolderAnchor(tmp_path).publish([note(size, root=root) for size in range(1, 20)])
        except AnchorForked:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(publish, [1] * 8)) == 8
        assert sum(pool.map(publish, [1, 2] * 4)) == 4
    held = FolderAnchor(tmp_path).holds(ORIGIN, 19)
    assert held is not None
    assert held.checkpoint.root == b"\1" * 32


def test_folders_that_a_crash_left_empty_are_passed_over(tmp_path: Path) -> None:
    FolderAnchor(tmp_path).publish([note(42)])
    (tmp_path / "checkpoint" / "test.local%2Fretention" / "000" / "001" / "234").mkdir(parents=True)
    (tmp_path / "checkpoint" / "test.local%2Fretention" / "000" / "000" / "000" / ".new.xyz").touch()
    (tmp_path / "checkpoint" / ".tmp").mkdir()
    assert [one.checkpoint.size for one in FolderAnchor(tmp_path).newest()] == [42]


@pytest.mark.parametrize("text", ["", "no note", f"{ORIGIN}\n42\n", note(43), note(42, origin="other")])
def test_what_is_no_checkpoint_of_its_place_is_told_and_not_passed_over(tmp_path: Path, text: str) -> None:
    file = tmp_path / path_of(ORIGIN, 42)
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(AnchorFailed) as told:
        FolderAnchor(tmp_path).newest()
    assert str(file) in told.value.problem
    assert told.value.repair
    with pytest.raises((AnchorFailed, AnchorForked)):
        FolderAnchor(tmp_path).publish([note(42)])
    assert file.read_text() == text


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    anchor = FolderAnchor(tmp_path / "file" / "anchors")
    with pytest.raises(AnchorFailed, match="cannot be used"):
        anchor.publish([note(1)])
    with pytest.raises(AnchorFailed, match="cannot be used"):
        anchor.newest()


def test_every_file_and_its_folders_are_forced_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        forced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    FolderAnchor(tmp_path / "anchors").publish([note(42)])
    leaf = (tmp_path / "anchors" / path_of(ORIGIN, 42)).parent
    assert any(one.startswith(f"{leaf}/.new.") for one in forced)
    assert {str(tmp_path), str(tmp_path / "anchors"), str(leaf.parent)} <= set(forced)
    # The folder once more, after the file stands in it.
    assert forced[-1] == str(leaf)
