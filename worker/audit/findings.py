"""What a verification finds: problems, the report, and the comparison of the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import TypeVar

from worker.audit import manifest
from worker.audit.archive import Archive, BadArchive
from worker.audit.observed import cut

MAX_PROBLEMS = 100
# After so many the rest of a bundle has nothing to say, and a hostile one could say it without end.
MAX_DEFECTS = 10_000
_SAID = 300

_Piece = TypeVar("_Piece")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One defect: where (member, and leaf index where it is about an entry) and what."""

    member: str
    index: int | None
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was checked and found. ``problems`` are the first hundred of ``problem_count``.

    ``verified`` says that nothing contradicts the keys used; only ``key_authenticated`` says that those
    came another way than in the bundle. ``bodies`` are the project's own, ``entries`` all leaves read.
    ``first_bad_entry`` is the lowest leaf index that a problem is about.
    """

    verified: bool
    key_authenticated: bool
    origin: str = ""
    size: int = 0
    root: str = ""
    project: str = ""
    entries: int = 0
    bodies: int = 0
    grades: dict[str, int] = field(default_factory=dict)
    scope: str = ""
    of: str | None = None
    first: int = 0
    bodies_gone: int = 0
    first_bad_entry: int | None = None
    problems: tuple[Problem, ...] = ()
    problem_count: int = 0
    notes: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Findings:
    """What has been found so far; grows while the bundle is walked.

    ``hopeless`` says that so much is wrong that nothing more is read.
    """

    problems: list[Problem] = field(default_factory=list)
    count: int = 0
    entries: int = 0
    bodies: int = 0
    hopeless: bool = False
    first_bad: int | None = None
    notes: list[str] = field(default_factory=list)

    def in_order(self) -> tuple[Problem, ...]:
        """Return what was found of entries in the order of the log, then the rest."""
        return tuple(sorted(self.problems, key=lambda one: inf if one.index is None else one.index))

    def add(self, member: str, what: str, index: int | None = None) -> None:
        """Note a defect; what a hostile bundle says of itself is cut to plain text."""
        self.count += 1
        self.hopeless = self.count >= MAX_DEFECTS
        if index is not None and (self.first_bad is None or index < self.first_bad):
            self.first_bad = index
        if len(self.problems) < MAX_PROBLEMS:
            told = cut(what, _SAID) or ""
            self.problems.append(Problem(member=cut(member, _SAID) or "", index=index, what=told))

    def remark(self, what: str) -> None:
        """Note what is no defect, and a reader should know."""
        if len(self.notes) < MAX_PROBLEMS:
            self.notes.append(cut(what, _SAID) or "")


def until_damage(pieces: Iterable[_Piece], found: Findings, member: str) -> Iterator[_Piece]:
    """Yield what can be read and note where it ends too early."""
    try:
        yield from pieces
    except BadArchive as broken:
        found.add(member, broken.problem)


class Table:
    """Compares deletions.csv, piece by piece, with the rows that the bodies give."""

    def __init__(self, archive: Archive, found: Findings) -> None:
        self._found = found
        self._open = manifest.DELETIONS in archive.names
        self._rest, self._at = b"", 0
        chunks = archive.chunks(manifest.DELETIONS) if self._open else iter(())
        self._chunks = until_damage(chunks, found, manifest.DELETIONS)

    def expect(self, line: str, index: int | None = None) -> None:
        """Compare the next bytes; the first difference is told, the rest then has no meaning."""
        if not self._open:
            return
        wanted = line.encode()
        while len(self._rest) - self._at < len(wanted):
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._rest, self._at = self._rest[self._at :] + chunk, 0
        if not self._rest.startswith(wanted, self._at):
            self._found.add(manifest.DELETIONS, "the table differs from what the bodies give", index)
            self._open = False
        self._at += len(wanted)

    def close(self) -> None:
        """Tell whether anything stands behind the last row."""
        if self._open and (self._rest[self._at :] or next(self._chunks, b"")):
            self._found.add(manifest.DELETIONS, "the table has more rows than the bodies give")
