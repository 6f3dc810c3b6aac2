"""How each of a million threads stands, in bounded memory: one small number for each.

A thread's state at the window's start and end, whether it was registered, and its newest grade in the
window are packed into one integer of two bytes.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from worker.model.evidence import Grade

# The last one is that of a grade whose body was shredded or pruned.
STATES = ("open", "deleted", "absent", "acknowledged", "parked", "withdrawn", "unknown")
# A grade that is none of ours is a defect elsewhere; here it only has to be counted.
UNKNOWN = "unknown"
_GRADES = (None, *(one.value for one in Grade), UNKNOWN)
_GRADE_NUMBERS = {grade: number for number, grade in enumerate(_GRADES)}
_STATE_NUMBERS: dict[str | None, int] = {None: 0, **{state: number for number, state in enumerate(STATES, 1)}}
_STATE_BITS, _STATE_MASK = 3, 7
_REGISTERED = 1 << 2 * _STATE_BITS
_GRADE_SHIFT = 2 * _STATE_BITS + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a thread stood at the window's start (None: not known then) and at its end."""

    start: str | None
    end: str | None
    registered: bool
    grade: str | None


@dataclass(slots=True, kw_only=True)
class Standings:
    """The standings of all threads, each under the number of its pseudonym (pseudonyms)."""

    _packed: array[int] = field(default_factory=lambda: array("H"))

    def enter(self, thread: int, state: str, *, early: bool, registered: bool) -> None:
        """Note the state that an entry leaves a thread in; ``early`` is before the window."""
        packed = self._of(thread) & ~(_STATE_MASK << _STATE_BITS)
        number = _STATE_NUMBERS[state]
        if early:
            packed = packed & ~_STATE_MASK | number
        packed |= number << _STATE_BITS
        self._packed[thread] = packed | _REGISTERED if registered else packed

    def grade(self, thread: int, grade: str) -> None:
        """Note the newest grade in the window."""
        number = _GRADE_NUMBERS.get(grade, _GRADE_NUMBERS[UNKNOWN])
        self._packed[thread] = self._of(thread) & ((1 << _GRADE_SHIFT) - 1) | number << _GRADE_SHIFT

    def counted(self) -> Iterator[tuple[Standing, int]]:
        """Yield each standing that occurs and how many threads have it."""
        for packed, count in Counter(self._packed).items():
            # Whatever nothing was noted of has been numbered only.
            if packed:
                yield _unpack(packed), count

    def _of(self, thread: int) -> int:
        packed = self._packed
        if thread >= len(packed):
            packed.extend([0] * (thread + 1 - len(packed)))
        return packed[thread]


def _unpack(packed: int) -> Standing:
    start, end = packed & _STATE_MASK, packed >> _STATE_BITS & _STATE_MASK
    return Standing(
        start=STATES[start - 1] if start else None,
        end=STATES[end - 1] if end else None,
        registered=bool(packed & _REGISTERED),
        grade=_GRADES[packed >> _GRADE_SHIFT],
    )
