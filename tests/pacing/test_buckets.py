from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pacing.base import LATE_SECONDS, LEAST_LATE_SECONDS, UNEVEN_SECONDS, Bucket, buckets, shared_rate
from worker.policy.document import Rate
from worker.sandbox.options import Rate as Enforced
from worker.sandbox.throttle import TokenBucket


def test_tenure_takes_its_share_and_leaves_the_rest_to_production() -> None:
    both = buckets(Rate(limit=5.0, burst=2, share=0.8), "c0ffee")
    assert both.writes == Bucket(key="c0ffee", per_second=4.0, burst=1)


def test_of_a_burst_a_tenth_of_a_second_is_left_for_what_comes_late() -> None:
    assert buckets(Rate(limit=50.0, burst=8, share=1.0), "c0ffee").writes.burst == 2
    assert buckets(Rate(limit=50.0, burst=5, share=1.0), "c0ffee").writes.burst == 1
    assert buckets(Rate(limit=5.0, share=1.0), "c0ffee").writes.burst == 1


@pytest.mark.parametrize(
    ("limit", "burst", "late"),
    [(50, 5, 0.06), (50, 8, LATE_SECONDS), (5, 5, LATE_SECONDS), (50, 1, LEAST_LATE_SECONDS)],
)
def test_a_small_burst_narrows_how_late_a_slot_may_be_used(limit: float, burst: int, late: float) -> None:
    made = buckets(Rate(limit=limit, burst=burst, share=1.0), "c0ffee").writes
    assert made.late_seconds == pytest.approx(late)


@given(
    limit=st.integers(1, 500),
    burst=st.integers(2, 60),
    parts=st.lists(st.floats(0, 1), min_size=2, max_size=90),
)
def test_nothing_that_is_as_late_as_it_may_be_is_refused_by_the_provider(
    limit: int, burst: int, parts: list[float]
) -> None:
    """Slots as the pacer gives them, each used at a part of its time, at a token bucket of that very limit.

    A burst that bears less than a busy machine's own unevenness is left out: there the bound cannot hold.
    """
    made = buckets(Rate(limit=limit, burst=burst, share=1.0), "c0ffee").writes
    if (burst - 1) / limit < LEAST_LATE_SECONDS + UNEVEN_SECONDS:
        return
    begins = [max(0, n + 1 - made.burst) / limit for n in range(len(parts))]
    most = made.late_seconds + UNEVEN_SECONDS
    arrivals = sorted(begin + part * most for begin, part in zip(begins, parts, strict=True))
    # The last bit of a float is no refusal.
    clock = iter([0.0, *(one + n * 1e-9 for n, one in enumerate(arrivals))])
    provider = TokenBucket(Enforced(limit=limit, per=timedelta(seconds=1), burst=burst), lambda: next(clock))
    assert [provider.take().wait for _ in arrivals] == [0] * len(arrivals)


def test_reads_have_a_bucket_of_their_own_only_where_the_project_names_their_rate() -> None:
    one = buckets(Rate(limit=5.0), "c0ffee")
    assert one.reads is one.writes
    two = buckets(Rate(limit=5.0, reads=10.0, share=0.5), "c0ffee")
    assert (two.writes.per_second, two.reads.per_second) == (2.5, 5.0)
    assert two.writes.key != two.reads.key


def test_projects_on_one_credential_have_one_budget_that_of_the_slowest() -> None:
    fast = Rate(limit=100.0, reads=400.0, burst=9, share=1.0)
    slow = Rate(limit=5.0, reads=1000.0, burst=3, share=0.8)
    for rates in ([fast, slow], [slow, fast]):
        both = buckets(shared_rate(rates), "c0ffee")
        assert both.writes == Bucket(key="c0ffee:writes", per_second=4.0, burst=2)
        # What comes late in a tenth of a second is more than the burst.
        assert (both.reads.key, both.reads.per_second, both.reads.burst) == ("c0ffee:reads", 400.0, 1)


def test_one_project_that_counts_all_requests_together_lets_none_count_them_apart() -> None:
    both = buckets(shared_rate([Rate(limit=5.0), Rate(limit=5.0, reads=50.0)]), "c0ffee")
    assert both.reads is both.writes
    assert (both.writes.key, both.writes.per_second, both.writes.burst) == ("c0ffee", 4.0, 1)


def test_a_project_alone_keeps_its_own_rate() -> None:
    own = Rate(limit=5.0, reads=50.0, burst=3, share=0.5)
    assert buckets(shared_rate([own]), "c0ffee") == buckets(own, "c0ffee")
