"""Guards bound what one sweep may release; exceeding any one blocks all of it.

All of it, because whoever reviews the block has not seen the rest either.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from worker.policy.document import Guards


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardVerdict:
    """Whether the sweep is blocked and why, and whether a person must approve it."""

    blocked: bool
    reasons: tuple[str, ...]
    needs_approval: bool


def check(guards: Guards, *, planned: int, released: int, population: int) -> GuardVerdict:
    """Judge a plan of that many threads.

    ``released`` is what this policy released in the last window, ``population`` the largest live matching
    population (age ignored) recorded in it, this sweep included. A plan of nothing is never blocked.
    """
    if planned <= 0:
        return GuardVerdict(blocked=False, reasons=(), needs_approval=False)
    count = planned + released
    reasons: list[str] = []
    if count > guards.max_deletes:
        reasons.append(
            f"max_deletes: {planned} planned and {released} released in the last {guards.window}"
            f" exceed {guards.max_deletes}"
        )
    # Decimal of the written number: 0.1 percent of 1000 is exactly one.
    if population >= guards.min_population and 100 * count > Decimal(str(guards.max_percent)) * population:
        share = f"{100 * count / population:.1f} %" if population else "more than all"
        reasons.append(
            f"max_percent: {planned} planned and {released} released in the last {guards.window}"
            f" are {share} of {population}, above {guards.max_percent:g} %"
        )
    limit = guards.require_approval_over
    return GuardVerdict(
        blocked=bool(reasons),
        reasons=tuple(reasons),
        needs_approval=limit is not None and planned > limit,
    )
