"""What the verifier demands of a project's own entries, in the order of the log.

DANGER. This is what tells a grade that was earned from one that was written. A grade is a function of its
passes (``GRADERS``); here each pass is held against the entries of its attempt, which stand before it: the
intent, the answer and every read. Times are those of the writer's machines, whose clocks are set now and
then, so order is the order of leaves alone; but a later read has to be a day after the first absent one.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from worker.audit.attempts import (
    NOTHING,
    Recorded,
    answered,
    children_of,
    graded,
    intended,
    missing,
    preread,
    read,
    read_later,
    unlike,
)
from worker.audit.entry import EntryType
from worker.audit.grades import GRADERS, NEWEST, Tried, is_comparable, is_other, lacking_later, misstated
from worker.audit.identities import Identities
from worker.audit.observed import read_pass, read_reread
from worker.audit.reading import Body, Misshapen, items, mapping, number, text
from worker.model.decision import Outcome
from worker.model.evidence import Class, Control, Grade, Reread, Step
from worker.model.work import Stage

_NEEDS_CONTROL = frozenset({Grade.CONFIRMED, Grade.SUSTAINED, Grade.INFERRED, Grade.ABSENT})
_CONTAINER = Stage.CONTAINER.value
_PRESENT, _ABSENT = Class.PRESENT.value, Class.OBJECT_ABSENT.value
_DUE, _BEFORE, _LATER = Outcome.DUE.value, Step.BEFORE.value, Step.REREAD.value
_CONTROL_BITS = {Control.GOOD: 1, Control.ROUTE_ONLY: 2}
_REGISTERED, _LOST, _DELETED, _WITHDRAWN = 1, 2, 4, 8
_DAY_SECONDS = 24 * 60 * 60
_MOST_INTENTS = 2**16 - 1
_NO_CONTROLS: frozenset[tuple[int, int]] = frozenset()
_MOST_CONTROLS = 8
# Room for controls before any thread is met; each thread brings more.
_ROOM = 1000
# The words that may be remembered; a hostile text would take as much memory as it likes.
_CLASSES = {one.value: one.value for one in Class}
_CONTROLS = {one.value: one.value for one in Control}
_STAGES = {one.value: one.value for one in Stage}
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)


@dataclass(slots=True, kw_only=True)
class Trail:
    """Remembers what each entry says of an attempt, and judges each grade by it.

    Threads are numbers (pseudonyms). Other keys are 64-bit hashes under a secret of this process, so that
    the trails of a million threads fit in memory. ``whole`` says that the range begins at leaf 0; in one that
    begins later, a thread that was registered before it may lean on entries that are not there, and so may
    one of whose bodies some are gone. What such a thread lacks is counted in ``unbacked`` and is no defect;
    what its entries say otherwise is. ``single`` entries come without those of controls, and of ``partial``
    ones nobody knows which are gone.
    """

    whole: bool = True
    single: bool = False
    partial: bool = False
    unbacked: int = 0
    _identities: Identities = field(default_factory=Identities)
    # By thread, item, fence and stage.
    _attempts: dict[int, Recorded] = field(default_factory=dict)
    # By thread: flags, how often a DELETE was intended, when it was last read absent (Unix seconds) up to the
    # grade that called it deleted, and the newest attempt that an entry is of.
    _flags: array[int] = field(default_factory=lambda: array("B"))
    _intents: array[int] = field(default_factory=lambda: array("H"))
    _absent_at: array[float] = field(default_factory=lambda: array("d"))
    _newest: array[int] = field(default_factory=lambda: array("q"))
    # By thread id and kind, from controls to the grade that they support: what each is, and of which object.
    _controls: dict[int, frozenset[tuple[int, int]]] = field(default_factory=dict)
    # Threads that were read present after they were called deleted, and at which leaf.
    _back: dict[int, int] = field(default_factory=dict)
    _controls_lost: int = 0

    def lose(self, kind: str, thread: int | None) -> None:
        """Note that a body of this type, about this thread or about none, is not there."""
        if kind == _PROBED:
            self._controls_lost += 1
        if thread is not None:
            self._make_room(thread)
            self._flags[thread] |= _LOST
            if kind == _GRADED:
                # It may be the grade that says so.
                self._back.pop(thread, None)

    def feed(self, index: int, kind: str, thread: int | None, body: Body) -> Sequence[str]:
        """Take the next own entry and give what is wrong with it; raises Misshapen, ValueError.

        Of an entry that is misshapen no attempt remembers anything.
        """
        take = _TAKING.get(kind)
        if thread is None:
            if kind == _PROBED:
                self._probe(body)
            return () if take is None else ("the entry is about no thread",)
        self._make_room(thread)
        other, owner = self._identities.feed(kind, thread, body)
        wrong = take(self, index, thread, body) if take else ()
        return (*wrong, *other, *self._unless_excused(thread, owner)) if other or owner else wrong

    def back(self) -> Iterator[int]:
        """Yield the leaves of later reads that found a thread present where no grade says so."""
        if self.partial:
            self.unbacked += len(self._back)
        else:
            yield from sorted(self._back.values())

    def _make_room(self, thread: int) -> None:
        if thread >= len(self._flags):
            more = [0] * (thread + 1 - len(self._flags))
            for one in (self._flags, self._intents, self._newest):
                one.extend(more)
            self._absent_at.extend(more)

    def _unless_excused(self, thread: int, lacking: Sequence[str]) -> Sequence[str]:
        """Return what is lacking, unless entries of the thread may be missing; then it is only counted."""
        flags = self._flags[thread]
        complete = (self.whole or flags & _REGISTERED) and not self.partial and not flags & _LOST
        if complete or not lacking:
            return lacking
        self.unbacked += 1
        return ()

    def _register(self, _index: int, thread: int, _body: Body) -> Sequence[str]:
        self._flags[thread] |= _REGISTERED
        return ()

    def _withdraw(self, _index: int, thread: int, _body: Body) -> Sequence[str]:
        self._flags[thread] |= _WITHDRAWN
        return ()

    def _intend(self, index: int, thread: int, body: Body) -> Sequence[str]:
        before = mapping(body.get("before"))
        seen = _class(before)
        outcome = text(mapping(body.get("decision")), "outcome")
        children = children_of(number(body, "children_found"), number(body, "children_confirmed"))
        stage = _stage(body)
        key = _key(thread, body, stage)
        known = self._attempts.get(key, NOTHING)
        if stage == _CONTAINER:
            self._intents[thread] = min(self._intents[thread] + (not known.before), _MOST_INTENTS)
            self._touch(thread, key, seen, index)
        order = self._intents[thread] if stage == _CONTAINER else 0
        self._attempts[key] = intended(known, seen, children or "", order)
        wrong = []
        if seen != _PRESENT or before.get("child") is not None or text(before, "step") != _BEFORE:
            wrong.append(f"a DELETE was intended although the read before it says {seen}, or is of a child")
        if self._flags[thread] & _WITHDRAWN:
            wrong.append("a DELETE was intended although the thread had been withdrawn")
        if outcome != _DUE:
            wrong.append(f"a DELETE was intended although the decision was {outcome}")
        if not children:
            wrong.append("more children are told to be gone than were found")
        if stage == _CONTAINER and known.before and (known.before, known.children) != (seen, children):
            wrong.append("an attempt was intended twice, and each time otherwise")
        return wrong

    def _answer(self, _index: int, thread: int, body: Body) -> Sequence[str]:
        seen, stage = mapping(body.get("observation")), _stage(body)
        key, word = _key(thread, body, stage), _class(seen)
        known = self._attempts.get(key, NOTHING)
        self._attempts[key] = answered(known, word)
        wrong: list[str] = []
        if not known.before:
            wrong += self._unless_excused(thread, ["a DELETE was answered, and no intent stands before it"])
        if stage == _CONTAINER and seen.get("child") is not None:
            wrong.append("the answer to the thread's own DELETE is told of a child")
        if stage == _CONTAINER and known.answer:
            wrong.append(f"a DELETE was answered twice, with {known.answer} and with {word}")
        if known.afters or known.proven or known.over:
            wrong.append("a DELETE was answered behind a read that followed it, or behind its grade")
        return wrong

    def _preread(self, index: int, thread: int, body: Body) -> Sequence[str]:
        seen = mapping(body.get("observation"))
        key, word = _key(thread, body), _class(seen)
        known = self._attempts.get(key, NOTHING)
        self._see(thread, word, seen)
        self._attempts[key] = preread(known, word)
        self._touch(thread, key, word, index)
        if known.answer or known.afters or known.proven or known.over:
            return ["a first read stands behind the answer, a later read or the grade of its claim"]
        return _OF_A_CHILD if seen.get("child") is not None else ()

    def _read(self, index: int, thread: int, body: Body) -> Sequence[str]:
        seen = mapping(body.get("observation"))
        key, word, control = _key(thread, body), _class(seen), text(body, "control")
        control = _CONTROLS.get(control) or Control(control).value
        known = self._attempts.get(key, NOTHING)
        wrong: Sequence[str] = _OF_A_CHILD if seen.get("child") is not None else ()
        if text(seen, "step") == _LATER:
            # One that came too early sustains nothing, so nothing of it is kept.
            if word != _ABSENT or _seconds(seen) >= self._absent_at[thread] + _DAY_SECONDS:
                self._attempts[key] = read_later(known, word, control)
            if word == _PRESENT:
                self._back.setdefault(thread, index)
            lacking = [] if known.proven else ["a later read stands there, and no grade before it"]
            return (*wrong, *self._unless_excused(thread, lacking))
        self._see(thread, word, seen)
        self._attempts[key] = read(known, word, control)
        self._touch(thread, key, word, index)
        if known.proven or known.over:
            return (*wrong, "a read stands behind the grade of its claim")
        lacking = [] if known.before else ["a read since the DELETE stands there, and no intent before it"]
        return (*wrong, *self._unless_excused(thread, lacking))

    def _see(self, thread: int, word: str, seen: Body) -> None:
        """Note when a thread was last read absent, up to the grade that called it deleted."""
        if word == _ABSENT:
            at = _seconds(seen)
            if not self._flags[thread] & _DELETED:
                self._absent_at[thread] = at

    def _touch(self, thread: int, key: int, word: str, index: int) -> None:
        """Note that an entry of an attempt stands here, before its grade."""
        self._newest[thread] = key
        if word == _PRESENT and self._flags[thread] & _DELETED:
            self._back.setdefault(thread, index)

    def _probe(self, body: Body) -> None:
        bit = _CONTROL_BITS.get(Control(text(body, "control")))
        observations = [mapping(one) for one in items(body, "observations")]
        present = [one for one in observations if text(one, "class") == _PRESENT]
        if bit is None or not present:
            return
        kind, controls = text(body, "kind"), self._controls
        probe = bit, hash(present[-1].get("subject"))
        # What supports a thread that is known; a hostile log could name others without end.
        most = _ROOM + 2 * len(self._flags)
        for one in items(body, "supports"):
            key = hash((one, kind)) if isinstance(one, str) else 0
            known = controls.get(key, _NO_CONTROLS)
            if len(known) < _MOST_CONTROLS and (known or len(controls) < most):
                controls[key] = known | {probe}

    def _judge(self, _index: int, thread: int, body: Body) -> Sequence[str]:
        version = number(body, "grader_version")
        grader = GRADERS.get(version)
        if grader is None:
            return [f"grader version {version} is not known here, so the grade could not be checked"]
        stated, reread = text(body, "grade"), read_reread(body.get("reread"))
        tried = [read_pass(one) for one in items(body, "passes")]
        found, control = grader(tuple([saw for saw, _, _ in tried]), reread)
        keys = [_key_of(thread, item, fence) for _, item, fence in tried]
        known = [self._attempts.get(key, NOTHING) for key in keys]
        wrong = [*misstated(body, tried, reread), *self._otherwise(thread, keys, known, tried, reread)]
        if found.value != stated:
            wrong.append(f"the grade is stated as {stated}, but what was seen supports {found.value}")
        lacking = [*self._lacking(thread, known, tried, body), *lacking_later(known, reread)]
        # Asked of every grade, so that no control outlives the grade that it supports.
        if not self._is_controlled(body, tried, reread, control) and found in _NEEDS_CONTROL:
            if self._controls_lost:
                self._controls_lost -= 1
                self.unbacked += not lacking
            else:
                lacking.append(f"the grade {found.value} leans on a control that no entry holds")
        self._remember(thread, keys, found)
        return (*wrong, *self._unless_excused(thread, lacking)) if wrong or lacking else ()

    def _otherwise(
        self,
        thread: int,
        keys: Sequence[int],
        known: Sequence[Recorded],
        tried: Sequence[Tried],
        reread: Reread | None,
    ) -> Iterator[str]:
        """Give what entries say of these attempts, and the grade otherwise or not at all."""
        for at, (one, (saw, item, fence)) in enumerate(zip(known, tried, strict=True)):
            for what in unlike(one, saw, newest=at == len(tried) - 1):
                yield f"item {item}, fence {fence}: {what}"
        if len(set(keys)) != len(keys):
            yield "an attempt stands there twice"
        orders = [one.order for one in known if one.order]
        if orders != sorted(orders):
            yield "the passes do not stand in the order of their intents"
        if not known:
            return
        if self._newest[thread] not in {0, keys[-1]}:
            yield "an entry of another attempt stands between the newest pass and the grade"
        if known[-1].over or (known[-1].proven and reread is None):
            yield "the claim was graded before"

    def _lacking(
        self, thread: int, known: Sequence[Recorded], tried: Sequence[Tried], body: Body
    ) -> Iterator[str]:
        """Give what the passes say and no entry does."""
        for one, (saw, item, fence) in zip(known, tried, strict=True):
            for what in missing(one, saw):
                yield f"item {item}, fence {fence}: {what}"
        told, count = number(body, "attempts"), self._intents[thread]
        newest = [one.order for one in known[-NEWEST:] if one.order]
        if told != count:
            yield f"the grade tells of {told} DELETEs, and {count} were intended before it"
        elif newest != list(range(count - len(newest) + 1, count + 1)):
            yield "a DELETE was intended that no pass tells of"

    def _is_controlled(
        self, body: Body, tried: Sequence[Tried], reread: Reread | None, control: Control
    ) -> bool:
        """Tell whether the control that a grade leans on is recorded.

        That of a read since the DELETE has an entry of its own; that of a first read, and any where entries
        come singly, stands beside the grade.
        """
        probed = self._controls.pop(hash((text(body, "subject"), text(body, "kind"))), _NO_CONTROLS)
        external_id = text(body, "external_id")
        # Each is looked at, so that a misshapen one is found wherever it stands.
        others = [is_other(mapping(one), external_id) for one in items(body, "observations")]
        afters = tried[-1][0].afters if tried else ()
        if (reread is not None or (Class.OBJECT_ABSENT, control) in afters) and not self.single:
            wanted, itself = _CONTROL_BITS.get(control), hash(external_id)
            comparable = is_comparable(external_id)
            return any(bit == wanted and not (comparable and of == itself) for bit, of in probed)
        return any(others)

    def _remember(self, thread: int, keys: Sequence[int], found: Grade) -> None:
        if keys:
            known = self._attempts.get(keys[-1], NOTHING)
            self._attempts[keys[-1]] = graded(known, deleted=found.deleted)
        if found.deleted:
            self._flags[thread] |= _DELETED
        else:
            self._flags[thread] &= ~_DELETED
        if found is Grade.STILL_PRESENT:
            self._back.pop(thread, None)


_PROBED, _GRADED = EntryType.CONTROL_PROBED.value, EntryType.THREAD_GRADED.value
_OF_A_CHILD = ("the read of a thread is told of a child",)
_TAKING: Mapping[str, Callable[[Trail, int, int, Body], Sequence[str]]] = {
    EntryType.THREAD_REGISTERED.value: Trail._register,  # noqa: SLF001 - the class's own table
    EntryType.DELETE_INTENDED.value: Trail._intend,  # noqa: SLF001
    EntryType.DELETE_ANSWERED.value: Trail._answer,  # noqa: SLF001
    EntryType.THREAD_PREREAD.value: Trail._preread,  # noqa: SLF001
    EntryType.THREAD_REREAD.value: Trail._read,  # noqa: SLF001
    EntryType.THREAD_WITHDRAWN.value: Trail._withdraw,  # noqa: SLF001
    _GRADED: Trail._judge,  # noqa: SLF001
}


def _key(thread: int, body: Body, stage: str = _CONTAINER) -> int:
    return _key_of(thread, text(body, "item"), number(body, "fence"), stage)


def _key_of(thread: int, item: str, fence: int, stage: str = _CONTAINER) -> int:
    # As text: the hashes of two integers may be equal whatever the process's secret is.
    return hash((thread, item, str(fence), stage))


def _stage(body: Body) -> str:
    word = text(body, "stage")
    return _STAGES.get(word) or Stage(word).value


def _class(seen: Body) -> str:
    """Return the class of an observation; raises Misshapen, ValueError for a word that is none."""
    word = text(seen, "class")
    return _CLASSES.get(word) or Class(word).value


def _seconds(seen: Body) -> float:
    """Return the instant of an observation in Unix seconds; raises Misshapen."""
    at = text(seen, "at")
    try:
        if _INSTANT.fullmatch(at):
            return datetime.fromisoformat(at).timestamp()
    except ValueError:
        pass
    raise Misshapen(f"{at!r} is no instant.")
