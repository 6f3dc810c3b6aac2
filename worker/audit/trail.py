"""What the verifier demands of a project's own entries, in the order of the log.

DANGER. This is what tells a grade that was earned from one that was written. A grade is a function of its
passes (``GRADERS``); here each pass is held against the entries of its attempt, which stand before it: the
intent, the answer and every read. Times are those of the writer's machines, whose clocks are set now and
then, so order is the order of leaves alone; but a later read has to be a day after the absent one.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from worker.audit.attempts import (
    NOTHING,
    Lacking,
    Recorded,
    answered,
    children_of,
    graded,
    intended,
    late,
    outdated,
    preread,
    read,
    read_later,
)
from worker.audit.controls import Controls
from worker.audit.entry import EntryType
from worker.audit.grades import GRADERS, LATE, Tried, lacking_later, lacking_of, misstated, otherwise
from worker.audit.identities import Identities
from worker.audit.losses import ABSENCE, LOST, LOST_OF_ATTEMPTS
from worker.audit.observed import read_pass, read_reread
from worker.audit.reading import Body, items, mapping, number, text
from worker.audit.shown import Shown, shown, untold
from worker.audit.words import class_of, control_of, is_fitting, seconds_of, stage_of
from worker.model.decision import Outcome
from worker.model.evidence import Class, Control, Grade, Reread, Step
from worker.model.work import Stage

_NEEDS_CONTROL = frozenset({Grade.CONFIRMED, Grade.SUSTAINED, Grade.INFERRED, Grade.ABSENT})
_CONTAINER = Stage.CONTAINER.value
_PRESENT, _ABSENT = Class.PRESENT.value, Class.OBJECT_ABSENT.value
_DUE = Outcome.DUE.value
_BEFORE, _DELETE, _AFTER, _LATER = (
    Step.BEFORE.value,
    Step.DELETE.value,
    Step.AFTER.value,
    Step.REREAD.value,
)
_REGISTERED, _DELETED, _WITHDRAWN, _UNTOLD = 1, 2, 4, 8
_DAY_SECONDS = 24 * 60 * 60
_MOST_INTENTS = 2**16 - 1


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
    # By thread: flags, how often a DELETE was intended, when it was last read absent (Unix seconds), the same
    # up to the grade that called it deleted, and the newest attempt that an entry is of.
    _flags: array[int] = field(default_factory=lambda: array("H"))
    _intents: array[int] = field(default_factory=lambda: array("H"))
    _last_absent: array[float] = field(default_factory=lambda: array("d"))
    _absent_at: array[float] = field(default_factory=lambda: array("d"))
    _newest: array[int] = field(default_factory=lambda: array("q"))
    # How many intents of a thread are gone.
    _gone: Counter[int] = field(default_factory=Counter)
    _controls: Controls = field(default_factory=Controls)
    # Threads that were read present after they were called deleted, and at which leaf.
    _back: dict[int, int] = field(default_factory=dict)

    def lose(self, kind: str, thread: int | None) -> None:
        """Note that a body of this type, about this thread or about none, is not there."""
        if kind == _PROBED:
            self._controls.lost += 1
        if thread is not None:
            self._make_room(thread)
            self._flags[thread] |= LOST.get(kind, 0)
            if kind == _INTENDED:
                self._gone[thread] += 1
            if kind == _GRADED:
                # It may be the grade that says so.
                self.unbacked += self._back.pop(thread, None) is not None

    def feed(self, index: int, kind: str, thread: int | None, body: Body) -> Sequence[str]:
        """Take the next own entry and give what is wrong with it; raises Misshapen, ValueError.

        Of an entry that is misshapen no attempt remembers anything.
        """
        take = _TAKING.get(kind)
        if thread is None:
            if kind == _PROBED:
                self._controls.add(body, threads=len(self._flags))
            return () if take is None else ("the entry is about no thread",)
        self._make_room(thread)
        new = () if self._flags[thread] & _REGISTERED else self._begin(kind, thread)
        other, owner = self._identities.feed(kind, thread, body)
        wrong = take(self, index, thread, body) if take else ()
        if not (new or other or owner):
            return wrong
        changed = [(_CHANGED, one) for one in owner]
        return (*wrong, *new, *other, *self._unless_excused(thread, changed))

    def twins(self) -> Iterator[int]:
        """Yield the numbers of threads that are the same object as another one."""
        return self._identities.twins()

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
            self._last_absent.extend(more)

    def _unless_excused(self, thread: int, lacking: Sequence[Lacking]) -> Sequence[str]:
        """Return what is lacking, unless such entries of the thread may be missing: then it is counted."""
        if not lacking:
            return ()
        flags = self._flags[thread]
        if self.partial or not (self.whole or flags & _REGISTERED):
            self.unbacked += 1
            return ()
        kept = [what for kind, what in lacking if not flags & LOST.get(kind, 0)]
        self.unbacked += len(kept) < len(lacking)
        return kept

    def _begin(self, kind: str, thread: int) -> Sequence[str]:
        """Take an entry of a thread of which no registration was met."""
        lost = self.partial or self._flags[thread] & LOST[_REGISTRATION]
        if kind == _REGISTRATION or not self.whole or self.single or lost:
            return ()
        self._flags[thread] |= _REGISTERED | _UNTOLD
        return ("no registration of the thread stands before its first entry",)

    def _register(self, _index: int, thread: int, _body: Body) -> Sequence[str]:
        # Where its first entry has no registration before it, that was told once.
        again = self._flags[thread] & (_REGISTERED | _UNTOLD) == _REGISTERED
        self._flags[thread] = self._flags[thread] & ~_UNTOLD | _REGISTERED
        return ("the thread was registered before",) if again else ()

    def _withdraw(self, _index: int, thread: int, _body: Body) -> Sequence[str]:
        self._flags[thread] |= _WITHDRAWN
        proven = self._flags[thread] & _DELETED
        return ("the thread was withdrawn although it was called deleted",) if proven else ()

    def _spare(self, _index: int, thread: int, body: Body) -> Sequence[str]:
        known = self._attempts.get(_key(thread, body), NOTHING)
        return (f"a word that nothing was deleted {_BEHIND}",) if known.is_begun else ()

    def _intend(self, index: int, thread: int, body: Body) -> Sequence[str]:
        before = mapping(body.get("before"))
        seen = class_of(before)
        outcome = text(mapping(body.get("decision")), "outcome")
        children = children_of(number(body, "children_found"), number(body, "children_confirmed"))
        stage = stage_of(body)
        key = _key(thread, body, stage)
        known = self._attempts.get(key, NOTHING)
        stale = False
        if stage == _CONTAINER:
            self._intents[thread] = min(self._intents[thread] + (not known.before), _MOST_INTENTS)
            stale = self._touch(thread, key, seen, index)
        order = self._intents[thread] if stage == _CONTAINER else 0
        self._attempts[key] = intended(known, seen, children or "", order)
        wrong = [*self._of_another(thread, before, _BEFORE)]
        if seen != _PRESENT:
            wrong.append(f"a DELETE was intended although the read before it says {seen}")
        if self._flags[thread] & _WITHDRAWN:
            wrong.append("a DELETE was intended although the thread had been withdrawn")
        if outcome != _DUE:
            wrong.append(f"a DELETE was intended although the decision was {outcome}")
        if not children:
            wrong.append("more children are told to be gone than were found")
        if stage == _CONTAINER and known.before and (known.before, known.children) != (seen, children):
            wrong.append("an attempt was intended twice, and each time otherwise")
        if stale or (stage == _CONTAINER and known.is_begun):
            wrong.append(f"an intent {_BEHIND}")
        return wrong

    def _answer(self, _index: int, thread: int, body: Body) -> Sequence[str]:
        seen, stage = mapping(body.get("observation")), stage_of(body)
        key, word = _key(thread, body, stage), class_of(seen)
        known = self._attempts.get(key, NOTHING)
        self._attempts[key] = answered(known, word)
        wrong: list[str] = []
        if not known.before:
            wrong += self._unless_excused(thread, [_UNASKED])
        if stage != _CONTAINER:
            return wrong
        wrong += self._of_another(thread, seen, _DELETE)
        if known.answer:
            wrong.append(f"a DELETE was answered twice, with {known.answer} and with {word}")
        if known.afters or known.proven or known.over or known.outdated:
            wrong.append(f"an answer {_BEHIND}")
        return wrong

    def _be_late(self, _index: int, thread: int, body: Body) -> Sequence[str]:
        """Take an answer that came after its claim was another's: such a claim is not graded."""
        stage, seen = stage_of(body), mapping(body.get("observation"))
        key = _key(thread, body, stage)
        known = self._attempts.get(key, NOTHING)
        self._attempts[key] = late(known)
        wrong = [LATE] if stage == _CONTAINER and (known.proven or known.over) else []
        # What else a claim had seen last may be anything: a read, a control, a child.
        if text(seen, "step") == _DELETE and seen.get("child") is None:
            wrong += () if known.before else self._unless_excused(thread, [_UNASKED])
            wrong += self._of_another(thread, seen, _DELETE)
        return wrong

    def _preread(self, index: int, thread: int, body: Body) -> Sequence[str]:
        seen = mapping(body.get("observation"))
        key, word = _key(thread, body), class_of(seen)
        known = self._attempts.get(key, NOTHING)
        self._see(thread, word, seen)
        self._attempts[key] = preread(known, word)
        wrong = self._of_another(thread, seen, _BEFORE)
        # One whose DELETE could not leave in time is told behind its intent, which names the same read.
        other = known.before not in {"", word}
        if self._touch(thread, key, word, index) or known.is_begun or known.prereads or other:
            return (*wrong, f"a first read {_BEHIND}")
        return wrong

    def _read(self, index: int, thread: int, body: Body) -> Sequence[str]:
        seen = mapping(body.get("observation"))
        key, word, control = _key(thread, body), class_of(seen), control_of(body)
        known = self._attempts.get(key, NOTHING)
        step = text(seen, "step")
        wrong = self._of_another(thread, seen, _LATER if step == _LATER else _AFTER)
        self._controls.forget(text(body, "subject"))
        if step == _LATER:
            if word == _ABSENT:
                self._last_absent[thread] = seconds_of(seen)
            # One that came too early sustains nothing, so nothing of it is kept.
            if word != _ABSENT or self._last_absent[thread] >= self._absent_at[thread] + _DAY_SECONDS:
                self._attempts[key] = read_later(known, word, control)
            if word == _PRESENT:
                self._back.setdefault(thread, index)
            lacking = [] if known.proven else [(_GRADED, "a later read stands there, and no grade before it")]
            return (*wrong, *self._unless_excused(thread, lacking))
        self._see(thread, word, seen)
        self._attempts[key] = read(known, word, control)
        # A claim looks once since its DELETE: a second read could be dated back, to sustain too early.
        if self._touch(thread, key, word, index) or known.afters or known.proven or known.over:
            return (*wrong, f"a read since the DELETE {_BEHIND}")
        lacking = [] if known.before else [_UNINTENDED]
        return (*wrong, *self._unless_excused(thread, lacking))

    def _see(self, thread: int, word: str, seen: Body) -> None:
        """Note when a thread was last read absent, up to the grade that called it deleted."""
        if word == _ABSENT:
            at = self._last_absent[thread] = seconds_of(seen)
            if not self._flags[thread] & _DELETED:
                self._absent_at[thread] = at

    def _touch(self, thread: int, key: int, word: str, index: int) -> bool:
        """Note that an entry of an attempt stands here, before its grade; tells whether a newer one did."""
        former = self._newest[thread]
        if former not in {0, key}:
            self._attempts[former] = outdated(self._attempts.get(former, NOTHING))
        self._newest[thread] = key
        if word == _PRESENT and self._flags[thread] & _DELETED:
            self._back.setdefault(thread, index)
        return self._attempts.get(key, NOTHING).outdated

    def _of_another(self, thread: int, seen: Body, step: str) -> Sequence[str]:
        """Tell where an observation is not of this step, or is surely not of the thread."""
        told, subject, word = text(seen, "step"), seen.get("subject"), text(seen, "class")
        wrong = () if is_fitting(step, word, seen.get("status")) else _UNFIT
        if seen.get("child") is None and told == step and self._identities.may_be(thread, subject):
            return wrong
        return (*_OF_ANOTHER, *wrong)

    def _judge(self, _index: int, thread: int, body: Body) -> Sequence[str]:
        version = number(body, "grader_version")
        grader = GRADERS.get(version)
        if grader is None:
            return [f"grader version {version} is not known here, so the grade could not be checked"]
        stated, reread = text(body, "grade"), read_reread(body.get("reread"))
        tried = [read_pass(one) for one in items(body, "passes")]
        beside = shown(body, text(body, "external_id"))
        found, control = grader(tuple([saw for saw, _, _ in tried]), reread)
        keys = [_key_of(thread, item, fence) for _, item, fence in tried]
        known = [self._attempts.get(key, NOTHING) for key in keys]
        wrong = [*misstated(body, tried, reread), *otherwise(known, tried, keys, reread)]
        wrong += untold(beside, body, tried, reread)
        if found.value != stated:
            wrong.append(f"the grade is stated as {stated}, but what was seen supports {found.value}")
        wrong += self._misplaced(thread, keys, beside, found)
        lacking = [
            *lacking_of(known, tried, body, self._intents[thread], self._gone[thread]),
            *lacking_later(known, reread),
        ]
        if beside.absent_at not in {None, self._last_absent[thread]}:
            # Where the read is here, it is no other one that is gone.
            is_here = bool(known) and known[-1].read_absent(later=reread is not None)
            what = "the absent read is shown with an instant that no entry tells"
            lacking.append(("" if is_here else ABSENCE, what))
        # Asked of every grade, so that no control outlives the grade that it supports.
        if not self._is_controlled(body, tried, reread, control, beside) and found in _NEEDS_CONTROL:
            if self._controls.lost:
                self._controls.lost -= 1
                self.unbacked += not lacking
            else:
                lacking.append((_PROBED, f"the grade {found.value} leans on a control that no entry holds"))
        self._remember(thread, keys, found)
        return (*wrong, *self._unless_excused(thread, lacking)) if wrong or lacking else ()

    def _misplaced(self, thread: int, keys: Sequence[int], beside: Shown, found: Grade) -> Iterator[str]:
        """Give why no grade, or not this one, can stand here."""
        # The entry that would stand between may be one that is gone.
        certain = not self.partial and not self._flags[thread] & LOST_OF_ATTEMPTS
        if keys and self._newest[thread] not in {0, keys[-1]} and certain:
            yield "an entry of another attempt stands between the newest pass and the grade"
        if beside.absent_at is None and found in _NEEDS_CONTROL:
            yield f"the grade {found.value} shows no read that found the thread absent"
        if self._flags[thread] & _WITHDRAWN:
            yield "the thread was graded although it had been withdrawn"
        if found is Grade.SUSTAINED and thread in self._back:
            yield "the grade is sustained although the thread was read present again"

    def _is_controlled(
        self, body: Body, tried: Sequence[Tried], reread: Reread | None, control: Control, beside: Shown
    ) -> bool:
        """Tell whether the control that a grade leans on is recorded.

        That of a read since the DELETE has an entry of its own; that of a first read, and any where entries
        come singly, stands beside the grade.
        """
        recorded = self._controls.take(body, control)
        afters = tried[-1][0].afters if tried else ()
        since = reread is not None or (Class.OBJECT_ABSENT, control) in afters
        return recorded if since and not self.single else beside.is_controlled

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


_REGISTRATION, _CHANGED = EntryType.THREAD_REGISTERED.value, EntryType.THREAD_CHANGED.value
_PROBED, _GRADED = EntryType.CONTROL_PROBED.value, EntryType.THREAD_GRADED.value
_INTENDED = EntryType.DELETE_INTENDED.value
_UNASKED: Lacking = (_INTENDED, "a DELETE was answered, and no intent stands before it")
_UNINTENDED: Lacking = (_INTENDED, "a read since the DELETE stands there, and no intent before it")
_OF_ANOTHER = ("an observation is told of another step, of a child or of another object",)
_UNFIT = ("an observation's class is none of its step, or comes with no such status",)
_BEHIND = "stands behind one like it or what follows it in its claim, behind its grade, or a newer claim"
_TAKING: Mapping[str, Callable[[Trail, int, int, Body], Sequence[str]]] = {
    _REGISTRATION: Trail._register,  # noqa: SLF001 - the class's own table
    _INTENDED: Trail._intend,  # noqa: SLF001
    EntryType.DELETE_ANSWERED.value: Trail._answer,  # noqa: SLF001
    EntryType.DELETE_SPARED.value: Trail._spare,  # noqa: SLF001
    EntryType.DELETE_LATE_RESULT.value: Trail._be_late,  # noqa: SLF001
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
