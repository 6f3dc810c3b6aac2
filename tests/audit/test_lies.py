"""A log can be sealed honestly over a lie; what it holds then contradicts itself, and that is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import methodcaller
from typing import Any

import pytest

from tests.audit.conftest import PSEUDONYM_KEY, START, _story, _thread
from worker.audit.entry import Entry, EntryType
from worker.audit.envelope import Leaf, subject_pseudonym
from worker.audit.findings import Report
from worker.audit.merkle import leaf_hash
from worker.model.evidence import Class, Control, Pass

Rewrite = Callable[[Entry], Entry | None]


def _graded(change: Callable[[dict[str, Any]], object]) -> Rewrite:
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


def _of(kind: EntryType, thread: str, change: Callable[[dict[str, Any]], object]) -> Rewrite:
    """Change the entries of one type about one thread."""

    def rewritten(entry: Entry) -> Entry:
        if entry.type is not kind or entry.subject != f"thr_{thread}":
            return entry
        body = json.loads(json.dumps(entry.body))
        change(body)
        return replace(entry, body=body)

    return rewritten


def _without(kind: EntryType, thread: str | None = None) -> Rewrite:
    """Leave out the project's entries of one type, or those about one thread."""
    return lambda entry: (
        None
        if entry.type is kind
        and entry.project == "support-eu"
        and (thread is None or entry.subject == f"thr_{thread}")
        else entry
    )


def _seen(key: str, **changes: object) -> Callable[[dict[str, Any]], object]:
    return lambda body: body[key].update(changes)


def _uncontrolled(keep: Callable[[dict[str, Any]], bool]) -> Rewrite:
    """Keep of a confirmed grade's observations some, and drop the entries of controls."""
    change = _graded(lambda body: body.update(observations=[o for o in body["observations"] if keep(o)]))
    return lambda entry: None if entry.type is EntryType.CONTROL_PROBED else change(entry)


def _own_control(entry: Entry) -> Entry | None:
    if entry.type is EntryType.CONTROL_PROBED:
        return None

    def change(body: dict[str, Any]) -> None:
        for one in body["observations"]:
            if one["step"] == "control":
                one["subject"] = body["external_id"]

    return _graded(change)(entry)


def _changed_by_a_stranger(entry: Entry) -> Entry:
    """Turn a first read into a change of owner by somebody who was none."""
    if entry.type is not EntryType.THREAD_REREAD or entry.subject != "thr_confirmed":
        return entry
    identity = {"account": None, "external_id": "conv_confirmed", "kind": "conversation", "owner": "stranger"}
    changes = [{"field": "owner", "from": "stranger", "to": "x…"}]
    return replace(entry, type=EntryType.THREAD_CHANGED, body={**identity, "changes": changes})


ANSWERED, INTENDED, REREAD, PREREAD, GRADED = (
    EntryType.DELETE_ANSWERED,
    EntryType.DELETE_INTENDED,
    EntryType.THREAD_REREAD,
    EntryType.THREAD_PREREAD,
    EntryType.THREAD_GRADED,
)
LIES: dict[str, tuple[Rewrite, str]] = {
    "a better grade": (_graded(lambda body: body.update(grade="sustained")), "supports confirmed"),
    "a grade that is none": (_graded(lambda body: body.update(grade="gone")), "supports confirmed"),
    "another grader": (_graded(lambda body: body.update(grader_version=99)), "version 99 is not known"),
    "a pass left out": (_graded(lambda body: body.update(passes=[])), "supports unverifiable"),
    "a pass with another word": (_graded(lambda body: body["passes"][0].update(before="seen")), "not known"),
    "a pass of another claim": (_graded(lambda body: body["passes"][0].update(fence=9)), "no intent"),
    "a claim that is no pass's": (_graded(lambda body: body.update(fence=9)), "not of the claim"),
    "an early read that was otherwise": (_graded(_see_an_error_first), "saw present"),
    "no observations and no control": (_uncontrolled(lambda one: False), "control that no entry holds"),
    "no control": (_uncontrolled(lambda one: one["step"] != "control"), "control that no entry holds"),
    "a thread as its own control": (_own_control, "control that no entry holds"),
    "a control of another thread": (
        lambda entry: (
            replace(entry, body={**entry.body, "supports": ["thr_absent"]})
            if entry.type is EntryType.CONTROL_PROBED
            else _uncontrolled(lambda one: one["step"] != "control")(entry)
        ),
        "control that no entry holds",
    ),
    "a control of another kind": (
        lambda entry: (
            replace(entry, body={**entry.body, "kind": "file"})
            if entry.type is EntryType.CONTROL_PROBED
            else _uncontrolled(lambda one: one["step"] != "control")(entry)
        ),
        "control that no entry holds",
    ),
    "no absent read": (
        _without(REREAD, "confirmed"),
        "no entry holds the read that is told as object_absent",
    ),
    "an absent read of a child": (
        _of(REREAD, "confirmed", _seen("observation", child="msg_1")),
        "of a child or of another object",
    ),
    "a read that was otherwise": (
        _of(REREAD, "confirmed", _seen("observation", **{"class": "present"})),
        "the grade does not tell of a read that saw present",
    ),
    "a read with another control": (
        _of(REREAD, "confirmed", lambda body: body.update(control="failed")),
        "does not tell of a read that saw object_absent, control failed",
    ),
    "a read that is not told": (
        _of(GRADED, "unseen", lambda body: body["passes"][0].update(afters=[])),
        "does not tell of a read that saw error",
    ),
    "no read before": (_without(PREREAD, "absent"), "no entry holds the first read"),
    "a read before that was otherwise": (
        _of(PREREAD, "absent", _seen("observation", **{"class": "present"})),
        "the first read saw present",
    ),
    "no intent": (_without(INTENDED), "no intent"),
    "an intent that is not told": (
        _of(GRADED, "confirmed", lambda body: body["passes"][0].update(armed=False, answer="none")),
        "an intent stands there",
    ),
    "an intent of another claim": (
        _of(INTENDED, "confirmed", lambda body: body.update(fence=9)),
        "answered, and no intent stands before it",
    ),
    "an intent of another item": (
        _of(INTENDED, "confirmed", lambda body: body.update(item="itm_9")),
        "answered, and no intent stands before it",
    ),
    "an intent for what was held": (
        _of(INTENDED, "confirmed", _seen("decision", outcome="HELD")),
        "the decision was HELD",
    ),
    "an intent with children left": (
        _of(INTENDED, "confirmed", lambda body: body.update(children_found=5, children_confirmed=1)),
        "the intent has some of the children gone, the grade none",
    ),
    "more children gone than there were": (
        _of(INTENDED, "confirmed", lambda body: body.update(children_confirmed=1)),
        "more children",
    ),
    "no answer": (_without(ANSWERED, "confirmed"), "no entry holds the answer"),
    "an answer that was otherwise": (
        _of(ANSWERED, "confirmed", _seen("observation", **{"class": "denied"})),
        "the answer was denied, the grade says acknowledged",
    ),
    "an answer that is not told": (
        _of(
            GRADED,
            "confirmed",
            lambda body: (body["passes"][0].update(answer="none"), body.update(grade="inferred")),
        ),
        "the answer was acknowledged, the grade says none",
    ),
    "an answer of a child": (
        _of(ANSWERED, "confirmed", _seen("observation", child="msg_1")),
        "of a child or of another object",
    ),
    "an attempt left out": (
        _of(GRADED, "crash", lambda body: (body["passes"].pop(0), body.update(attempts=0, grade="absent"))),
        "the grade tells of 0 DELETEs, and 1 were intended",
    ),
    "an attempt told twice": (
        _of(GRADED, "confirmed", lambda body: body["passes"].append(body["passes"][0])),
        "stands there twice",
    ),
    "a later read that no entry holds": (_without(REREAD, "sustained"), "no entry holds the later read"),
    "a later read that came too early": (
        _of(REREAD, "sustained", _seen("observation", at="2026-11-08T00:00:00.000006Z")),
        "no entry holds the later read",
    ),
    "a thread that is back": (
        lambda entry: (
            None
            if entry.type is GRADED and entry.body["grade"] == "sustained"
            else _of(REREAD, "sustained", _back)(entry)
        ),
        "was read present, and no grade says so",
    ),
    "another external id": (
        _of(GRADED, "confirmed", lambda body: body.update(external_id="conv_other")),
        "external id or account is another",
    ),
    "another kind": (
        _of(GRADED, "absent", lambda body: body.update(kind="file")),
        "external id or account is another",
    ),
    "an owner who was changed from a stranger": (_changed_by_a_stranger, "the owner is another"),
    "another owner": (
        _of(GRADED, "absent", lambda body: body.update(owner="somebody")),
        "the owner is another than before",
    ),
}


def _back(body: dict[str, Any]) -> None:
    if body["observation"]["at"] > "2026-11-08":
        body["observation"]["class"] = "present"


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


@pytest.mark.parametrize("late", [INTENDED, ANSWERED, REREAD, PREREAD], ids=str)
def test_what_was_written_after_the_grade_that_leans_on_it_is_found(
    late: EntryType,
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    bundled: Callable[[Sequence[Leaf]], bytes],
    check: Callable[[bytes], Report],
) -> None:
    behind = [one for one in entries if one.type is late]
    report = check(bundled(as_leaves([*(one for one in entries if one.type is not late), *behind])))
    own = {one.subject for one in behind if one.project == "support-eu"}
    graded = [n for n, one in enumerate(entries) if one.type is GRADED and one.subject in own]
    assert report.problem_count >= len(graded)


def test_an_answer_before_its_intent_is_found(
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    bundled: Callable[[Sequence[Leaf]], bytes],
    check: Callable[[bytes], Report],
) -> None:
    turned = list(entries)
    at = next(n for n, one in enumerate(turned) if one.type is ANSWERED and one.project == "support-eu")
    turned[at - 1], turned[at] = turned[at], turned[at - 1]
    report = check(bundled(as_leaves(turned)))
    assert "a DELETE was answered, and no intent stands before it" in {one.what for one in report.problems}
    assert report.first_bad_entry == at - 1


def under_another_pseudonym(
    entries: Sequence[Entry], as_leaves: Callable[[Sequence[Entry]], list[Leaf]], lying: str, alias: str
) -> tuple[list[Leaf], int]:
    """Write a thread's grade under another pseudonym; returns the leaves, and which one it is."""
    leaves = as_leaves(entries)
    at = next(n for n, one in enumerate(entries) if one.type is GRADED and one.subject == f"thr_{lying}")
    mine, other = (subject_pseudonym(PSEUDONYM_KEY, f"thr_{name}").encode() for name in (lying, alias))
    envelope = leaves[at].envelope.replace(mine, other)
    leaves[at] = Leaf(envelope, leaves[at].body, leaf_hash(envelope))
    return leaves, at


@pytest.mark.parametrize(
    ("lying", "alias", "told"),
    [
        ("absent", "confirmed", "the envelope has the pseudonym of another thread"),
        ("confirmed", "nobody", "a thread that had a pseudonym stands under another"),
    ],
)
def test_an_envelope_under_the_pseudonym_of_another_thread_is_found(
    *,
    lying: str,
    alias: str,
    told: str,
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    bundled: Callable[[Sequence[Leaf]], bytes],
    check: Callable[[bytes], Report],
) -> None:
    """Its body is unchanged, and the grade would be counted as another thread's, or as nobody's."""
    leaves, at = under_another_pseudonym(entries, as_leaves, lying, alias)
    report = check(bundled(leaves))
    assert (at, told) in {(one.index, one.what) for one in report.problems}


@pytest.mark.parametrize("project", [None, "research"])
def test_what_is_told_of_a_thread_under_another_project_is_found(
    project: str | None,
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    bundled: Callable[[Sequence[Leaf]], bytes],
    check: Callable[[bytes], Report],
) -> None:
    """A read that saw the thread again would be in no export of its own project."""
    read = next(one for one in entries if one.type is REREAD and one.subject == "thr_confirmed")
    report = check(bundled(as_leaves([*entries, replace(read, project=project)])))
    what = "the entry is about a thread of this project, and of another project or of none"
    assert [(one.index, one.what) for one in report.problems] == [(len(entries), what)]


def test_a_delete_that_was_answered_absent_is_no_absent_read(
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    bundled: Callable[[Sequence[Leaf]], bytes],
    check: Callable[[bytes], Report],
) -> None:
    """A provider may answer that the object is not there, and then show it."""
    saw = Pass(
        before=Class.PRESENT,
        armed=True,
        answer=Class.OBJECT_ABSENT,
        afters=((Class.PRESENT, Control.NONE),),
    )
    told = _story(_thread("shown", "support-eu"), [saw], None, START)
    report = check(bundled(as_leaves([*entries, *told])))
    assert report.problems == ()
    assert report.grades["still_present"] == 1


def test_an_owner_that_an_entry_changed_is_no_lie(
    entries: Sequence[Entry],
    as_leaves: Callable[[Sequence[Entry]], list[Leaf]],
    bundled: Callable[[Sequence[Leaf]], bytes],
    check: Callable[[bytes], Report],
) -> None:
    """Also not where a claim of before the change tells the owner of then."""
    at = next(n for n, one in enumerate(entries) if one.subject == "thr_absent")
    first = entries[at]
    changes = [{"field": "owner", "from": "team-ü", "to": "team-x"}]
    identity = {name: first.body[name] for name in ("account", "external_id", "kind", "owner")}
    changed = replace(first, type=EntryType.THREAD_CHANGED, body={**identity, "changes": changes})
    for owner in ("team-ü", "team-x"):
        rewrite = _of(GRADED, "absent", methodcaller("update", owner=owner))
        told = [rewrite(one) for one in [*entries[: at + 1], changed, *entries[at + 1 :]]]
        assert check(bundled(as_leaves([one for one in told if one is not None]))).problems == ()


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
