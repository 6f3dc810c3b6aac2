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
        (500, 0, 5000, []),
        (501, 0, 100_000, ["max_deletes"]),
        (1, 500, 100_000, ["max_deletes"]),
        (10, 0, 100, []),
        (11, 0, 100, ["max_percent"]),
        (99, 0, 99, []),
        (5, 6, 100, ["max_percent"]),
        (501, 0, 1000, ["max_deletes", "max_percent"]),
        (0, 900, 1000, []),
    ],
)
def test_exceeding_any_one_blocks(
    planned: int, released: int, population: int, blocked_by: list[str]
) -> None:
    verdict = check(_GUARDS, planned=planned, released=released, population=population)
    assert verdict.blocked is bool(blocked_by)
    assert [reason.partition(":")[0] for reason in verdict.reasons] == blocked_by


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


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 20_000))
def test_a_larger_plan_is_never_freer(planned: int, released: int, population: int) -> None:
    smaller = check(_GUARDS, planned=planned, released=released, population=population)
    larger = check(_GUARDS, planned=planned + 1, released=released, population=population)
    assert larger.blocked or not smaller.blocked
