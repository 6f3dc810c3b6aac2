"""How each of a million threads stands, in bounded memory: one small number for each.

A thread's state at the window's start and end, whether it was registered, and its newest grade in the
window are packed into one integer. Equal integers are one object, so a thread costs its key and its place.
"""

from __future__ import annotations

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
    """The standings of all threads, each under the number that its pseudonym of 32 hex digits writes."""

    _packed: dict[int, int] = field(default_factory=dict)
    _known: dict[int, int] = field(default_factory=dict)

    def enter(self, thread: int, state: str, *, early: bool, registered: bool) -> None:
        """Note the state that an entry leaves a thread in; ``early`` is before the window."""
        packed = self._packed.get(thread, 0) & ~(_STATE_MASK << _STATE_BITS)
        number = _STATE_NUMBERS[state]
        if early:
            packed = packed & ~_STATE_MASK | number
        packed |= number << _STATE_BITS
        self._keep(thread, packed | _REGISTERED if registered else packed)

    def grade(self, thread: int, grade: str) -> None:
        """Note the newest grade in the window."""
        number = _GRADE_NUMBERS.get(grade, _GRADE_NUMBERS[UNKNOWN])
        self._keep(thread, self._packed.get(thread, 0) & ((1 << _GRADE_SHIFT) - 1) | number << _GRADE_SHIFT)

    def counted(self) -> Iterator[tuple[Standing, int]]:
        """Yield each standing that occurs and how many threads have it."""
        for packed, count in Counter(self._packed.values()).items():
            yield _unpack(packed), count

    def _keep(self, thread: int, packed: int) -> None:
        self._packed[thread] = self._known.setdefault(packed, packed)


def _unpack(packed: int) -> Standing:
    start, end = packed & _STATE_MASK, packed >> _STATE_BITS & _STATE_MASK
    return Standing(
        start=STATES[start - 1] if start else None,
        end=STATES[end - 1] if end else None,
        registered=bool(packed & _REGISTERED),
        grade=_GRADES[packed >> _GRADE_SHIFT],
    )
