"""What is said of two overlapping rules holds for every thread."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.model.decision import TagSelector
from worker.model.ids import ThreadId
from worker.model.thread import Kind, Thread
from worker.policy.document import Match, Policy
from worker.policy.load import load_texts
from worker.policy.match import matches
from worker.policy.overlaps import covers

_NAMES = st.text(alphabet="ab", min_size=1, max_size=3)
_GLOBS = st.text(alphabet="ab*?", min_size=1, max_size=4)
_TAGS = st.dictionaries(st.sampled_from("kl"), st.sampled_from("xyz"), max_size=2)
_SELECTORS = st.builds(
    lambda key, operator, values: TagSelector(
        key=key, operator=operator, values=tuple(values) if operator.endswith("In") else ()
    ),
    st.sampled_from("kl"),
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    st.sets(st.sampled_from("xyz"), min_size=1, max_size=2),
)


def _few(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=2).map(tuple)


_GIVEN = st.builds(
    Match,
    projects=_few(_GLOBS),
    kinds=_few(st.sampled_from([Kind.FILE, Kind.RESPONSE])),
    owners=_few(_GLOBS),
    tags=_few(_SELECTORS),
)
_MATCHES = st.one_of(st.just(Match(all=True)), _GIVEN.filter(lambda one: one != Match()))
_POLICIES = st.builds(
    Policy,
    name=st.just("p"),
    owner=st.just("o"),
    match=_MATCHES,
    except_=st.one_of(st.none(), _GIVEN.filter(lambda one: one != Match())),
)
_THREADS = st.builds(
    Thread,
    id=st.just(ThreadId("t")),
    kind=st.sampled_from([Kind.FILE, Kind.RESPONSE, Kind.THREAD]),
    external_id=st.just("t"),
    project=_NAMES,
    owner=_NAMES,
    tags=_TAGS,
    registered_at=st.just(datetime(2026, 1, 1, tzinfo=UTC)),
)


@settings(max_examples=400)
@given(_POLICIES, _POLICIES, st.lists(_THREADS, min_size=1, max_size=30))
def test_a_rule_that_covers_another_matches_each_of_its_threads(
    outer: Policy, inner: Policy, threads: list[Thread]
) -> None:
    if covers(outer, inner):
        assert [one for one in threads if matches(inner, one) and not matches(outer, one)] == []


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ("s*", "support-*", True),
        ("*-eu", "support-*", False),
        ("a?", "a*", False),
        ("a?", "a?", True),
        ("a*", "a?b", True),
        ("ab", "a?", False),
    ],
)
def test_a_pattern_is_compared_as_a_set_of_names(wide: str, narrow: str, covered: bool) -> None:
    def policy(pattern: str) -> Policy:
        return Policy(name="p", owner="o", match=Match(projects=(pattern,)))

    assert covers(policy(wide), policy(narrow)) is covered


_RULE = """\
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: NAME, owner: o}
spec: {mode: MODE, match: MATCH, delete: {after: 30d, from: FROM},
  guards: {max_deletes: 1, max_percent: 1, min_population: 1, window: 24h}}
"""


def _told(*rules: tuple[str, str, str]) -> list[str]:
    texts = {
        f"{number}.yaml": _RULE.replace("NAME", f"p{number}")
        .replace("MODE", mode)
        .replace("MATCH", match)
        .replace("FROM", since)
        for number, (mode, match, since) in enumerate(rules)
    }
    return [one.message for one in load_texts(texts).findings if one.code == "RP039"]


def test_at_a_tie_the_first_name_decides_and_other_dates_depend() -> None:
    same = ("enforce", "{kinds: [file]}", "created_at")
    assert '"p0" decides' in _told(same, same)[0]
    assert "whichever date is earlier decides" in _told(same, (*same[:2], "registered_at"))[0]


def test_rules_that_take_no_part_or_overlap_in_part_are_not_told() -> None:
    same = ("enforce", "{kinds: [file]}", "created_at")
    assert _told(same, ("audit", *same[1:])) == []
    assert _told(same, ("enforce", "{owners: [a]}", "created_at")) == []
