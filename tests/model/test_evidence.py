from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from worker.model.evidence import (
    Children,
    Class,
    Control,
    Evidence,
    Grade,
    Pass,
    Reread,
    fold,
    grade,
    is_own_attempt,
)

CASES: list[dict[str, Any]] = YAML(typ="safe").load(Path(__file__).with_name("grades.yaml"))["cases"]
CLAIMS = {Grade.CONFIRMED, Grade.INFERRED, Grade.SUSTAINED, Grade.ABSENT}
GONE = (Class.OBJECT_ABSENT, Control.GOOD)


def _evidence(case: dict[str, Any]) -> Evidence:
    later = str(case.get("reread", "")).partition("+")
    return Evidence(
        before=Class(case["before"]),
        delete=Class(case["delete"]),
        after=Class(case["after"]),
        control=Control(case["control"]),
        children=Children(case.get("children", "none")),
        earlier=case.get("earlier", False),
        reread=Reread(seen=Class(later[0]), control=Control(later[2])) if later[0] else None,
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['n']}-{case['what']}")
def test_each_worked_case_has_its_grade(case: dict[str, Any]) -> None:
    assert grade(_evidence(case)).value == case["expect"]


def test_an_endpoint_that_answers_404_to_everything_supports_no_claim() -> None:
    answers = (Class.OBJECT_ABSENT, Class.ROUTE_ABSENT, Class.NONE)
    rereads = [None, *(Reread(seen=seen, control=control) for seen in answers for control in Control)]
    combinations = itertools.product(
        answers,
        answers,
        answers,
        (Control.FAILED, Control.NONE),
        Children,
        (False, True),
        rereads,
    )
    for before, delete, after, control, children, earlier, reread in combinations:
        evidence = Evidence(
            before=before,
            delete=delete,
            after=after,
            control=control,
            children=children,
            earlier=earlier,
            reread=reread,
        )
        assert grade(evidence) not in CLAIMS, evidence


@given(
    st.builds(
        Evidence,
        before=st.sampled_from(Class),
        delete=st.sampled_from(Class),
        after=st.sampled_from(Class),
        control=st.sampled_from(Control),
        children=st.sampled_from(Children),
        earlier=st.booleans(),
        reread=st.none() | st.builds(Reread, seen=st.sampled_from(Class), control=st.sampled_from(Control)),
    )
)
def test_every_evidence_has_a_grade_and_a_claim_needs_absence_and_a_control(evidence: Evidence) -> None:
    found = grade(evidence)
    if found in CLAIMS:
        assert Class.OBJECT_ABSENT in {evidence.before, evidence.after}
        assert evidence.control in {Control.GOOD, Control.ROUTE_ONLY}
    if found.deleted:
        assert evidence.earlier or evidence.before is Class.PRESENT
        assert evidence.children is not Children.SOME


_NOTHING_BUT_404 = st.builds(
    Pass,
    before=st.sampled_from([Class.OBJECT_ABSENT, Class.ROUTE_ABSENT, Class.NONE]),
    control=st.sampled_from([Control.FAILED, Control.NONE]),
    armed=st.booleans(),
    answer=st.sampled_from([Class.OBJECT_ABSENT, Class.ROUTE_ABSENT, Class.NONE, Class.UNSENT]),
    afters=st.lists(
        st.tuples(
            st.sampled_from([Class.OBJECT_ABSENT, Class.ROUTE_ABSENT, Class.NONE]),
            st.sampled_from([Control.FAILED, Control.NONE]),
        ),
        max_size=3,
    ),
    children=st.sampled_from(Children),
)


@given(st.lists(_NOTHING_BUT_404, max_size=5))
def test_passes_over_an_endpoint_that_answers_404_to_everything_fold_to_no_claim(passes: list[Pass]) -> None:
    assert grade(fold(passes)) not in CLAIMS


def _armed(answer: Class, *afters: tuple[Class, Control], children: Children = Children.NONE) -> Pass:
    return Pass(before=Class.PRESENT, armed=True, answer=answer, afters=afters, children=children)


def test_no_passes_fold_to_nothing_that_was_seen() -> None:
    assert fold([]) == Evidence()


def test_an_acknowledged_delete_that_is_gone_after_is_confirmed() -> None:
    assert grade(fold([_armed(Class.ACKNOWLEDGED, GONE)])) is Grade.CONFIRMED


def test_an_answer_that_was_committed_before_a_crash_still_confirms() -> None:
    crashed = _armed(Class.ACKNOWLEDGED)
    later = Pass(before=Class.OBJECT_ABSENT, control=Control.GOOD)
    assert grade(fold([crashed, later])) is Grade.CONFIRMED


def test_a_crash_that_left_no_answer_only_infers() -> None:
    crashed = _armed(Class.NONE)
    later = Pass(before=Class.OBJECT_ABSENT, control=Control.GOOD)
    assert fold([crashed, later]).delete is Class.LOST
    assert grade(fold([crashed, later])) is Grade.INFERRED


@pytest.mark.parametrize("answer", [Class.ACKNOWLEDGED, Class.NONE, Class.LOST])
def test_a_canary_of_a_later_pass_does_not_support_an_earlier_before(answer: Class) -> None:
    later = Pass(before=Class.OBJECT_ABSENT, control=Control.ROUTE_ONLY)
    assert grade(fold([_armed(answer), later])) not in CLAIMS


def test_a_canary_supports_the_read_of_its_own_pass() -> None:
    assert (
        grade(fold([_armed(Class.ACKNOWLEDGED, (Class.OBJECT_ABSENT, Control.ROUTE_ONLY))]))
        is Grade.CONFIRMED
    )


def test_an_arm_that_was_never_sent_counts_for_nothing() -> None:
    unsent = _armed(Class.UNSENT)
    later = Pass(before=Class.OBJECT_ABSENT, control=Control.GOOD)
    assert not is_own_attempt(unsent)
    assert grade(fold([unsent, later])) is Grade.ABSENT
    assert grade(fold([unsent])) is Grade.PROVIDER_ERROR


@pytest.mark.parametrize("answer", [Class.DENIED, Class.THROTTLED, Class.ROUTE_ABSENT])
def test_a_refused_delete_is_no_own_attempt(answer: Class) -> None:
    later = Pass(before=Class.OBJECT_ABSENT, control=Control.GOOD)
    assert grade(fold([_armed(answer), later])) is Grade.ABSENT


def test_a_lost_delete_before_a_refused_one_may_be_why_it_is_gone() -> None:
    second = _armed(Class.OBJECT_ABSENT, GONE)
    assert grade(fold([second])) is Grade.ABSENT
    assert grade(fold([_armed(Class.LOST, (Class.PRESENT, Control.NONE)), second])) is Grade.INFERRED


def test_a_first_sight_that_finds_it_gone_beside_a_good_control_is_absent() -> None:
    assert grade(fold([Pass(before=Class.OBJECT_ABSENT, control=Control.GOOD)])) is Grade.ABSENT


def test_a_first_sight_beside_a_canary_is_not_even_absent() -> None:
    first = Pass(before=Class.OBJECT_ABSENT, control=Control.ROUTE_ONLY)
    assert grade(fold([first])) is Grade.CONTROL_FAILED


def test_the_first_read_that_counts_is_taken_and_not_a_later_failure() -> None:
    reads = ((Class.OBJECT_ABSENT, Control.FAILED), GONE, (Class.ERROR, Control.NONE))
    assert grade(fold([_armed(Class.ACKNOWLEDGED, *reads)])) is Grade.CONFIRMED


def test_a_child_that_is_left_makes_the_container_partial() -> None:
    assert grade(fold([_armed(Class.ACKNOWLEDGED, GONE, children=Children.SOME)])) is Grade.PARTIAL
    untouched = Pass(before=Class.PRESENT, children=Children.SOME)
    assert grade(fold([untouched])) is Grade.PARTIAL


def test_a_later_read_with_its_own_control_sustains_and_a_present_one_alarms() -> None:
    gone = Reread(seen=Class.OBJECT_ABSENT, control=Control.GOOD)
    back = Reread(seen=Class.PRESENT, control=Control.NONE)
    passes = [_armed(Class.ACKNOWLEDGED, GONE)]
    assert grade(fold(passes, reread=gone)) is Grade.SUSTAINED
    assert grade(fold(passes, reread=back)) is Grade.STILL_PRESENT


def test_only_three_grades_may_be_called_deleted() -> None:
    assert {one for one in Grade if one.deleted} == {Grade.CONFIRMED, Grade.SUSTAINED, Grade.INFERRED}
    assert Grade.ENDPOINT_RETIRED.word == "unverifiable"
