"""A tree that grows leaf by leaf, and looks at its root where a checkpoint says what it has to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from worker.audit.merkle import Frontier

# Hashing in batches is quicker than leaf by leaf.
_BATCH = 1024


@dataclass(slots=True)
class Growing:
    """Extends ``frontier``. ``expected`` maps tree sizes to the root that a checkpoint states there."""

    frontier: Frontier
    expected: Mapping[int, bytes] = field(default_factory=dict)
    differing: list[int] = field(default_factory=list)
    _behind: list[int] = field(default_factory=list)
    _ahead: list[int] = field(default_factory=list)
    _batch: list[bytes] = field(default_factory=list)
    _room: int = 0

    def __post_init__(self) -> None:
        self._behind = [one for one in self.expected if one < self.frontier.size]
        self._ahead = sorted((one for one in self.expected if one >= self.frontier.size), reverse=True)
        self._look()

    def add(self, leaf: bytes) -> bool:
        """Take the next leaf hash; tells whether a batch became full with it."""
        self._batch.append(leaf)
        if len(self._batch) < self._room:
            return False
        self.close()
        return True

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Take many leaf hashes."""
        for leaf in leaves:
            self.add(leaf)

    def close(self) -> None:
        """Hash what was taken; ``frontier`` is complete then."""
        self.frontier = self.frontier.extend(self._batch)
        self._batch.clear()
        self._look()

    @property
    def unreached(self) -> list[int]:
        """The sizes with an expected root that this tree began behind or did not come to."""
        return sorted([*self._behind, *self._ahead])

    def _look(self) -> None:
        size = self.frontier.size
        while self._ahead and self._ahead[-1] <= size:
            stop = self._ahead.pop()
            if self.frontier.root() != self.expected[stop]:
                self.differing.append(stop)
        self._room = min(_BATCH, self._ahead[-1] - size) if self._ahead else _BATCH
