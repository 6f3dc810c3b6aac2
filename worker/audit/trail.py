"""What the verifier demands of a project's own entries, in the order of the log.

DANGER. This is what tells a grade that was earned from one that was written. A grade is a function of its
passes (``GRADERS``); here each pass is held against the entries of its attempt, which stand before it: the
intent, the answer and every read. Times are those of the writer's machines, whose clocks are set now and
then, so order is the order of leaves alone; but a later read has to be a day after the first absent one.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TypeAlias

from worker.audit.attempts import (
    NOTHING,
    Recorded,
    answered,
    children_of,
    intended,
    preread,
    proven,
    read,
    unlike,
)
from worker.audit.entry import EntryType
from worker.audit.identities import Identities
from worker.audit.observed import read_pass, read_reread
from worker.audit.reading import Body, Misshapen, items, mapping, number, text
from worker.model.decision import Outcome
from worker.model.evidence import Class, Control, Grade, Pass, Reread, Step, fold, grade
from worker.model.work import Stage

# The grade, and the control that it leans on.
Judged: TypeAlias = tuple[Grade, Control]
Grader: TypeAlias = Callable[[tuple[Pass, ...], Reread | None], Judged]


# Most threads were tried alike, and a verifier grades a million.
@lru_cache(maxsize=4096)
def _grader_1(passes: tuple[Pass, ...], reread: Reread | None) -> Judged:
    evidence = fold(passes, reread=reread)
    graded = grade(evidence)
    if graded is Grade.SUSTAINED and reread is not None:
        return graded, reread.control
    return graded, evidence.control


# A grade is judged by the version that it names. One that was ever written here stays.
GRADERS: Mapping[int, Grader] = {1: _grader_1}

_NEEDS_CONTROL = frozenset({Grade.CONFIRMED, Grade.SUSTAINED, Grade.INFERRED, Grade.ABSENT})
_CONTAINER, _OF_CONTROL = Stage.CONTAINER.value, Step.CONTROL.value
_PRESENT, _ABSENT = Class.PRESENT.value, Class.OBJECT_ABSENT.value
_DUE = Outcome.DUE.value
_CONTROL_BITS = {Control.GOOD: 1, Control.ROUTE_ONLY: 2}
_CONTROL = "leans on a control that no entry holds"
_REGISTERED, _LOST = 1, 2
_DAY_SECONDS = 24 * 60 * 60
_MOST_INTENTS = 2**16 - 1
# Room for controls before any thread is met; each thread brings more.
_ROOM = 1000
# The words that may be remembered; a hostile text would take as much memory as it likes.
_CLASSES = {one.value: one.value for one in Class}
_CONTROLS = {one.value: one.value for one in Control}


@dataclass(slots=True, kw_only=True)
class Trail:
    """Remembers what each entry says of an attempt, and judges each grade by it.

    Threads are numbers (pseudonyms). Other keys are 64-bit hashes under a secret of this process, so that
    the trails of a million threads fit in memory. ``whole`` says that the range begins at leaf 0; in one that
    begins later, a thread that was registered before it may lean on entries that are not there, and so may
    one of whose bodies some are gone: such grades are counted in ``unbacked`` and are no defect.
    """

    whole: bool = True
    unbacked: int = 0
    _identities: Identities = field(default_factory=Identities)
    # By thread, item, fence and stage.
    _attempts: dict[int, Recorded] = field(default_factory=dict)
    # By thread: flags, how often a DELETE was intended, and when it was last read absent (Unix seconds).
    _flags: array[int] = field(default_factory=lambda: array("B"))
    _intents: array[int] = field(default_factory=lambda: array("H"))
    _absent_at: array[float] = field(default_factory=lambda: array("d"))
    # By thread id and kind, from a control to the grade that it supports.
    _controls: dict[int, int] = field(default_factory=dict)
    # Threads that were read present after they were called deleted, and at which leaf.
    _back: dict[int, int] = field(default_factory=dict)
    _control_lost: bool = False

    def lose(self, kind: str, thread: int | None) -> None:
        """Note that a body of this type, about this thread or about none, is not there."""
        if kind == EntryType.CONTROL_PROBED:
            self._control_lost = True
        if thread is not None:
            self._make_room(thread)
            self._flags[thread] |= _LOST

    def feed(self, index: int, kind: str, thread: int | None, body: Body) -> Sequence[str]:
        """Take the next own entry and give what is wrong with it; raises Misshapen, ValueError.

        Of an entry that is misshapen nothing is remembered.
        """
        if thread is None:
            if kind == _PROBED:
                self._probe(body)
            return ()
        self._make_room(thread)
        take = _TAKING.get(kind)
        wrong = take(self, index, thread, body) if take else ()
        other = self._identities.feed(kind, thread, body)
        return (*wrong, *other) if other and not self._is_excused(thread) else wrong

    def back(self) -> Iterator[int]:
        """Yield the leaves of later reads that found a thread present where no grade says so."""
        yield from sorted(leaf for thread, leaf in self._back.items() if not self._is_excused(thread))

    def _make_room(self, thread: int) -> None:
        if thread >= len(self._flags):
            more = [0] * (thread + 1 - len(self._flags))
            self._flags.extend(more)
            self._intents.extend(more)
            self._absent_at.extend(more)

    def _is_excused(self, thread: int) -> bool:
        """Tell whether entries of a thread may be missing: some are gone, or the range begins after them."""
        flags = self._flags[thread]
        return bool(flags & _LOST) or not (self.whole or flags & _REGISTERED)

    def _register(self, _index: int, thread: int, _body: Body) -> Sequence[str]:
        self._flags[thread] |= _REGISTERED
        return ()

    def _intend(self, _index: int, thread: int, body: Body) -> Sequence[str]:
        seen = _class(mapping(body.get("before")))
        outcome = text(mapping(body.get("decision")), "outcome")
        children = children_of(number(body, "children_found"), number(body, "children_confirmed"))
        stage = text(body, "stage")
        key = _key(thread, body, stage)
        known = self._attempts.get(key, NOTHING)
        if stage == _CONTAINER and not known.before:
            self._intents[thread] = min(self._intents[thread] + 1, _MOST_INTENTS)
        self._attempts[key] = intended(known, seen, children or "")
        if seen == _PRESENT and outcome == _DUE and children:
            return ()
        wrong = []
        if seen != _PRESENT:
            wrong.append(f"a DELETE was intended although the read before it says {seen}")
        if outcome != _DUE:
            wrong.append(f"a DELETE was intended although the decision was {outcome}")
        if not children:
            wrong.append("more children are told to be gone than were found")
        return wrong

    def _answer(self, _index: int, thread: int, body: Body) -> Sequence[str]:
        seen, stage = _of_thread(body, "observation"), text(body, "stage")
        if seen is None and stage == _CONTAINER:
            return ["the answer to the thread's own DELETE is told of a child"]
        key = _key(thread, body, stage)
        known = self._attempts.get(key, NOTHING)
        word = _class(mapping(body.get("observation")))
        self._attempts[key] = answered(known, word)
        if not known.before and not self._is_excused(thread):
            return ["a DELETE was answered, and no intent stands before it"]
        if stage == _CONTAINER and known.answer not in {"", word}:
            return [f"a DELETE was answered twice, with {known.answer} and with {word}"]
        return ()

    def _preread(self, _index: int, thread: int, body: Body) -> Sequence[str]:
        seen = _of_thread(body, "observation")
        if seen is not None:
            key, word = _key(thread, body), _class(seen)
            if word == _ABSENT:
                self._absent_at[thread] = _seconds(seen)
            self._attempts[key] = preread(self._attempts.get(key, NOTHING), word)
        return ()

    def _read(self, index: int, thread: int, body: Body) -> Sequence[str]:
        seen = _of_thread(body, "observation")
        if seen is None:
            return ()
        key, word, control = _key(thread, body), _class(seen), text(body, "control")
        control = _CONTROLS.get(control) or Control(control).value
        known = self._attempts.get(key, NOTHING)
        if word == _ABSENT:
            at = _seconds(seen)
            if not known.proven:
                self._absent_at[thread] = at
            elif at < self._absent_at[thread] + _DAY_SECONDS:
                return ()  # too early to sustain anything
        elif word == _PRESENT and known.proven:
            self._back.setdefault(thread, index)
        self._attempts[key] = read(known, word, control)
        return ()

    def _probe(self, body: Body) -> None:
        bit = _CONTROL_BITS.get(Control(text(body, "control")))
        if bit is None:
            return
        kind, controls = text(body, "kind"), self._controls
        # What supports a thread that is known; a hostile log could name others without end.
        most = _ROOM + 2 * len(self._flags)
        for one in items(body, "supports"):
            key = hash((one, kind)) if isinstance(one, str) else 0
            if key in controls or len(controls) < most:
                controls[key] = controls.get(key, 0) | bit

    def _judge(self, _index: int, thread: int, body: Body) -> Sequence[str]:
        version = number(body, "grader_version")
        grader = GRADERS.get(version)
        if grader is None:
            return [f"grader version {version} is not known here, so the grade could not be checked"]
        stated, reread = text(body, "grade"), read_reread(body.get("reread"))
        tried = [read_pass(one) for one in items(body, "passes")]
        found, control = grader(tuple([saw for saw, _, _ in tried]), reread)
        keys = [hash((thread, item, fence, _CONTAINER)) for _, item, fence in tried]
        lacking = [*self._compare(thread, body, tried, keys), *self._compare_later(keys, reread)]
        # Asked of every grade, so that no control outlives the grade that it supports.
        if not self._is_controlled(body, control) and found in _NEEDS_CONTROL:
            lacking.append(f"the grade {found.value} {_CONTROL}")
        self._remember(thread, keys, found)
        wrong = []
        if found.value != stated:
            wrong.append(f"the grade is stated as {stated}, but what was seen supports {found.value}")
        if not lacking:
            return wrong
        # A control stands in an entry of its own, about no thread: it may be older than what leans on it.
        if self._is_excused(thread) or (self._control_lost and all(_CONTROL in one for one in lacking)):
            self.unbacked += 1
            return wrong
        return [*wrong, *lacking]

    def _compare(
        self, thread: int, body: Body, tried: Sequence[tuple[Pass, str, int]], keys: Sequence[int]
    ) -> Iterator[str]:
        """Give what the passes say otherwise than the entries of their attempts."""
        told, count, last = number(body, "attempts"), self._intents[thread], len(keys) - 1
        if told != count:
            yield f"the grade tells of {told} DELETEs, and {count} were intended before it"
        own = (text(body, "item"), number(body, "fence"))
        if tried and tried[-1][1:] != own:
            yield "the newest pass is not of the claim that the grade names"
        if len(set(keys)) != len(keys):
            yield "an attempt stands there twice"
        for at, (saw, item, fence) in enumerate(tried):
            known = self._attempts.get(keys[at], NOTHING)
            for what in unlike(known, saw, newest=at == last):
                yield f"item {item}, fence {fence}: {what}"

    def _compare_later(self, keys: Sequence[int], reread: Reread | None) -> Iterator[str]:
        if reread is None:
            return
        word, control = reread.seen.value, reread.control.value
        known = self._attempts.get(keys[-1], NOTHING) if keys else NOTHING
        if (word, control) not in known.later:
            yield f"no entry holds the later read, which is told as {word}, control {control}"

    def _is_controlled(self, body: Body, control: Control) -> bool:
        """Tell whether the control that a grade leans on is recorded: in an entry, or beside the grade."""
        wanted = _CONTROL_BITS.get(control, 0)
        probed = self._controls.pop(hash((text(body, "subject"), text(body, "kind"))), 0)
        external_id = text(body, "external_id")
        beside = False
        for one in map(mapping, items(body, "observations")):
            step, word = text(one, "step"), text(one, "class")
            # Nothing is its own control.
            if step == _OF_CONTROL and word == _PRESENT and one.get("subject") != external_id:
                beside = True
        return beside or bool(probed & wanted)

    def _remember(self, thread: int, keys: Sequence[int], found: Grade) -> None:
        if found.deleted and keys:
            self._attempts[keys[-1]] = proven(self._attempts.get(keys[-1], NOTHING))
        elif found is Grade.STILL_PRESENT:
            self._back.pop(thread, None)


_PROBED = EntryType.CONTROL_PROBED.value
_TAKING: Mapping[str, Callable[[Trail, int, int, Body], Sequence[str]]] = {
    EntryType.THREAD_REGISTERED.value: Trail._register,  # noqa: SLF001 - the class's own table
    EntryType.DELETE_INTENDED.value: Trail._intend,  # noqa: SLF001
    EntryType.DELETE_ANSWERED.value: Trail._answer,  # noqa: SLF001
    EntryType.THREAD_PREREAD.value: Trail._preread,  # noqa: SLF001
    EntryType.THREAD_REREAD.value: Trail._read,  # noqa: SLF001
    EntryType.THREAD_GRADED.value: Trail._judge,  # noqa: SLF001
}


def _key(thread: int, body: Body, stage: str = _CONTAINER) -> int:
    return hash((thread, text(body, "item"), number(body, "fence"), stage))


def _of_thread(body: Body, name: str) -> Body | None:
    """Return what was seen of the thread itself; None where it was seen of a child."""
    seen = mapping(body.get(name))
    return None if seen.get("child") is not None else seen


def _class(seen: Body) -> str:
    """Return the class of an observation; raises Misshapen, ValueError for a word that is none."""
    word = text(seen, "class")
    return _CLASSES.get(word) or Class(word).value


def _seconds(seen: Body) -> float:
    """Return the instant of an observation in Unix seconds; raises Misshapen."""
    at = text(seen, "at")
    try:
        found = datetime.fromisoformat(at)
    except ValueError as broken:
        raise Misshapen(f"{at!r} is no instant.") from broken
    if found.tzinfo is None:
        raise Misshapen(f"{at!r} is no instant in UTC.")
    return found.timestamp()
