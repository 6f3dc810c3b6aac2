"""An anchor that is a folder: on another disk, on a share that keeps versions, or under object lock.

A checkpoint is written whole beside its place, forced to the disk and then linked there: nobody reads half
of one, and a link never replaces what is there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from worker.anchors.base import (
    AnchorFailed,
    Mark,
    checkpoint_in,
    mark_at,
    newest_paths,
    path_of,
    require_same,
)

_REPAIR = "Give Tenure the right to write there, or set TENURE_ANCHOR_FOLDER to another folder."
_READ_ONLY = 0o444


@dataclass(frozen=True, slots=True)
class FolderAnchor:
    """Keeps checkpoints under ``folder``, which is made on first use."""

    folder: Path

    @property
    def name(self) -> str:
        """Its kind."""
        return "folder"

    @property
    def place(self) -> str:
        """The folder's own path."""
        return str(self.folder.absolute())

    def publish(self, notes: Sequence[str]) -> None:
        """Keep these checkpoints; raises AnchorFailed, AnchorForked."""
        for note in notes:
            write_once(self.folder, note)

    def newest(self) -> list[Mark]:
        """Return the largest checkpoint of every origin; raises AnchorFailed."""
        return [self._mark(path) for path in newest_paths(self._names)]

    def holds(self, origin: str, size: int) -> Mark | None:
        """Return the checkpoint of that size, if it is there; raises AnchorFailed."""
        path = path_of(origin, size)
        return self._mark(path) if (self.folder / path).exists() else None

    def _names(self, path: str) -> list[str]:
        try:
            with os.scandir(self.folder / path) as found:
                return [one.name for one in found]
        except FileNotFoundError:
            return []
        except OSError as e:
            raise _failed(self.folder, e) from e

    def _mark(self, path: str) -> Mark:
        file = self.folder / path
        return mark_at(_read(file), str(file.absolute()), path)


def write_once(folder: Path, note: str) -> str:
    """Keep one checkpoint as a file that is never replaced; returns its path below ``folder``.

    Safe to run twice and by two processes at once. Raises AnchorFailed, AnchorForked.
    """
    checkpoint = checkpoint_in(note)
    path = path_of(checkpoint.origin, checkpoint.size)
    file = folder / path
    try:
        _make_folders(folder, file.parent)
        if not file.exists():
            _link_whole(file, note)
    except OSError as e:
        raise _failed(folder, e) from e
    require_same(_read(file), note, str(file.absolute()))
    return path


def _link_whole(file: Path, note: str) -> None:
    with NamedTemporaryFile("w", dir=file.parent, prefix=".new.", encoding="utf-8", newline="") as made:
        made.write(note)
        made.flush()
        os.fchmod(made.fileno(), _READ_ONLY)
        os.fsync(made.fileno())
        # Whoever comes second finds the first one's file, and compares.
        with suppress(FileExistsError):
            os.link(made.name, file)
    _sync(file.parent)


def _make_folders(top: Path, leaf: Path) -> None:
    if leaf.is_dir():
        return
    leaf.mkdir(mode=0o755, parents=True, exist_ok=True)
    # A new folder is on the disk only once the folder that names it is.
    for one in (leaf, *leaf.parents):
        _sync(one)
        if one == top.parent:
            return


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as e:
        problem = f"The anchor {file} cannot be read ({type(e).__name__})."
        raise AnchorFailed(problem, repair="Give Tenure the right to read it, or bring it back.") from e


def _failed(folder: Path, error: OSError) -> AnchorFailed:
    return AnchorFailed(f"The anchor folder {folder} cannot be used: {error.strerror}.", repair=_REPAIR)
