from __future__ import annotations

from worker.pacing.base import Bucket, buckets
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
