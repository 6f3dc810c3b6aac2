"""Observations and passes as they stand in a body, and back again for the verifier.

What a provider sends is cut to size and to printable ASCII here, so that no answer, however hostile,
can make a grade too big to be recorded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from worker.audit.entry import Json
from worker.audit.fields import listing, within
from worker.audit.reading import Misshapen, flag, items, mapping, number, text, texts
from worker.model.chosen import ChosenChild, ChosenState
from worker.model.clock import rfc3339
from worker.model.evidence import Children, Class, Control, Observation, Pass, Reread, is_own_attempt

MAX_OBSERVATIONS = 12
MAX_PASSES = 12
MOST_CHARACTERS, _SHORT = 80, 64
# Printable ASCII of which JSON writes every character as one byte.
_PLAIN = re.compile(r"[ !#-\[\]-~]*")
_PAIR = 2
_WORDS = texts("before", "control", "answer", "children")
# A grade holds much else; the digest beside a cut list is that of all names, which the database keeps.
_OTHERS_BYTES = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One pass over a thread with the identity under which it was armed."""

    item: str
    fence: int
    saw: Pass


def observation_body(one: Observation) -> dict[str, Json]:
    """Write an observation without what is None. No content, no secrets, no floats."""
    fields: dict[str, Json] = {
        "at": rfc3339(one.at),
        "body_sha256": one.body_sha256,
        "child": cut(one.child, MOST_CHARACTERS),
        "class": one.seen.value,
        "detail": cut(one.detail, MOST_CHARACTERS),
        "latency_ms": one.latency_ms,
        "provider_created_at": rfc3339(one.provider_created_at) if one.provider_created_at else None,
        "provider_date": cut(one.provider_date, _SHORT),
        "request_id": cut(one.request_id, _SHORT),
        "status": one.status,
        "step": one.step.value,
        "subject": cut(one.subject, MOST_CHARACTERS) or None,
    }
    return {key: value for key, value in fields.items() if value is not None}


def observation_bodies(observations: Sequence[Observation]) -> list[Json]:
    """Write the newest observation of each step and class, then the newest others, oldest first.

    Those of children are left out (``child_counts`` has their numbers): a container may have thousands.
    """
    order = sorted((one for one in observations if one.child is None), key=lambda one: one.at)
    newest = {(one.step, one.seen): at for at, one in enumerate(order)}
    telling = sorted(newest.values(), reverse=True)[:MAX_OBSERVATIONS]
    others = [at for at in range(len(order) - 1, -1, -1) if at not in telling]
    kept = sorted([*telling, *others][:MAX_OBSERVATIONS])
    return [observation_body(order[at]) for at in kept]


def child_counts(observations: Sequence[Observation]) -> list[Json]:
    """Count the observations of children by step and class."""
    counts = Counter((one.step.value, one.seen.value) for one in observations if one.child is not None)
    return [{"class": seen, "count": count, "step": step} for (step, seen), count in sorted(counts.items())]


def chosen_body(chosen: Sequence[ChosenChild]) -> dict[str, Json]:
    """Write how many chosen children had to go, how many are confirmed gone, and name every other one.

    One list for all the others, with the reason or the state of each: a body has a bounded size.
    """
    others = [
        f"{one.id} {one.reason.value if one.reason else one.state.value}"
        for one in sorted(chosen, key=lambda one: (one.state is not ChosenState.KEPT, one.state, one.id))
        if one.state is not ChosenState.CONFIRMED
    ]
    return {
        "found": sum(one.counts for one in chosen),
        "confirmed": sum(one.state is ChosenState.CONFIRMED for one in chosen),
        **listing("others", others, most=_OTHERS_BYTES),
    }


def tried_body(one: Tried) -> dict[str, Json]:
    """Write a pass in the terms in which it is folded."""
    saw = one.saw
    return {
        "afters": [[seen.value, control.value] for seen, control in saw.afters],
        "answer": saw.answer.value,
        "armed": saw.armed,
        "before": saw.before.value,
        "children": saw.children.value,
        "control": saw.control.value,
        "fence": one.fence,
        "item": one.item,
    }


def read_tried(value: object) -> Tried:
    """Read what ``tried_body`` wrote; raises Misshapen."""
    saw, item, fence = read_pass(value)
    return Tried(item=item, fence=fence, saw=saw)


def read_pass(value: object) -> tuple[Pass, str, int]:
    """Read the same as (pass, item, fence), which is quicker to make: a verifier reads a million."""
    body = mapping(value)
    words, afters = _WORDS(body), tuple([_pair(one) for one in items(body, "afters")])
    try:
        saw = _pass(words, afters, flag(body, "armed"))
    except ValueError as unknown:
        raise Misshapen(f"A pass uses a word that is not known: {unknown}.") from unknown
    return saw, text(body, "item"), number(body, "fence")


def reread_body(one: Reread | None) -> dict[str, Json] | None:
    """Write a later read, or None."""
    return {"class": one.seen.value, "control": one.control.value} if one else None


def read_reread(value: object) -> Reread | None:
    """Read what ``reread_body`` wrote; raises Misshapen."""
    if value is None:
        return None
    body = mapping(value)
    try:
        return Reread(seen=Class(text(body, "class")), control=Control(text(body, "control")))
    except ValueError as unknown:
        raise Misshapen(f"A later read uses a word that is not known: {unknown}.") from unknown


def telling_passes(tried: Sequence[Tried]) -> list[Tried]:
    """Leave out passes and reads that cannot change the grade, so that a body has a bounded size.

    Folding looks at the newest pass and at the newest own attempt before it; of each pass's reads it takes
    the first that counts, else the newest. A test holds the grade of the rest equal to that of the whole.
    """
    kept = set(range(max(0, len(tried) - (MAX_PASSES - 1)), len(tried)))
    own = [at for at, one in enumerate(tried[:-1]) if is_own_attempt(one.saw)]
    kept.update(own[-1:])
    return [_with_telling_reads(tried[at]) for at in sorted(kept)]


def cut(value: str | None, limit: int) -> str | None:
    """Cut a text from outside to printable ASCII, and to so many bytes as JSON writes it."""
    if value is None:
        return None
    if len(value) <= limit and _PLAIN.fullmatch(value):
        return value
    printable = "".join(char if " " <= char <= "~" else "?" for char in value[:limit])
    # A quotation mark and a backslash take two bytes: a provider that sends only those must not fill a body.
    return within(printable, limit)


def _with_telling_reads(one: Tried) -> Tried:
    reads = list(one.saw.afters)
    kept = {len(reads) - 2, len(reads) - 1} & set(range(len(reads)))
    for control in (Control.GOOD, Control.ROUTE_ONLY):
        wanted = (Class.OBJECT_ABSENT, control)
        if wanted in reads:
            kept.add(reads.index(wanted))
    return replace(one, saw=replace(one.saw, afters=tuple(reads[at] for at in sorted(kept))))


@lru_cache(maxsize=1024)
def _pass(words: tuple[str, ...], afters: tuple[tuple[str, str], ...], armed: bool) -> Pass:  # noqa: FBT001 - a keyword costs a cache as much again
    """Read a pass from its words; most threads share one of a few, and a verifier reads a million."""
    before, control, answer, children = words
    return Pass(
        before=Class(before),
        control=Control(control),
        armed=armed,
        answer=Class(answer),
        afters=tuple((Class(seen), Control(support)) for seen, support in afters),
        children=Children(children),
    )


def _pair(value: object) -> tuple[str, str]:
    if isinstance(value, list) and len(value) == _PAIR:
        seen, control = value
        if isinstance(seen, str) and isinstance(control, str):
            return seen, control
    raise Misshapen("A read is not a pair of class and control.")
