"""Observations as the API shows and the database keeps them: facts of the exchange, never content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from worker.model.chosen import ChosenChild
from worker.model.clock import parse_rfc3339, rfc3339
from worker.model.evidence import Class, Grade, Observation, Step

# A thread's evidence keeps the newest observations; the log has all of them.
_MOST_KEPT = 40


def kept_observation(one: Observation) -> dict[str, Any]:
    """Return the API's form of one observation."""
    return {
        "step": one.step.value,
        "child": one.child,
        "class": one.seen.value,
        "status": one.status,
        "request_id": one.request_id,
        "at": rfc3339(one.at),
    }


def read_observation(kept: Mapping[str, Any], subject: str) -> Observation:
    """Return what `kept_observation` kept."""
    return Observation(
        step=Step(kept["step"]),
        seen=Class(kept["class"]),
        at=parse_rfc3339(kept["at"]),
        subject=subject,
        child=kept["child"],
        status=kept["status"],
        request_id=kept["request_id"],
    )


def kept_evidence(
    before: Mapping[str, Any] | None,
    grade: Grade | None,
    attempts: int,
    observations: Sequence[Observation],
    chosen: Sequence[ChosenChild] = (),
) -> dict[str, Any]:
    """Return the API's evidence object: what was there before, and what was seen now.

    Where ``chosen`` children were left alone, ``children_kept`` names them with the reason.
    """
    old = list(before.get("observations", [])) if before else []
    told = [one for one in map(kept_observation, observations) if one not in old]
    kept = [{"child": one.id, "reason": one.reason.value} for one in chosen if one.reason]
    kept = kept or (before or {}).get("children_kept", [])
    return {
        "grade": grade.value if grade else (before or {}).get("grade"),
        "attempts": attempts,
        "observations": [*old, *told][-_MOST_KEPT:],
        "entry": (before or {}).get("entry"),
        **({"children_kept": kept} if kept else {}),
    }
