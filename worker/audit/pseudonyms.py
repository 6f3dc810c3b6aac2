"""Which thread stands under which pseudonym: each under one, and under each one thread.

Threads are numbered in the order in which their pseudonyms are first met, so that whatever else is remembered
of a million of them stands in arrays.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass(slots=True, kw_only=True)
class Pseudonyms:
    """Numbers threads by pseudonym, and holds each pseudonym to one thread id.

    A pseudonym is 32 hex digits, kept as the number that they write. Of a thread id its 64-bit hash is kept,
    under a secret of this process.
    """

    _numbers: dict[int, int] = field(default_factory=dict)
    # By number: the hash of the thread's id (0: no body told it yet), and the leaf that told it first.
    _threads: array[int] = field(default_factory=lambda: array("q"))
    _leaves: array[int] = field(default_factory=lambda: array("q"))

    def number(self, pseudonym: str) -> int:
        """Return the number of a pseudonym, counted from 0."""
        numbers = self._numbers
        key = int(pseudonym, 16)
        found = numbers.get(key)
        if found is None:
            found = numbers[key] = len(numbers)
        return found

    def knows(self, pseudonym: str) -> bool:
        """Tell whether a pseudonym has a number; it gets none by that."""
        return int(pseudonym, 16) in self._numbers

    def is_of(self, number: int, thread: str, index: int) -> bool:
        """Tell whether the thread is the one of this pseudonym: the first that a body, at a leaf, told."""
        told, threads = hash(thread) or 1, self._threads
        try:
            known = threads[number]
        except IndexError:
            more = number + 1 - len(threads)
            threads.extend([0] * more)
            self._leaves.extend([0] * more)
            known = 0
        if known:
            return known == told
        threads[number], self._leaves[number] = told, index
        return True

    def leaf(self, number: int) -> int:
        """Return the leaf at which a body first told the thread of this pseudonym."""
        return self._leaves[number]

    def doubled(self) -> Iterator[int]:
        """Yield the leaves at which a thread that had a pseudonym was first told under another."""
        twice = {one for one, after in pairwise(sorted(self._threads)) if one == after and one}
        met = set[int]()
        for thread, leaf in zip(self._threads, self._leaves, strict=True) if twice else ():
            if thread in met:
                yield leaf
            elif thread in twice:
                met.add(thread)
