"""What a verification finds: problems, the report, and the comparison of the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from worker.audit import manifest
from worker.audit.archive import Archive, BadArchive
from worker.audit.merkle import Frontier
from worker.audit.observed import cut

MAX_PROBLEMS = 100
_SAID = 300


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
    problems: tuple[Problem, ...] = ()
    problem_count: int = 0
    notes: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Findings:
    """What has been found so far; grows while the bundle is walked."""

    problems: list[Problem] = field(default_factory=list)
    count: int = 0
    entries: int = 0
    bodies: int = 0
    notes: list[str] = field(default_factory=list)
    frontier: Frontier = field(default_factory=Frontier)

    def add(self, member: str, what: str, index: int | None = None) -> None:
        """Note a defect; what a hostile bundle says of itself is cut to plain text."""
        self.count += 1
        if len(self.problems) < MAX_PROBLEMS:
            told = cut(what, _SAID) or ""
            self.problems.append(Problem(member=cut(member, _SAID) or "", index=index, what=told))

    def remark(self, what: str) -> None:
        """Note what is no defect, and a reader should know."""
        if len(self.notes) < MAX_PROBLEMS:
            self.notes.append(cut(what, _SAID) or "")


def until_damage(pieces: Iterable[bytes], found: Findings, member: str) -> Iterator[bytes]:
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
        self._rest = b""
        chunks = archive.chunks(manifest.DELETIONS) if self._open else iter(())
        self._chunks = until_damage(chunks, found, manifest.DELETIONS)

    def expect(self, line: str, index: int | None = None) -> None:
        """Compare the next bytes; the first difference is told, the rest then has no meaning."""
        wanted = line.encode()
        while self._open and len(self._rest) < len(wanted):
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._rest += chunk
        if self._open and not self._rest.startswith(wanted):
            self._found.add(manifest.DELETIONS, "the table differs from what the bodies give", index)
            self._open = False
        self._rest = self._rest[len(wanted) :]

    def close(self) -> None:
        """Tell whether anything stands behind the last row."""
        if self._open and (self._rest or next(self._chunks, b"")):
            self._found.add(manifest.DELETIONS, "the table has more rows than the bodies give")
