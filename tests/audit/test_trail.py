"""What an entry that cannot be read leaves behind for those after it, and what is excused."""

from __future__ import annotations

from typing import Any

import pytest

from worker.audit.reading import Misshapen
from worker.audit.trail import Trail

_PASS = {
    "afters": [["object_absent", "good"]],
    "answer": "acknowledged",
    "armed": True,
    "before": "present",
    "children": "none",
    "control": "none",
    "fence": 1,
    "item": "itm_1",
}
_CONTROL = {"class": "present", "step": "control"}
_TRY = {"fence": 1, "item": "itm_1", "subject": "thr_1"}
_INTENDED: dict[str, Any] = {
    **_TRY,
    "before": {"class": "present"},
    "children_confirmed": 0,
    "children_found": 0,
    "decision": {"outcome": "DUE"},
    "stage": "container",
}
_ANSWERED = {**_TRY, "stage": "container", "observation": {"class": "acknowledged"}}
_REREAD: dict[str, Any] = {
    **_TRY,
    "control": "good",
    "observation": {"class": "object_absent", "at": "2026-11-01T00:00:00Z"},
}
_GRADED: dict[str, Any] = {
    **_TRY,
    "attempts": 1,
    "external_id": "conv_1",
    "grade": "confirmed",
    "grader_version": 1,
    "kind": "conversation",
    "observations": [_CONTROL],
    "owner": "team",
    "passes": [_PASS],
    "reread": None,
}
_STORY = [
    ("delete.intended", _INTENDED),
    ("delete.answered", _ANSWERED),
    ("thread.reread", _REREAD),
    ("thread.graded", _GRADED),
]


def _told(trail: Trail, *without: str) -> list[str]:
    story = [(kind, body) for kind, body in _STORY if kind not in without]
    return [what for at, (kind, body) in enumerate(story) for what in trail.feed(at, kind, 0, body)]


def test_a_story_that_is_whole_leaves_nothing_to_say() -> None:
    assert _told(Trail()) == []


@pytest.mark.parametrize("broken", [None, {}, {"class": 1, "step": "after"}, {"class": "present", "step": 1}])
def test_a_misshapen_grade_counts_for_nothing_wherever_it_breaks_off(broken: Any) -> None:
    """Else what a later grade may lean on would hang on the order in which observations are read."""
    trail = Trail()
    assert _told(trail, "thread.graded") == []
    for observations in ([_CONTROL, broken], [broken, _CONTROL]):
        with pytest.raises(Misshapen):
            trail.feed(3, "thread.graded", 0, {**_GRADED, "observations": observations})
    # It is not called deleted yet: a read that finds it present is one of the attempt's, and none of later.
    present = {**_REREAD, "control": "none", "observation": {"class": "present"}}
    assert list(trail.feed(4, "thread.reread", 0, present)) == []
    assert list(trail.back()) == []
    assert trail.feed(5, "thread.graded", 0, _GRADED) == [
        "item itm_1, fence 1: the grade does not tell of a read that saw present, control none"
    ]


@pytest.mark.parametrize("at", ["", "yesterday", "2026-13-01T00:00:00Z", "2026-11-01T00:00:00", "0001-01-01"])
def test_a_read_at_no_instant_is_misshapen(at: str) -> None:
    seen = {"class": "object_absent", "at": at}
    with pytest.raises(Misshapen, match="no instant"):
        Trail().feed(0, "thread.reread", 0, {**_REREAD, "observation": seen})


def test_what_may_lie_before_a_range_is_excused_until_the_thread_is_registered_in_it() -> None:
    early = Trail(whole=False)
    assert _told(early, "delete.intended", "thread.reread") == []
    assert early.unbacked == 1
    registered = Trail(whole=False)
    registered.feed(0, "thread.registered", 0, {})
    assert len(_told(registered, "delete.intended", "thread.reread")) > 1
    assert registered.unbacked == 0


def test_a_thread_some_of_whose_bodies_are_gone_is_excused_and_no_other() -> None:
    trail = Trail()
    trail.lose("delete.intended", 0)
    assert _told(trail, "delete.intended") == []
    assert trail.unbacked == 1
    told = trail.feed(9, "delete.answered", 1, {**_ANSWERED, "subject": "thr_2"})
    assert told == ["a DELETE was answered, and no intent stands before it"]


def test_no_word_that_is_none_is_remembered() -> None:
    seen = {"class": "x" * 16_000, "at": "2026-11-01T00:00:00Z"}
    for kind, body in (
        ("delete.answered", {**_ANSWERED, "observation": seen}),
        ("thread.preread", {**_TRY, "observation": seen}),
        ("thread.reread", {**_REREAD, "observation": seen}),
        ("thread.reread", {**_REREAD, "control": "x" * 16_000}),
    ):
        trail = Trail()
        with pytest.raises(ValueError, match="is not a valid"):
            trail.feed(0, kind, 0, body)
        assert trail._attempts == {}


def test_controls_of_threads_that_nobody_met_take_no_memory_without_end() -> None:
    trail = Trail()
    for number in range(100):
        supports = [f"thr_{number}_{one}" for one in range(100)]
        probe = {"control": "good", "kind": "conversation", "supports": supports}
        trail.feed(number, "control.probed", None, probe)
    assert len(trail._controls) == 1000
