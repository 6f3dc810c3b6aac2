"""What the log recorded of one attempt: the intent, the answer, and every read of the thread under one claim.

An attempt is known by thread, item, fence and stage. Here stand the states that it can be in; each is one
object however many attempts share it, since most of a million threads were tried alike. Whoever calls hands
in words that are known: what a log says at will would be remembered for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

from worker.audit.entry import EntryType
from worker.model.evidence import Children, Class, Pass

# A class and the control that supports it, as words.
Read: TypeAlias = tuple[str, str]
# The type of an entry that is not there, and what it would have told.
Lacking: TypeAlias = tuple[str, str]

_INTENDED, _ANSWERED = EntryType.DELETE_INTENDED.value, EntryType.DELETE_ANSWERED.value
_PREREAD, _REREAD = EntryType.THREAD_PREREAD.value, EntryType.THREAD_REREAD.value

_ABSENT = Class.OBJECT_ABSENT.value
_UNRECORDED = frozenset({Class.NONE.value, Class.UNSENT.value})
# A pre-read that says nothing leaves no entry.
_SILENT = frozenset({Class.NONE.value, Class.THROTTLED.value})


# Compared and hashed as the object that it is, which is quick and right: each way of arriving is kept.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recorded:
    """What the entries of one attempt say so far, in the words of the log; empty where none says it.

    ``before`` and ``children`` are those of the intent, which is the ``order``-th of its thread. ``proven``
    says that its claim was graded as what may be called deleted, ``over`` that it was as anything else,
    ``outdated`` that an entry of another attempt of the thread followed, ``late`` that an answer came late.
    """

    before: str = ""
    children: str = ""
    order: int = 0
    answer: str = ""
    prereads: frozenset[str] = frozenset()
    afters: frozenset[Read] = frozenset()
    later: frozenset[Read] = frozenset()
    proven: bool = False
    over: bool = False
    outdated: bool = False
    late: bool = False

    @property
    def is_begun(self) -> bool:
        """Whether something followed its intent."""
        return bool(self.answer or self.afters or self.proven or self.over)

    def read_absent(self, *, later: bool) -> bool:
        """Whether an entry is here of a read that found the thread absent, before the grade or ``later``."""
        reads = self.later if later else self.afters
        return any(word == _ABSENT for word, _ in reads) or (not later and _ABSENT in self.prereads)


NOTHING = Recorded()


def children_of(found: int, confirmed: int) -> str | None:
    """Return how the children stand by an intent's two numbers; None where they cannot be."""
    if not 0 <= confirmed <= found:
        return None
    if not found:
        return Children.NONE.value
    return Children.ALL.value if confirmed == found else Children.SOME.value


@lru_cache(maxsize=4096)
def intended(known: Recorded, before: str, children: str, order: int) -> Recorded:
    """Add an intent; one that could not leave in time is recorded again as the same attempt."""
    return replace(known, before=before, children=children, order=known.order or order)


@lru_cache(maxsize=4096)
def answered(known: Recorded, word: str) -> Recorded:
    """Add what came back to the DELETE."""
    return replace(known, answer=word)


@lru_cache(maxsize=4096)
def preread(known: Recorded, word: str) -> Recorded:
    """Add a read before any DELETE."""
    return replace(known, prereads=known.prereads | {word})


@lru_cache(maxsize=4096)
def read(known: Recorded, word: str, control: str) -> Recorded:
    """Add a read since the DELETE."""
    return replace(known, afters=known.afters | {(word, control)})


@lru_cache(maxsize=4096)
def read_later(known: Recorded, word: str, control: str) -> Recorded:
    """Add a read of later, behind the grade."""
    return replace(known, later=known.later | {(word, control)})


@lru_cache(maxsize=4096)
def graded(known: Recorded, *, deleted: bool) -> Recorded:
    """Add that its claim was graded, as what may be called deleted or as anything else."""
    return replace(known, proven=deleted, over=not deleted)


@lru_cache(maxsize=4096)
def outdated(known: Recorded) -> Recorded:
    """Add that another attempt of the thread has begun."""
    return replace(known, outdated=True)


@lru_cache(maxsize=4096)
def late(known: Recorded) -> Recorded:
    """Add that an answer came after the claim was another's."""
    return replace(known, late=True)


@lru_cache(maxsize=4096)
def missing(known: Recorded, saw: Pass) -> tuple[Lacking, ...]:
    """Return what a grade's pass says and no entry of its attempt does."""
    return tuple(_missing(known, saw))


def _missing(known: Recorded, saw: Pass) -> Iterator[Lacking]:
    before, answer = saw.before.value, saw.answer.value
    if saw.armed and not known.before:
        yield _INTENDED, "no intent stands before this grade"
    elif not saw.armed and before not in known.prereads and before not in _SILENT:
        yield _PREREAD, f"no entry holds the first read, which is told as {before}"
    if not known.answer and answer not in _UNRECORDED:
        yield _ANSWERED, f"no entry holds the answer, which is told as {answer}"
    for word, control in sorted(_told(saw) - known.afters):
        yield _REREAD, f"no entry holds the read that is told as {word}, control {control}"


@lru_cache(maxsize=4096)
def unlike(known: Recorded, saw: Pass, *, newest: bool) -> tuple[str, ...]:
    """Return what the entries of an attempt say, and a grade's pass says otherwise or not at all.

    Only of the ``newest`` pass all reads are told: of an earlier one they no longer decide anything.
    """
    return tuple(_unlike(known, saw, newest=newest))


def _unlike(known: Recorded, saw: Pass, *, newest: bool) -> Iterator[str]:
    before, answer, told = saw.before.value, saw.answer.value, _told(saw)
    if known.before and not saw.armed:
        yield "an intent stands there, of which the grade does not tell"
    elif known.before:
        if known.before != before:
            yield f"the intent saw {known.before}, the grade says {before}"
        if known.children != saw.children.value:
            yield f"the intent has {known.children} of the children gone, the grade {saw.children.value}"
    for word in sorted(known.prereads - {before}):
        yield f"the first read saw {word}, the grade says {before}"
    if known.answer and known.answer != answer:
        yield f"the answer was {known.answer}, the grade says {answer}"
    if newest:
        for word, control in sorted(known.afters - told):
            yield f"the grade does not tell of a read that saw {word}, control {control}"
        if len(told) != len(saw.afters):
            yield "a read stands there twice"


def _told(saw: Pass) -> frozenset[Read]:
    return frozenset((seen.value, control.value) for seen, control in saw.afters)
