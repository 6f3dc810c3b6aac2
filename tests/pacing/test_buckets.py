from __future__ import annotations

from worker.pacing.base import Bucket, buckets, shared_rate
from worker.policy.document import Rate


def test_tenure_takes_its_share_and_leaves_the_rest_to_production() -> None:
    both = buckets(Rate(limit=5.0, burst=2, share=0.8), "c0ffee")
    assert both.writes == Bucket(key="c0ffee", per_second=4.0, burst=1)


def test_of_a_burst_a_tenth_of_a_second_is_left_for_what_comes_late() -> None:
    assert buckets(Rate(limit=50.0, burst=8, share=1.0), "c0ffee").writes.burst == 3
    assert buckets(Rate(limit=50.0, burst=5, share=1.0), "c0ffee").writes.burst == 1
    assert buckets(Rate(limit=5.0, share=1.0), "c0ffee").writes.burst == 1


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
        assert both.reads == Bucket(key="c0ffee:reads", per_second=400.0, burst=1)


def test_one_project_that_counts_all_requests_together_lets_none_count_them_apart() -> None:
    both = buckets(shared_rate([Rate(limit=5.0), Rate(limit=5.0, reads=50.0)]), "c0ffee")
    assert both.reads is both.writes
    assert both.writes == Bucket(key="c0ffee", per_second=4.0)


def test_a_project_alone_keeps_its_own_rate() -> None:
    own = Rate(limit=5.0, reads=50.0, burst=3, share=0.5)
    assert buckets(shared_rate([own]), "c0ffee") == buckets(own, "c0ffee")
