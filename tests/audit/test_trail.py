"""What an entry that cannot be read leaves behind for the judgement of those after it."""

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
_SEEN = [
    {"class": "acknowledged", "step": "delete"},
    {"class": "object_absent", "step": "after"},
    {"class": "present", "step": "control"},
]
_INTENDED: dict[str, Any] = {
    "before": {"class": "present"},
    "fence": 1,
    "item": "itm_1",
    "stage": "container",
    "subject": "thr_1",
}


def _graded(*observations: Any) -> dict[str, Any]:
    return {
        "grade": "confirmed",
        "grader_version": 1,
        "kind": "conversation",
        "observations": list(observations),
        "passes": [_PASS],
        "reread": None,
        "subject": "thr_1",
    }


@pytest.mark.parametrize("broken", [None, {}, {"class": 1, "step": "after"}, {"class": "present", "step": 1}])
def test_a_misshapen_grade_counts_for_nothing_wherever_it_breaks_off(broken: Any) -> None:
    """Else what a later grade may lean on would hang on the order in which observations are read."""
    reports = []
    for observations in ([*_SEEN, broken], [broken, *_SEEN]):
        trail = Trail()
        assert list(trail.feed("delete.intended", "0" * 32, _INTENDED)) == []
        with pytest.raises(Misshapen):
            list(trail.feed("thread.graded", "0" * 32, _graded(*observations)))
        reports.append(list(trail.feed("thread.graded", "0" * 32, _graded(_SEEN[2]))))
    assert (
        reports[0]
        == reports[1]
        == [
            "the grade confirmed leans on a read that no entry holds",
            "the grade confirmed leans on an acknowledged DELETE that no entry holds",
        ]
    )


def test_a_grade_that_can_be_read_leaves_what_it_saw() -> None:
    trail = Trail()
    assert list(trail.feed("delete.intended", "0" * 32, _INTENDED)) == []
    for observations in (_SEEN, [_SEEN[2]]):
        assert list(trail.feed("thread.graded", "0" * 32, _graded(*observations))) == []
