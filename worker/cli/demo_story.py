"""The demo's story: what is made at the sandbox, how it is registered, and what must come of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SUPPORT, FINANCE, RESEARCH = "demo-support", "demo-finance", "demo-research"
LITIGANT = "case-witness"
MATTER = "demo-case-7"
# The endpoint of threads is retired, as OpenAI's is; and one file's DELETE loses its reply.
FAULTS = ("endpoint-retired:thread", "lost-reply:file@delete*1")
_OLD, _YOUNG = 45, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One kind of case. ``share`` says how often it comes; ``expect`` lists what may come of it.

    An expectation is a grade for what is deleted or tried, and an outcome for what stays. One that is
    ``alone`` comes once, however many threads take part.
    """

    title: str
    kind: str
    expect: tuple[str, ...]
    meaning: str
    share: int = 1
    days_old: int = _OLD
    children: int = 0
    project: str = SUPPORT
    owner: str = "team-support"
    tags: Mapping[str, str] = field(default_factory=dict)
    gone_already: bool = False
    alone: bool = False


SCENES = (
    Scene(
        title="old conversations with two items",
        kind="conversation",
        share=5,
        children=2,
        expect=("confirmed",),
        meaning="seen, deleted (items first), read again: gone, while a live one still answered",
    ),
    Scene(
        title="old responses",
        kind="response",
        share=3,
        expect=("confirmed",),
        meaning="the same for another kind",
    ),
    Scene(
        title="old files, one reply lost on the way",
        kind="file",
        share=2,
        expect=("confirmed", "inferred"),
        meaning="without the reply Tenure infers from before and after, and says so",
    ),
    Scene(
        title="old threads, endpoint retired",
        kind="thread",
        share=2,
        expect=("unverifiable",),
        meaning="every URL answers 404: that proves nothing, so nothing is certified",
    ),
    Scene(
        title="an old response somebody else deleted",
        kind="response",
        expect=("absent",),
        meaning="it was gone before Tenure came: not claimed as Tenure's work",
        gone_already=True,
    ),
    Scene(
        title="the only response of research",
        kind="response",
        expect=("acknowledged",),
        project=RESEARCH,
        owner="team-research",
        alone=True,
        meaning="deleted, says the provider; nothing alive to compare with, so it is read again later",
    ),
    Scene(
        title="old conversations tagged keep",
        kind="conversation",
        share=2,
        expect=("RETAINED",),
        tags={"keep": "true"},
        meaning="a retain rule beats every delete rule",
    ),
    Scene(
        title="old conversations under legal hold",
        kind="conversation",
        share=2,
        expect=("HELD",),
        owner=LITIGANT,
        meaning="a hold beats everything until it is released",
    ),
    Scene(
        title="old files of finance",
        kind="file",
        share=1,
        expect=("RETAINED",),
        project=FINANCE,
        owner="team-finance",
        meaning="a legal floor of 365 days",
    ),
    Scene(
        title="young conversations",
        kind="conversation",
        share=2,
        days_old=_YOUNG,
        expect=("PENDING",),
        meaning="not due yet",
    ),
    Scene(
        title="a young response",
        kind="response",
        days_old=_YOUNG,
        expect=("PENDING",),
        meaning="not due yet",
    ),
    Scene(
        title="young files",
        kind="file",
        days_old=_YOUNG,
        expect=("PENDING",),
        meaning="not due yet",
    ),
)
LEAST = sum(scene.share for scene in SCENES)


def cast_of(threads: int) -> list[tuple[Scene, int]]:
    """Share that many threads out over the scenes, each as often as its share, at least that often."""
    rounds = max(threads, LEAST) // LEAST
    counts = [(scene, scene.share * (1 if scene.alone else rounds)) for scene in SCENES]
    rest = max(threads, LEAST) - sum(count for _, count in counts)
    first, count = counts[0]
    return [(first, count + rest), *counts[1:]]
