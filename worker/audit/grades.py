"""A grade by itself: every grader that there was, and what its own fields say otherwise than its passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

from worker.audit.attempts import Recorded
from worker.audit.observed import MAX_PASSES, MOST_CHARACTERS, cut
from worker.audit.reading import Body, number, text
from worker.model.evidence import Class, Control, Grade, Pass, Reread, Step, fold, grade

# Of more passes than a grade can tell, it tells these newest ones (observed.telling_passes).
NEWEST = MAX_PASSES - 1
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
    # A later read is folded with the passes that were told, and adds none.
    wanted = len(tried) if reread is not None else number(body, "attempts") + (not armed)
    if made != wanted or len(tried) < min(made, NEWEST) or len(tried) > made:
        yield f"{made} passes are said to have been made, {len(tried)} are told"


def lacking_later(known: Sequence[Recorded], reread: Reread | None) -> Iterator[str]:
    """Give what is told of a later read that no entry of the newest attempt holds."""
    if reread is None:
        return
    word, control = reread.seen.value, reread.control.value
    if not known or (word, control) not in known[-1].later:
        yield f"no entry holds the later read, which is told as {word}, control {control}"


def is_other(seen: Body, external_id: str) -> bool:
    """Tell whether this is a control that was read present, and of another object: nothing is its own.

    A subject that was cut, or had to be made printable (observed.cut), is not compared.
    """
    step, word, subject = text(seen, "step"), text(seen, "class"), seen.get("subject")
    if step != _OF_CONTROL or word != _PRESENT or not isinstance(subject, str):
        return False
    return subject != external_id or not is_comparable(external_id)


def is_comparable(external_id: str) -> bool:
    """Tell whether an observation's subject that reads so is surely this object."""
    if len(external_id) >= MOST_CHARACTERS or "?" in external_id:
        return False
    return cut(external_id, MOST_CHARACTERS) == external_id
