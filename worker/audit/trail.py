"""What the verifier demands of a project's own entries, in the order of the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from worker.audit.entry import EntryType
from worker.audit.observed import read_pass, read_reread
from worker.audit.reading import Body, items, mapping, number, text
from worker.model.evidence import Class, Control, Grade, Pass, Reread, Step, fold, grade
from worker.model.work import Stage

Grader: TypeAlias = Callable[[tuple[Pass, ...], Reread | None], Grade]


# Most threads were tried alike, and a verifier grades a million.
@lru_cache(maxsize=4096)
def _grader_1(passes: tuple[Pass, ...], reread: Reread | None) -> Grade:
    return grade(fold(passes, reread=reread))


# A grade is judged by the version that it names. One that was ever written here stays.
GRADERS: Mapping[int, Grader] = {1: _grader_1}

_NEEDS_ABSENT_READ = frozenset({Grade.CONFIRMED, Grade.SUSTAINED, Grade.INFERRED, Grade.ABSENT})
_OBSERVED = frozenset(
    {
        EntryType.DELETE_ANSWERED,
        EntryType.DELETE_LATE_RESULT,
        EntryType.THREAD_PREREAD,
        EntryType.THREAD_REREAD,
    }
)


_REGISTERED_TYPE, _INTENDED, _PROBED, _GRADED = (
    EntryType.THREAD_REGISTERED.value,
    EntryType.DELETE_INTENDED.value,
    EntryType.CONTROL_PROBED.value,
    EntryType.THREAD_GRADED.value,
)
_CONTAINER, _OF_CONTROL, _PRESENT = Stage.CONTAINER.value, Step.CONTROL.value, Class.PRESENT.value
_CONTROL = "leans on a control that no entry holds"
_BITS = {one.value: 1 << number for number, one in enumerate(Class)}
_REGISTERED = 1 << len(_BITS)
_ABSENT, _ACKNOWLEDGED = _BITS[Class.OBJECT_ABSENT.value], _BITS[Class.ACKNOWLEDGED.value]


@dataclass(slots=True, kw_only=True)
class Trail:
    """Remembers intents and observations, and judges each grade by them.

    Keys are 64-bit hashes of the ids under a secret of this process, so that the trails of a million
    threads fit in memory. ``whole`` says that the range begins at leaf 0; in one that begins later, a
    thread that was registered before it may lean on entries that are not there, and so may one of whose
    bodies some are gone: such grades are counted in ``unbacked`` and are no defect.
    """

    whole: bool = True
    unbacked: int = 0
    _intents: dict[int, Class] = field(default_factory=dict)
    _seen: dict[int, int] = field(default_factory=dict)
    _masks: dict[int, int] = field(default_factory=dict)
    _controlled: set[int] = field(default_factory=set)
    _lost: set[int] = field(default_factory=set)
    _control_lost: bool = False

    def lose(self, kind: str, subject: str | None) -> None:
        """Note that a body of this type, about this pseudonym or about no thread, is not there."""
        if kind == EntryType.CONTROL_PROBED:
            self._control_lost = True
        if subject is not None:
            self._lost.add(hash(subject))

    def feed(self, kind: str, subject: str | None, body: Body) -> Iterable[str]:
        """Take the next own entry and give what is wrong with it; raises Misshapen, ValueError.

        Also while what it gave is gone through. Of a grade that is misshapen no observation is remembered.
        """
        if kind in _OBSERVED:
            self._mark(hash(text(body, "subject")), _bit(mapping(body.get("observation"))))
        elif kind == _GRADED:
            return self._judge(subject, body)
        elif kind == _REGISTERED_TYPE:
            self._mark(hash(text(body, "subject")), _REGISTERED)
        elif kind == _INTENDED:
            return self._intend(body)
        elif kind == _PROBED and Control(text(body, "control")) in {Control.GOOD, Control.ROUTE_ONLY}:
            self._controlled.add(hash(text(body, "kind")))
        return ()

    def _intend(self, body: Body) -> Iterator[str]:
        if text(body, "stage") != _CONTAINER:
            return
        before = mapping(body.get("before"))
        word = text(before, "class")
        seen = Class.PRESENT if word == _PRESENT else Class(word)
        if seen is not Class.PRESENT:
            yield f"a DELETE was intended although the read before it says {seen.value}"
        thread = text(body, "subject")
        self._intents[hash((thread, text(body, "item"), number(body, "fence")))] = seen
        self._mark(hash(thread), _bit(before))

    def _mark(self, thread: int, bit: int) -> None:
        seen = self._seen
        mask = seen.get(thread, 0) | bit
        seen[thread] = self._masks.setdefault(mask, mask)

    def _judge(self, subject: str | None, body: Body) -> Iterator[str]:
        version = number(body, "grader_version")
        grader = GRADERS.get(version)
        if grader is None:
            yield f"grader version {version} is not known here, so the grade could not be checked"
            return
        thread, stated = text(body, "subject"), text(body, "grade")
        tried = [read_pass(one) for one in items(body, "passes")]
        found = grader(tuple([saw for saw, _, _ in tried]), read_reread(body.get("reread")))
        if found.value != stated:
            yield f"the grade is stated as {stated}, but what was seen supports {found.value}"
        lacking = [*self._armed(thread, tried), *self._backed(hash(thread), body, found)]
        if not lacking:
            return
        excused = hash(subject) in self._lost or self._began_before(thread)
        # A control stands in an entry of its own, about no thread: it may be older than what leans on it.
        if excused or (self._control_lost and all(_CONTROL in one for one in lacking)):
            self.unbacked += 1
            return
        yield from lacking

    def _began_before(self, thread: str) -> bool:
        """Registered within the range, it has all of its entries there."""
        return not self.whole and not self._seen.get(hash(thread), 0) & _REGISTERED

    def _armed(self, thread: str, tried: Sequence[tuple[Pass, str, int]]) -> list[str]:
        lacking = []
        for saw, item, fence in tried:
            if not saw.armed:
                continue
            before = self._intents.get(hash((thread, item, fence)))
            if before is None:
                lacking.append(f"no intent for item {item} with fence {fence} stands before this grade")
            elif before is not saw.before:
                lacking.append(
                    f"the intent of item {item} saw {before.value}, the grade says {saw.before.value}"
                )
        return lacking

    def _backed(self, thread: int, body: Body, found: Grade) -> list[str]:
        """Demand that what a grade leans on was also recorded as an observation."""
        controlled = hash(text(body, "kind")) in self._controlled
        bits = 0
        for one in items(body, "observations"):
            seen = mapping(one)
            if text(seen, "step") != _OF_CONTROL:
                bits |= _bit(seen)
            elif text(seen, "class") == _PRESENT:
                controlled = True
        # Only now: one that is misshapen leaves nothing of its entry behind.
        self._mark(thread, bits)
        if found not in _NEEDS_ABSENT_READ:
            return []
        lacking = []
        known = self._seen[thread]
        if not known & _ABSENT:
            lacking.append(f"the grade {found.value} leans on a read that no entry holds")
        if not controlled:
            lacking.append(f"the grade {found.value} {_CONTROL}")
        if found is Grade.CONFIRMED and not known & _ACKNOWLEDGED:
            lacking.append("the grade confirmed leans on an acknowledged DELETE that no entry holds")
        return lacking


def _bit(observation: Body) -> int:
    """Return the bit of what was read of the thread itself; of a child, none."""
    if observation.get("child") is not None:
        return 0
    word = observation.get("class")
    return _BITS.get(word, 0) if type(word) is str else _BITS.get(text(observation, "class"), 0)
