"""How long an item is tried: waits are full jitter and bounded, and every class but throttled has a cap."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.flows.verdict import MOST_ATTEMPTS, MOST_READS, REREADS_AFTER, Verdict, backoff, judge
from worker.model.evidence import Class, Control, Pass
from worker.model.ids import ItemId, ThreadId
from worker.model.work import ItemState, WorkItem

ITEM = WorkItem(
    id=ItemId("itm_1"),
    thread_id=ThreadId("thr_1"),
    sweep_id="swp_1",
    policy="p",
    project="p",
    credential="c",
    fence=1,
)
HOUR = timedelta(hours=1)


@given(tries=st.integers(0, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_a_wait_is_that_part_of_a_ceiling_that_doubles_up_to_an_hour(tries: int, jitter: float) -> None:
    ceiling = min(3600.0, 10.0 * 2.0 ** min(tries, 64))
    wait = backoff(tries, jitter).total_seconds()
    assert wait == pytest.approx(ceiling * jitter, abs=1e-6)
    # Whole microseconds, so the last one may be rounded up.
    assert 0 <= wait <= ceiling


@given(tries=st.integers(0, 20))
def test_evenly_spread_chances_are_evenly_spread_waits(tries: int) -> None:
    waits = [backoff(tries, part / 100).total_seconds() for part in range(100)]
    gaps = {round(late - early, 6) for early, late in pairwise(waits)}
    assert waits[0] == 0
    assert len(gaps) == 1


def tried_until_it_ends(seen: Pass, *, most: int = 100) -> tuple[int, Verdict]:
    """Judge the same pass again and again, as its item would come back; returns how often, and the end."""
    item, earlier, verdict = ITEM, list[Pass](), None
    for number in range(1, most + 1):
        verdict = judge(item, earlier, seen, jitter=0.5)
        if verdict.state is not ItemState.WAITING:
            return number, verdict
        assert verdict.wait is not None
        assert timedelta() <= verdict.wait <= HOUR
        item = replace(
            item,
            reads=verdict.reads,
            rereads=verdict.rereads,
            attempts=item.attempts + seen.armed,
            fence=item.fence + 1,
        )
        if seen.armed:
            earlier.append(seen)
    assert verdict is not None
    return most, verdict


def sent(answer: Class, after: Class, control: Control = Control.NONE) -> Pass:
    return Pass(before=Class.PRESENT, armed=True, answer=answer, afters=((after, control),))


CAPS = {
    "a read that fails": (Pass(before=Class.ERROR), MOST_READS, "unverifiable/provider_error"),
    "a DELETE that fails, and it is there": (
        sent(Class.ERROR, Class.PRESENT),
        MOST_ATTEMPTS,
        "still_present",
    ),
    "a DELETE without an answer, and it is there": (
        sent(Class.LOST, Class.PRESENT),
        MOST_ATTEMPTS,
        "still_present",
    ),
    "a DELETE that fails, and nothing can be read": (
        sent(Class.ERROR, Class.ERROR),
        MOST_READS,
        "unverifiable/provider_error",
    ),
    "an acknowledged DELETE, and it is there": (sent(Class.ACKNOWLEDGED, Class.PRESENT), 3, "still_present"),
    "an acknowledged DELETE, and nothing can be read": (
        sent(Class.ACKNOWLEDGED, Class.ERROR),
        len(REREADS_AFTER) + 1,
        "acknowledged",
    ),
    "gone after a DELETE that failed, and no control": (
        sent(Class.ERROR, Class.OBJECT_ABSENT, Control.FAILED),
        len(REREADS_AFTER) + 1,
        "unverifiable/control_failed",
    ),
    "a read that is refused": (Pass(before=Class.DENIED), 1, "unverifiable/forbidden"),
    "a route that is gone": (Pass(before=Class.ROUTE_ABSENT), 1, "unverifiable/endpoint_retired"),
    "absent before anything was sent, and no control": (
        Pass(before=Class.OBJECT_ABSENT, control=Control.FAILED),
        1,
        "unverifiable/control_failed",
    ),
}


@pytest.mark.parametrize(
    ("answer", "graded"),
    [
        (Class.ROUTE_ABSENT, "unverifiable/endpoint_retired"),
        (Class.DENIED, "unverifiable/forbidden"),
        (Class.LOST, "unverifiable/provider_error"),
    ],
)
def test_what_nobody_read_since_its_delete_is_read_in_the_next_pass_and_never_called_still_present(
    answer: Class, graded: str
) -> None:
    unlooked = Pass(before=Class.PRESENT, armed=True, answer=answer)
    assert judge(ITEM, [], unlooked, jitter=0.5).state is ItemState.WAITING
    times, end = tried_until_it_ends(unlooked)
    assert (times, end.state, end.grade) == (MOST_ATTEMPTS, ItemState.PARKED, graded)


def test_an_acknowledged_delete_that_nobody_could_read_after_waits_ungraded() -> None:
    unlooked = Pass(before=Class.PRESENT, armed=True, answer=Class.ACKNOWLEDGED)
    verdict = judge(ITEM, [], unlooked, jitter=0.5)
    assert (verdict.state, verdict.grade, verdict.rereads) == (ItemState.WAITING, None, 0)


@pytest.mark.parametrize("what", sorted(CAPS))
def test_each_class_has_its_cap_and_then_it_is_parked_with_its_reason(what: str) -> None:
    seen, cap, reason = CAPS[what]
    times, end = tried_until_it_ends(seen)
    assert (times, end.state, end.reason) == (cap, ItemState.PARKED, reason)


@pytest.mark.parametrize(
    "seen",
    [
        Pass(before=Class.THROTTLED),
        Pass(before=Class.PRESENT, armed=True, answer=Class.THROTTLED),
        Pass(before=Class.PRESENT, armed=True, answer=Class.UNSENT),
    ],
)
def test_what_was_throttled_or_never_left_is_never_graded_and_only_waits(seen: Pass) -> None:
    times, end = tried_until_it_ends(seen)
    assert (times, end.state, end.grade, end.reads) == (100, ItemState.WAITING, None, 0)
