"""The port of anchors, and what all of them have in common: one text file for each checkpoint.

A checkpoint of size 42 lies at ``checkpoint/<origin, quoted>/000/000/000/042``. The digits go by threes, so
that no folder ever holds more than a thousand names and the newest is found by looking at four of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from worker.audit.checkpoint import Checkpoint, parse_checkpoint
from worker.audit.note import NoteRefused
from worker.model.errors import TenureError

TOP = "checkpoint"
_DIGITS, _GROUP = 12, 3
_DEPTH = _DIGITS // _GROUP
_THREE = re.compile(rf"[0-9]{{{_GROUP}}}")


class AnchorFailed(TenureError):
    """An anchor could not be written or read just now; what was not delivered is tried again."""

    code = "anchor_failed"


class AnchorForked(TenureError):
    """An anchor holds another checkpoint of the same log and size: somebody signed two histories."""

    code = "anchor_forked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A checkpoint as an anchor holds it; ``place`` says where, for people."""

    checkpoint: Checkpoint
    place: str


class Anchor(Protocol):
    """Somewhere outside of the database. A further one needs a name, a place and these three methods."""

    @property
    def name(self) -> str:
        """Which kind this is; at most one of a kind is configured."""
        ...

    @property
    def place(self) -> str:
        """Where it is, for people; another place is another anchor."""
        ...

    def publish(self, notes: Sequence[str]) -> None:
        """Keep these checkpoints for good; those it has already change nothing.

        Returns once they are safe there. Raises AnchorFailed, and AnchorForked where it holds another
        checkpoint of that origin and size, which it never replaces.
        """
        ...

    def newest(self) -> list[Mark]:
        """Return the largest checkpoint of every origin that it holds; raises AnchorFailed."""
        ...

    def holds(self, origin: str, size: int) -> Mark | None:
        """Return the checkpoint of that size, if it has it; raises AnchorFailed."""
        ...


def checkpoint_in(note: str) -> Checkpoint:
    """Read a note's checkpoint without asking who signed it; raises NoteRefused.

    Safe for comparing: an anchor is trusted for what it held before, not for its signatures, and keys may
    have changed since.
    """
    text, separator, _ = note.rpartition("\n\n")
    if not separator:
        raise NoteRefused("The note has no signature lines behind an empty line.")
    return parse_checkpoint(f"{text}\n")


def folder_of(origin: str) -> str:
    """Return an origin as the name of one folder, which is never a hidden one or a step upwards."""
    name = quote(origin, safe="")
    return f"%2E{name[1:]}" if name.startswith(".") else name


def path_of(origin: str, size: int) -> str:
    """Return where a checkpoint lies, below the anchor's top; raises AnchorFailed from 10^12 leaves on."""
    digits = f"{size:0{_DIGITS}d}"
    if len(digits) > _DIGITS:
        raise AnchorFailed(f"A log of {size} leaves is larger than anchors can name.")
    parts = (digits[at : at + _GROUP] for at in range(0, _DIGITS, _GROUP))
    return "/".join((TOP, folder_of(origin), *parts))


def require_same(held: str, note: str, place: str) -> None:
    """Raise AnchorForked unless both notes are of one checkpoint; other signatures are no difference."""
    there, here = checkpoint_at(held, place), checkpoint_in(note)
    if there != here:
        problem = (
            f"{place} holds another checkpoint of {here.origin} at size {here.size}: its root is "
            f"{there.root.hex()[:16]}…, here it is {here.root.hex()[:16]}…."
        )
        raise AnchorForked(problem, repair="Keep both, and find out who signed the second history.")


def checkpoint_at(held: str, place: str) -> Checkpoint:
    """Read what an anchor holds; raises AnchorFailed for what is no checkpoint."""
    try:
        return checkpoint_in(held)
    except NoteRefused as e:
        problem = f"{place} is no checkpoint: {e.problem}"
        raise AnchorFailed(problem, repair="Bring the file back as it was; an anchor is never edited.") from e


def mark_at(held: str, place: str, path: str) -> Mark:
    """Return the mark that lies at a path; raises AnchorFailed where it is that of another path."""
    found = checkpoint_at(held, place)
    if path_of(found.origin, found.size) != path:
        problem = f"{place} holds the checkpoint of {found.origin} at size {found.size}."
        raise AnchorFailed(problem, repair="Bring the file back as it was; an anchor is never moved.")
    return Mark(checkpoint=found, place=place)


def newest_paths(names: Callable[[str], Sequence[str]]) -> list[str]:
    """Return the path of the largest checkpoint of every origin; ``names`` lists what a folder holds."""
    tops = [f"{TOP}/{name}" for name in sorted(names(TOP)) if not name.startswith(".")]
    found = (_largest(names, top, _DEPTH) for top in tops)
    return [path for path in found if path is not None]


def _largest(names: Callable[[str], Sequence[str]], path: str, depth: int) -> str | None:
    if depth == 0:
        return path
    # A crash may leave a folder empty, so the largest name need not lead to a checkpoint.
    for name in sorted(filter(_THREE.fullmatch, names(path)), reverse=True):
        found = _largest(names, f"{path}/{name}", depth - 1)
        if found is not None:
            return found
    return None
