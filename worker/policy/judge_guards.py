"""Judge a changed guard: each limit by itself."""

from __future__ import annotations

from worker.policy.document import Guards
from worker.policy.effects import Judgement, loosening, tightening
from worker.policy.lengths import lasts_as_long

_UNLIMITED = float("inf")


def judge_guard(name: str, before: Guards, after: Guards) -> Judgement:
    """Judge one limit whose value differs; a name that is not known is loosening."""
    if name == "window":
        return _window(before, after)
    if name not in _SAYS or _number(name, after) > _number(name, before):
        return loosening(_SAYS.get(name, "Nobody has proven what this limit does."))
    return tightening("One sweep may release no more than before.")


_SAYS = {
    "max_deletes": "One sweep may release more threads.",
    "max_percent": "One sweep may release a larger share.",
    "min_population": "The percent applies to fewer populations.",
    "require_approval_over": "Larger plans are released without approval.",
}


def bigger(before: Guards, after: Guards) -> bool:
    """Whether any limit may bind less than before."""
    names = (*_SAYS, "window")
    return any(
        getattr(before, name) != getattr(after, name)
        and judge_guard(name, before, after).effect == "loosening"
        for name in names
    )


def _number(name: str, guards: Guards) -> float:
    value: float | None = getattr(guards, name)
    return _UNLIMITED if value is None else value


def _window(before: Guards, after: Guards) -> Judgement:
    if lasts_as_long(after.window, before.window):
        return loosening(
            "A longer window remembers larger populations, so the same percent may be more threads."
        )
    return loosening("A shorter window forgets releases sooner.")
