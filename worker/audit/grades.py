"""A grade by itself: every grader that there was, and what its own fields say otherwise than its passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

from worker.audit.attempts import Lacking, Recorded, missing, unlike
from worker.audit.entry import EntryType
from worker.audit.observed import MAX_PASSES, MOST_CHARACTERS, cut
from worker.audit.reading import Body, number, text
from worker.audit.words import is_fitting
from worker.model.evidence import Class, Control, Grade, Pass, Reread, Step, fold, grade

# Of more passes than a grade can tell, it tells these newest ones (observed.telling_passes).
NEWEST = MAX_PASSES - 1
_INTENDED, _REREAD = EntryType.DELETE_INTENDED.value, EntryType.THREAD_REREAD.value
# No entry can have told it.
_NOWHERE = ""
LATE = "an answer came late to a claim that was graded"
_OF_CONTROL, _PRESENT = Step.CONTROL.value, Class.PRESENT.value

# A pass with its item and fence.
Tried: TypeAlias = tuple[Pass, str, int]
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


def misstated(body: Body, tried: Sequence[Tried], reread: Reread | None) -> Iterator[str]:
    """Give what a grade's own fields say otherwise than its passes; raises Misshapen."""
    if tried and tried[-1][1:] != (text(body, "item"), number(body, "fence")):
        yield "the newest pass is not of the claim that the grade names"
    made, armed = number(body, "passes_made"), bool(tried) and tried[-1][0].armed
    most = number(body, "attempts") + (not armed)
    # A later read is folded with the passes that were told, and adds none.
    wanted = len(tried) if reread is not None else most
    if made != wanted or not min(most, NEWEST) <= len(tried) <= most:
        yield f"{made} passes are said to have been made, {len(tried)} of {most} are told"


def otherwise(
    known: Sequence[Recorded], tried: Sequence[Tried], keys: Sequence[int], reread: Reread | None
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
    if known and (known[-1].over or (known[-1].proven and reread is None)):
        yield "the claim was graded before"
    if known and known[-1].late:
        yield LATE


def lacking_of(
    known: Sequence[Recorded], tried: Sequence[Tried], body: Body, intents: int, gone: int
) -> Iterator[Lacking]:
    """Give what the passes say and no entry does; ``intents`` stand before the grade, ``gone`` are lost."""
    for one, (saw, item, fence) in zip(known, tried, strict=True):
        for kind, what in missing(one, saw):
            yield kind, f"item {item}, fence {fence}: {what}"
    told = number(body, "attempts")
    newest = [one.order for one in known[-NEWEST:] if one.order]
    if told != intents:
        # However many bodies are gone, they were no more than they are.
        kind = _INTENDED if told <= intents + gone else _NOWHERE
        yield kind, f"the grade tells of {told} DELETEs, and {intents} were intended before it"
    elif newest != list(range(intents - len(newest) + 1, intents + 1)):
        yield _INTENDED, "a DELETE was intended that no pass tells of"


def lacking_later(known: Sequence[Recorded], reread: Reread | None) -> Iterator[Lacking]:
    """Give what is told of a later read that no entry of the newest attempt holds."""
    if reread is None:
        return
    word, control = reread.seen.value, reread.control.value
    if not known or (word, control) not in known[-1].later:
        yield _REREAD, f"no entry holds the later read, which is told as {word}, control {control}"


def is_other(seen: Body, external_id: str) -> bool:
    """Tell whether this is a control that was read present, and of another object: nothing is its own.

    A subject that was cut, or had to be made printable (observed.cut), is not compared.
    """
    step, word, subject = text(seen, "step"), text(seen, "class"), seen.get("subject")
    if step != _OF_CONTROL or word != _PRESENT or not isinstance(subject, str):
        return False
    if seen.get("child") is not None or not is_fitting(step, word, seen.get("status")):
        return False
    return subject != external_id or not is_comparable(external_id)


def is_comparable(external_id: str) -> bool:
    """Tell whether an observation's subject that reads so is surely this object."""
    if len(external_id) >= MOST_CHARACTERS or "?" in external_id:
        return False
    return cut(external_id, MOST_CHARACTERS) == external_id
