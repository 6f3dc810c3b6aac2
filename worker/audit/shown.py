"""What a grade shows of its thread: the observations beside it, which the table of deletions repeats.

They are what people read, so they may say nothing that the passes do not, and the instant for which anything
is claimed is that of a read that an entry holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from worker.audit.grades import Tried, is_comparable, is_other
from worker.audit.reading import Body, items, mapping, number, text
from worker.audit.words import class_of, is_fitting, seconds_of
from worker.model.evidence import Class, Pass, Reread, Step

_CONTROL, _DELETE, _ABSENT = Step.CONTROL.value, Step.DELETE.value, Class.OBJECT_ABSENT.value
# A step and a class, as words.
_Word = tuple[str, str]


class Shown(NamedTuple):
    """What stands beside a grade.

    ``is_controlled`` says that another object was read present, ``absent_at`` when the thread itself was
    last read absent (Unix seconds; None: not at all). ``words`` are the steps and classes told of the thread,
    ``is_strange`` that one of them is of a child or of another object, ``is_unfit`` that a class came with a
    status with which it never comes.
    """

    is_controlled: bool
    absent_at: float | None
    words: tuple[_Word, ...]
    is_strange: bool
    is_unfit: bool


def shown(body: Body, external_id: str) -> Shown:
    """Read a grade's observations; raises Misshapen, ValueError."""
    is_controlled = is_strange = is_unfit = False
    absent: Body | None = None
    words: list[_Word] = []
    for one in items(body, "observations"):
        seen = mapping(one)
        step = text(seen, "step")
        if step == _CONTROL:
            is_controlled = is_other(seen, external_id) or is_controlled
            continue
        word = class_of(seen)
        words.append((step, word))
        is_unfit = is_unfit or not is_fitting(step, word, seen.get("status"))
        # The answer to a DELETE is no read: it may say absent, and the read behind it present.
        if word == _ABSENT and step != _DELETE:
            absent = seen
        subject = seen.get("subject")
        another = subject is not None and subject != external_id and is_comparable(external_id)
        is_strange = is_strange or another or seen.get("child") is not None
    absent_at = seconds_of(absent) if absent else None
    return Shown(is_controlled, absent_at, tuple(words), is_strange, is_unfit)


def untold(seen: Shown, body: Body, tried: list[Tried], reread: Reread | None) -> Iterator[str]:
    """Give what is shown and no pass tells; raises Misshapen.

    Where passes were left out for size, nobody can say.
    """
    if seen.is_strange:
        yield "an observation beside the grade is of a child or of another object"
    if seen.is_unfit:
        yield "an observation beside the grade has a class that comes with no such status"
    if number(body, "passes_made") == len(tried):
        yield from _untold(seen.words, tuple([saw for saw, _, _ in tried]), reread)


@lru_cache(maxsize=1024)
def _untold(words: tuple[_Word, ...], passes: tuple[Pass, ...], reread: Reread | None) -> tuple[str, ...]:
    told = {(Step.REREAD.value, reread.seen.value)} if reread is not None else set[_Word]()
    for saw in passes:
        told |= {(Step.BEFORE.value, saw.before.value), (Step.DELETE.value, saw.answer.value)}
        told |= {(Step.AFTER.value, after.value) for after, _ in saw.afters}
    return tuple(
        f"{word} is shown for {step}, and no pass tells of it" for step, word in sorted({*words} - told)
    )
