"""Where a bundle's range begins and ends, and copies of heads that were kept elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from worker.audit import manifest
from worker.audit.archive import Archive, BadArchive
from worker.audit.checkpoint import Checkpoint, parse_checkpoint
from worker.audit.findings import Findings
from worker.audit.growing import Growing
from worker.audit.keys import LogKey, open_checkpoint
from worker.audit.manifest import Manifest
from worker.audit.merkle import BadTree, Frontier, verify_consistency
from worker.audit.note import NoteRefused, NotSigned, decode_base64, split_note

_MOST_ANCHORS = 1000


def hash_lines(hashes: Iterable[bytes]) -> str:
    """Write hashes one a line in base64, as ``frontier.start`` and ``consistency.txt`` hold them."""
    return "".join(f"{base64.b64encode(one).decode()}\n" for one in hashes)


def read_text(archive: Archive, found: Findings, name: str) -> str:
    """Return a small member as text; empty where it is missing, which is told elsewhere."""
    if name not in archive.names:
        return ""
    try:
        return archive.read(name).decode()
    except (BadArchive, UnicodeDecodeError) as broken:
        found.add(name, f"the member is no text ({broken})")
        return ""


def read_head(archive: Archive, found: Findings, keys: Sequence[LogKey], name: str) -> Checkpoint | None:
    """Return the checkpoint of a member that a known key signed."""
    if name not in archive.names:
        return None
    note = read_text(archive, found, name)
    try:
        return open_checkpoint(note, keys)
    except NotSigned as refused:
        found.add(name, f"{refused.problem} {_whose(note, keys)}")
    except NoteRefused as refused:
        found.add(name, refused.problem)
    return None


def _whose(note: str, keys: Sequence[LogKey]) -> str:
    """Say whose log it is where the keys are of others: the usual mistake."""
    origin = parse_checkpoint(split_note(note)[0]).origin
    names = sorted({one.vkey.partition("+")[0] for one in keys})
    return f"It is of the log {origin}, the keys are of {', '.join(names) or 'none'}."


def read_start(
    archive: Archive, found: Findings, keys: Sequence[LogKey], stated: Manifest, end: Checkpoint | None
) -> Frontier:
    """Return the frontier that the range grows from: it has to be that of the head signed there."""
    if not stated.first:
        return Frontier()
    start = read_head(archive, found, keys, manifest.START)
    try:
        frontier = Frontier(size=stated.first, hashes=_hashes(archive, found, manifest.FRONTIER))
    except BadTree as broken:
        found.add(manifest.FRONTIER, broken.problem)
        return Frontier()
    if start is None:
        return frontier
    if (start.size, start.root) != (frontier.size, frontier.root()):
        found.add(manifest.FRONTIER, "the frontier is not that of checkpoint.start")
    if end and (start.origin != end.origin or not _continues(archive, found, start, end)):
        found.add(manifest.CONSISTENCY, "the checkpoint does not continue checkpoint.start")
    return frontier


def _continues(archive: Archive, found: Findings, start: Checkpoint, end: Checkpoint) -> bool:
    proof = _hashes(archive, found, manifest.CONSISTENCY)
    return verify_consistency(
        old=start.size, new=end.size, old_root=start.root, new_root=end.root, proof=proof
    )


def _hashes(archive: Archive, found: Findings, name: str) -> tuple[bytes, ...]:
    decoded = [decode_base64(line) for line in read_text(archive, found, name).split("\n")[:-1]]
    return tuple(one or b"" for one in decoded)


@dataclass(slots=True)
class Anchors:
    """Copies of checkpoints that were kept elsewhere: by member name, and given to the verifier."""

    found: Findings
    heads: list[tuple[str, Checkpoint]] = field(default_factory=list)

    def read(
        self, archive: Archive, keys: Sequence[LogKey], end: Checkpoint | None, given: Sequence[str]
    ) -> None:
        """Read those of the bundle and the given ones; each has to be signed for this log."""
        names = sorted(name for name in archive.names if name.startswith(manifest.ANCHOR_FOLDER))
        for name in names[:_MOST_ANCHORS]:
            self._take(name, read_text(archive, self.found, name), keys, end)
        for number, note in enumerate(given, 1):
            self._take(f"anchor {number}", note, keys, end)

    def _take(self, name: str, note: str, keys: Sequence[LogKey], end: Checkpoint | None) -> None:
        try:
            head = open_checkpoint(note, keys)
        except NoteRefused as refused:
            self.found.add(name, refused.problem)
            return
        if end and head.origin != end.origin:
            self.found.add(name, f"the checkpoint is of the log {head.origin}, the bundle of {end.origin}")
        elif any(one.size == head.size and one.root != head.root for _, one in self.heads):
            self.found.add(name, "two checkpoints of one size have different roots")
        else:
            self.heads.append((name, head))

    @property
    def expected(self) -> dict[int, bytes]:
        """The root at each size that a copy states."""
        return {head.size: head.root for _, head in self.heads}

    def compare(self, growing: Growing) -> None:
        """Tell which copies contradict the bundle; those outside of its range can say nothing."""
        for name, head in self.heads:
            if head.size in growing.differing:
                what = f"the log had another root at {head.size} entries: its history was rewritten"
                self.found.add(name, what)
            elif head.size in growing.unreached:
                self.found.notes.append(
                    f"{name} is of {head.size} entries, which this bundle does not reach; not compared."
                )
