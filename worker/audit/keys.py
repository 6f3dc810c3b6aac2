"""The keys that sign a log, each valid for a range of tree sizes: a retired key signs nothing later.

In `keys.txt` a line is a verifier key (`name+hash+base64`), and after a rotation the first tree size that it
may sign, and the last where it is retired. A line without sizes is valid for every size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from worker.audit.checkpoint import Checkpoint, parse_checkpoint
from worker.audit.note import NoteRefused, NotSigned, open_note, parse_vkey, read_keys, split_note

# For so many checkpoints the retiring key signs beside the new one: whoever knows only the old key has a day
# without news, or 24 minutes with, in which both lines vouch for the new one.
BOTH_SIGN = 24
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_MOST_PARTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKey:
    """A verifier key, and the first and last tree size that it may sign; ``until`` None is no end."""

    vkey: str
    since: int = 0
    until: int | None = None

    @property
    def line(self) -> str:
        """The line of `keys.txt`."""
        if self.until is not None:
            return f"{self.vkey} {self.since} {self.until}"
        return f"{self.vkey} {self.since}" if self.since else self.vkey

    def covers(self, size: int) -> bool:
        """Whether this key may sign the tree of ``size`` leaves."""
        return self.since <= size and (self.until is None or size <= self.until)


def parse_key(line: str) -> LogKey:
    """Read one line of `keys.txt`; raises NoteRefused."""
    vkey, *sizes = line.split(" ")
    parse_vkey(vkey)
    if len(sizes) >= _MOST_PARTS or not all(map(_SIZE.fullmatch, sizes)):
        raise NoteRefused(f"{line[:200]!r} is no key with its tree sizes (KEY FIRST LAST).")
    since = int(sizes[0]) if sizes else 0
    return LogKey(vkey=vkey, since=since, until=int(sizes[1]) if sizes[1:] else None)


def parse_keys(text: str) -> list[LogKey]:
    """Read a `keys.txt`; raises NoteRefused for a line that is no key."""
    return [parse_key(line) for line in read_keys(text)]


def keys_at(keys: Iterable[LogKey], size: int) -> list[str]:
    """Return the verifier keys that may sign the tree of ``size`` leaves."""
    return [one.vkey for one in keys if one.covers(size)]


def open_checkpoint(note: str, keys: Sequence[LogKey]) -> Checkpoint:
    """Return the checkpoint that a key of its size signed; raises NoteRefused."""
    stated = parse_checkpoint(split_note(note)[0])
    usable = keys_at(keys, stated.size)
    try:
        return parse_checkpoint(open_note(note, usable))
    except NotSigned as refused:
        if len(usable) == len(keys):
            raise
        problem = f"No key that may sign the tree of {stated.size} leaves signed this note."
        raise NotSigned(problem, repair="A key signs the tree sizes behind it in keys.txt.") from refused
