"""Bodies that are not there any more, and the entries that say so.

A body may be missing where an entry behind it says that it was shredded or pruned: ``body.shredded`` (of
the same project) or ``log.pruned`` (of no project) with ``leaves``, a list of ``[start, end]`` ranges of
leaf indices, the end not included, and ``count``, how many leaves those are. Every other body of a project
has to be in its export, and no entry may say of a body that it is gone while it is there. The bodies of the
entries that say so stay, so nothing excuses theirs.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from worker.audit.entry import EntryType
from worker.audit.reading import Body, Envelope, Misshapen, items, number

_SHREDDED, _PRUNED = EntryType.BODY_SHREDDED.value, EntryType.LOG_PRUNED.value
# What was pruned, and what an epoch follows.
_OF_ALL = frozenset({EntryType.LOG_PRUNED, EntryType.LOG_EPOCH})
# So many more are merged at once.
_MOST_LOOSE = 10_000


def tells_of_all(envelope: Envelope) -> bool:
    """Tell whether the body of this entry goes into the export of every project."""
    return envelope.project is None and envelope.type in _OF_ALL


def says_gone(envelope: Envelope) -> bool:
    """Tell whether this entry says that bodies before it are gone."""
    return envelope.type == (_PRUNED if envelope.project is None else _SHREDDED)


@dataclass(slots=True, kw_only=True)
class Gone:
    """Collects missing bodies and what excuses them; the entry that does always comes later.

    Leaves come in order, so what an entry says of those before it is compared at once. Of its ranges those
    are kept that excuse anything, and merged: whatever is listed, no more than bodies are missing.
    """

    _missing: array[int] = field(default_factory=lambda: array("Q"))
    _there: array[int] = field(default_factory=lambda: array("Q"))
    _overstated: array[int] = field(default_factory=lambda: array("Q"))
    # Starts and ends of what is gone; the first ``_settled`` are merged, the rest stand as they came.
    _starts: array[int] = field(default_factory=lambda: array("Q"))
    _ends: array[int] = field(default_factory=lambda: array("Q"))
    _settled: int = 0

    def miss(self, index: int) -> None:
        """Note that the body of an own entry is not there."""
        self._missing.append(index)

    def see(self, index: int) -> None:
        """Note that the body of an own entry is there."""
        self._there.append(index)

    def excuse(self, index: int, body: Body) -> None:
        """Take what an entry says is gone; raises Misshapen, also for what lies behind the entry."""
        ranges, count = list[tuple[int, int]](), 0
        for one in items(body, "leaves"):
            match one:
                case [int(start), int(end)] if 0 <= start < end <= index:
                    ranges.append((start, end))
                    count += end - start
                case _:
                    raise Misshapen("What was shredded or pruned is no range of leaves before the entry.")
        if number(body, "count") != count:
            raise Misshapen("What was shredded or pruned is counted otherwise than its ranges give.")
        merged = _merged(ranges)
        if any(_any_within(self._there, start, end) for start, end in merged):
            self._overstated.append(index)
        for start, end in merged:
            if _any_within(self._missing, start, end):
                self._starts.append(start)
                self._ends.append(end)
        if len(self._starts) > 2 * self._settled + _MOST_LOOSE:
            self._settle()

    def unexcused(self) -> Iterator[int]:
        """Yield the leaves whose body is missing without a word, in order."""
        self._settle()
        starts, ends = self._starts, self._ends
        for index in self._missing:
            at = bisect_right(starts, index) - 1
            if at < 0 or index >= ends[at]:
                yield index

    def overstated(self) -> Iterator[int]:
        """Yield the entries that say of a body that it is gone, and it is there."""
        yield from self._overstated

    def _settle(self) -> None:
        """Merge the ranges, in arrays: as pairs they would take ten times as much."""
        order = sorted(range(len(self._starts)), key=self._starts.__getitem__)
        starts, ends = array("Q"), array("Q")
        for at in order:
            start, end = self._starts[at], self._ends[at]
            if ends and start <= ends[-1]:
                ends[-1] = max(ends[-1], end)
            else:
                starts.append(start)
                ends.append(end)
        self._starts, self._ends, self._settled = starts, ends, len(starts)


def ranges_of(indices: Iterable[int]) -> list[tuple[int, int]]:
    """Return the runs [start, end) of indices that are in order."""
    return _merged([(index, index + 1) for index in indices])


def _any_within(indices: array[int], start: int, end: int) -> bool:
    """Tell whether any of the indices, which are in order, lies in [start, end)."""
    return bisect_left(indices, start) < bisect_left(indices, end)


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged
