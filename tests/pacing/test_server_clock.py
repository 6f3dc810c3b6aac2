"""The server's clock is learnt from answers, whatever their way took and whatever happens to it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pacing.server_clock import ServerClock

AHEAD = 1_700_000_000.0
ROUNDING = 1e-5

_TRIPS = st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 2)), min_size=1, max_size=100)


def ask(
    known: ServerClock, at: float, there: float, back: float, ahead: float = AHEAD
) -> tuple[float, float]:
    """Return when the server answered, as it was and as it is known, by this process's clock."""
    answered = at + there
    return answered, known.seen(answered + ahead, asked=at, received=answered + back)


@given(trips=_TRIPS)
def test_no_instant_is_too_early_nor_later_than_the_soonest_answer_of_late(
    trips: Sequence[tuple[float, float, float]],
) -> None:
    known, now, backs = ServerClock(), 100.0, list[tuple[float, float]]()
    for there, back, pause in trips:
        answered, told = ask(known, now, there, back)
        now = answered + back
        backs.append((now, back))
        soonest = min(one for at, one in backs[-64:] if at >= now - 10)
        assert answered - ROUNDING <= told <= answered + soonest + ROUNDING
        now += pause


def test_an_answer_that_waited_for_a_busy_process_is_dated_by_one_that_did_not() -> None:
    known = ServerClock()
    ask(known, 100.0, 0.001, 0.002)
    answered, told = ask(known, 101.0, 0.001, 0.25)
    assert told == pytest.approx(answered + 0.002, abs=ROUNDING)


@pytest.mark.parametrize("step", [-3600.0, -0.1, 0.1, 3600.0])
def test_a_clock_that_was_set_is_believed_at_once(step: float) -> None:
    known = ServerClock()
    ask(known, 100.0, 0.001, 0.002)
    answered, told = ask(known, 101.0, 0.001, 0.003, AHEAD + step)
    assert answered <= told + ROUNDING
    assert told <= answered + 0.003 + ROUNDING


@pytest.mark.parametrize("drift", [-0.0005, 0.0005])
def test_a_clock_that_runs_fast_or_slow_is_followed(drift: float) -> None:
    known = ServerClock()
    for number in range(1000):
        at = 100.0 + number
        answered, told = ask(known, at, 0.001, 0.03 if number % 50 else 0.0, AHEAD + drift * at)
        assert answered - 0.006 <= told <= answered + 0.03 + ROUNDING
