from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.policy.document import Guards
from worker.policy.durations import parse_duration
from worker.policy.guards import check

_GUARDS = Guards(max_deletes=500, max_percent=10, min_population=100, window=parse_duration("24h"))


@pytest.mark.parametrize(
    ("planned", "released", "population", "blocked_by"),
    [
        # The count: what was released in the window and what is planned, against max_deletes: 500.
        (500, 0, 5000, []),
        (501, 0, 100_000, ["max_deletes"]),
        (1, 499, 100_000, []),
        (1, 500, 100_000, ["max_deletes"]),
        (499, 1, 5000, []),
        # The share, against max_percent: 10 of the largest population, at and beside the border.
        (10, 0, 100, []),
        (11, 0, 100, ["max_percent"]),
        (11, 0, 109, ["max_percent"]),
        (11, 0, 110, []),
        (5, 5, 100, []),
        (5, 6, 100, ["max_percent"]),
        # Below min_population: 100 no percent is applied, at it one is.
        (99, 0, 99, []),
        (99, 0, 100, ["max_percent"]),
        (0, 0, 0, []),
        (1, 0, 0, []),
        # Both at once, and both are told.
        (501, 0, 1000, ["max_deletes", "max_percent"]),
        # A plan of nothing is never blocked, whatever was released before.
        (0, 900, 1000, []),
        (0, 0, 100_000, []),
    ],
)
def test_exceeding_any_one_blocks(
    planned: int, released: int, population: int, blocked_by: list[str]
) -> None:
    verdict = check(_GUARDS, planned=planned, released=released, population=population)
    assert verdict.blocked is bool(blocked_by)
    assert [reason.partition(":")[0] for reason in verdict.reasons] == blocked_by
    assert not verdict.needs_approval


def test_a_block_tells_its_numbers() -> None:
    verdict = check(_GUARDS, planned=450, released=60, population=1000)
    assert verdict.reasons == (
        "max_deletes: 450 planned and 60 released in the last PT24H exceed 500",
        "max_percent: 450 planned and 60 released in the last PT24H are 51.0 % of 1000, above 10 %",
    )


def test_guards_that_allow_everything_block_nothing() -> None:
    guards = replace(_GUARDS, max_deletes=1_000_000_000, max_percent=100, min_population=0)
    assert not check(guards, planned=1000, released=0, population=1000).blocked


def test_a_percent_of_all_still_counts_what_was_released_before() -> None:
    # 600 of 1000 went, so at most 400 of the window's thousand are left to it.
    guards = replace(_GUARDS, max_deletes=10_000, max_percent=100)
    assert not check(guards, planned=400, released=600, population=1000).blocked
    assert check(guards, planned=401, released=600, population=1000).blocked


@pytest.mark.parametrize("population", [0, 1, 99, 100, 1_000_000])
def test_no_deletes_are_none_of_any_population(population: int) -> None:
    assert check(replace(_GUARDS, max_deletes=0), planned=1, released=0, population=population).blocked


@pytest.mark.parametrize("guards", [replace(_GUARDS, max_deletes=0), replace(_GUARDS, max_percent=0.0)])
def test_zero_means_zero(guards: Guards) -> None:
    assert check(guards, planned=1, released=0, population=1_000_000).blocked
    assert not check(guards, planned=0, released=0, population=1_000_000).blocked


def test_a_percent_of_nobody_is_exceeded_by_anybody() -> None:
    assert check(replace(_GUARDS, min_population=0), planned=1, released=0, population=0).blocked


def test_a_decimal_percent_is_exact() -> None:
    guards = replace(_GUARDS, max_percent=0.1, min_population=0)
    assert not check(guards, planned=3, released=0, population=3000).blocked
    assert check(guards, planned=4, released=0, population=3000).blocked


def test_a_plan_over_the_limit_needs_approval_and_is_not_blocked_for_it() -> None:
    guards = replace(_GUARDS, require_approval_over=200)
    assert not check(guards, planned=200, released=0, population=5000).needs_approval
    verdict = check(guards, planned=201, released=0, population=5000)
    assert (verdict.needs_approval, verdict.blocked) == (True, False)


def test_a_limit_of_none_makes_every_plan_wait_but_an_empty_one() -> None:
    guards = replace(_GUARDS, require_approval_over=0)
    assert check(guards, planned=1, released=0, population=5000).needs_approval
    assert not check(guards, planned=0, released=0, population=5000).needs_approval


def test_approval_is_about_this_plan_and_not_what_was_released_before() -> None:
    guards = replace(_GUARDS, require_approval_over=200)
    assert not check(guards, planned=1, released=300, population=5000).needs_approval


def test_a_plan_that_needs_approval_may_be_blocked_too() -> None:
    guards = replace(_GUARDS, require_approval_over=200)
    verdict = check(guards, planned=501, released=0, population=100_000)
    assert (verdict.blocked, verdict.needs_approval) == (True, True)


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 20_000))
def test_a_larger_plan_is_never_freer(planned: int, released: int, population: int) -> None:
    smaller = check(_GUARDS, planned=planned, released=released, population=population)
    larger = check(_GUARDS, planned=planned + 1, released=released, population=population)
    assert larger.blocked or not smaller.blocked
