"""Bodies that are not there any more, and the entries that say so.

A body may be missing where an entry behind it says that it was shredded or pruned: ``body.shredded`` (of
the same project) or ``log.pruned`` (of no project) with ``leaves``, a list of ``[start, end]`` ranges of
leaf indices, the end not included. Every other body of a project has to be in its export, and no entry may
say of a body that it is gone while it is there.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from worker.audit.entry import EntryType
from worker.audit.reading import Body, Envelope, Misshapen, items

_SAYING = frozenset({EntryType.BODY_SHREDDED, EntryType.LOG_PRUNED})
# What was pruned, and what an epoch follows.
_OF_ALL = frozenset({EntryType.LOG_PRUNED, EntryType.LOG_EPOCH})


def tells_of_all(envelope: Envelope) -> bool:
    """Tell whether the body of this entry goes into the export of every project."""
    return envelope.project is None and envelope.type in _OF_ALL


def says_gone(envelope: Envelope) -> bool:
    """Tell whether this entry says that bodies before it are gone."""
    return envelope.type in _SAYING


@dataclass(slots=True, kw_only=True)
class Gone:
    """Collects missing bodies and what excuses them; the entry that does always comes later."""

    _missing: array[int] = field(default_factory=lambda: array("Q"))
    _there: array[int] = field(default_factory=lambda: array("Q"))
    _ranges: list[tuple[int, int]] = field(default_factory=list)
    _said_by: array[int] = field(default_factory=lambda: array("Q"))

    def miss(self, index: int) -> None:
        """Note that the body of an own entry is not there."""
        self._missing.append(index)

    def see(self, index: int) -> None:
        """Note that the body of an own entry is there."""
        self._there.append(index)

    def excuse(self, index: int, body: Body) -> None:
        """Take what an entry says is gone; raises Misshapen, also for what lies behind the entry."""
        for one in items(body, "leaves"):
            match one:
                case [int(start), int(end)] if 0 <= start < end <= index:
                    self._ranges.append((start, end))
                    self._said_by.append(index)
                case _:
                    raise Misshapen("What was shredded or pruned is no range of leaves before the entry.")

    def unexcused(self) -> Iterator[int]:
        """Yield the leaves whose body is missing without a word, in order."""
        ranges = _merged(self._ranges)
        starts = [start for start, _ in ranges]
        for index in self._missing:
            at = bisect_right(starts, index) - 1
            if at < 0 or index >= ranges[at][1]:
                yield index

    def overstated(self) -> Iterator[int]:
        """Yield the entries that say of a body that it is gone, and it is there."""
        last = -1
        for (start, end), index in zip(self._ranges, self._said_by, strict=True):
            if index != last and bisect_left(self._there, start) < bisect_left(self._there, end):
                yield (last := index)


def ranges_of(indices: Iterable[int]) -> list[tuple[int, int]]:
    """Return the runs [start, end) of indices that are in order."""
    return _merged([(index, index + 1) for index in indices])


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged
