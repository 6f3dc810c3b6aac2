"""Whether one difference between two bundles lets more be deleted, and the sentence that says why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Effect(StrEnum):
    """``loosening``: could delete more or earlier, or protects less, or nobody can prove that it does not."""

    LOOSENING = "loosening"
    TIGHTENING = "tightening"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """An effect and its reason, one sentence for a person."""

    effect: Effect
    why: str


def loosening(why: str) -> Judgement:
    """Judge as loosening."""
    return Judgement(effect=Effect.LOOSENING, why=why)


def tightening(why: str) -> Judgement:
    """Judge as tightening."""
    return Judgement(effect=Effect.TIGHTENING, why=why)


def neutral(why: str) -> Judgement:
    """Judge as neutral."""
    return Judgement(effect=Effect.NEUTRAL, why=why)
