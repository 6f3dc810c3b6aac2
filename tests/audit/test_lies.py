"""A log can be sealed honestly over a lie; what it holds then contradicts itself, and that is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from worker.audit.entry import Entry, EntryType
from worker.audit.envelope import Leaf
from worker.audit.findings import Report

Rewrite = Callable[[Entry], Entry | None]


def _graded(change: Callable[[dict[str, Any]], None]) -> Rewrite:
    """Change the graded body of the thread that was confirmed."""

    def rewritten(entry: Entry) -> Entry:
        if entry.type is not EntryType.THREAD_GRADED or entry.subject != "thr_confirmed":
            return entry
        body = json.loads(json.dumps(entry.body))
        change(body)
        return replace(entry, body=body)

    return rewritten


def _see_an_error_first(body: dict[str, Any]) -> None:
    body["passes"][0]["before"] = "error"
    body["grade"] = "acknowledged"


def _without(kind: EntryType) -> Rewrite:
    return lambda entry: None if entry.type is kind and entry.project == "support-eu" else entry


LIES: dict[str, tuple[Rewrite, str]] = {
    "a better grade": (_graded(lambda body: body.update(grade="sustained")), "supports confirmed"),
    "a grade that is none": (_graded(lambda body: body.update(grade="gone")), "supports confirmed"),
    "another grader": (_graded(lambda body: body.update(grader_version=99)), "version 99 is not known"),
    "a pass left out": (_graded(lambda body: body.update(passes=[])), "supports unverifiable"),
    "a pass with another word": (_graded(lambda body: body["passes"][0].update(before="seen")), "not known"),
    "a pass of another claim": (_graded(lambda body: body["passes"][0].update(fence=9)), "no intent"),
    "an early read that was otherwise": (
        _graded(_see_an_error_first),
        "saw present",
    ),
    "no observations": (_graded(lambda body: body.update(observations=[])), "control that no entry holds"),
    "no control": (
        _graded(
            lambda body: body.update(observations=[o for o in body["observations"] if o["step"] != "control"])
        ),
        "control that no entry holds",
    ),
    "no absent read": (
        _graded(
            lambda body: body.update(observations=[o for o in body["observations"] if o["step"] != "after"])
        ),
        "read that no entry holds",
    ),
    "no intent": (_without(EntryType.DELETE_INTENDED), "no intent"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_log_that_was_honestly_sealed_over_a_lie_is_found(
    lie: str,
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    bundled: Callable[[Sequence[Leaf]], bytes],
    check: Callable[[bytes], Report],
) -> None:
    rewrite, told = LIES[lie]
    report = check(bundled(as_leaves([new for new in map(rewrite, entries) if new is not None])))
    assert any(told in one.what for one in report.problems), report.problems
    assert all(one.index is not None for one in report.problems)


def test_an_intent_that_was_written_after_the_grade_is_found(
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    bundled: Callable[[Sequence[Leaf]], bytes],
    check: Callable[[bytes], Report],
) -> None:
    late = [one for one in entries if one.type is EntryType.DELETE_INTENDED]
    rest = [one for one in entries if one.type is not EntryType.DELETE_INTENDED]
    report = check(bundled(as_leaves([*rest, *late])))
    assert {one.what.partition(" for ")[0] for one in report.problems} == {"no intent"}
    assert report.problem_count == 4


def test_an_intent_without_a_read_that_saw_the_thread_is_found(
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    bundled: Callable[[Sequence[Leaf]], bytes],
    check: Callable[[bytes], Report],
) -> None:
    def blind(entry: Entry) -> Entry:
        if entry.type is not EntryType.DELETE_INTENDED:
            return entry
        before = {"step": "before", "class": "object_absent", "at": "2026-11-01T00:00:00Z"}
        return replace(entry, body={**entry.body, "before": before})

    report = check(bundled(as_leaves([blind(one) for one in entries])))
    assert any("although the read before it says object_absent" in one.what for one in report.problems)
