"""What is proven of two rules' coverage holds for every thread."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.model.clock import parse_rfc3339
from worker.model.decision import TagSelector
from worker.model.ids import ThreadId
from worker.model.thread import Kind, Thread
from worker.policy.coverage import covers_no_more, glob_within, globs_meet, never_meet
from worker.policy.document import Match, Policy
from worker.policy.match import glob_matches, matches

_GLOBS = st.text(alphabet="ab*?", min_size=1, max_size=4)
_TEXTS = ["".join(letters) for size in range(1, 5) for letters in product("ab", repeat=size)]
_VALUES = st.lists(st.sampled_from(["x", "y"]), min_size=1, max_size=2, unique=True).map(tuple)
_SELECTORS = st.builds(
    lambda key, operator, values: TagSelector(
        key=key, operator=operator, values=values if operator in {"In", "NotIn"} else ()
    ),
    st.sampled_from(["k", "l"]),
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    _VALUES,
)
_MATCHES = st.one_of(
    st.just(Match(all=True)),
    st.builds(
        Match,
        projects=st.lists(_GLOBS, max_size=2).map(tuple),
        kinds=st.lists(st.sampled_from(Kind), max_size=2).map(tuple),
        owners=st.lists(_GLOBS, max_size=1).map(tuple),
        tags=st.lists(_SELECTORS, max_size=2).map(tuple),
    ),
)
_RULES = st.builds(
    Policy, name=st.just("p"), owner=st.just("o"), match=_MATCHES, except_=st.one_of(st.none(), _MATCHES)
)
_THREADS = st.builds(
    Thread,
    id=st.just(ThreadId("thr_1")),
    kind=st.sampled_from(list(Kind)[:3]),
    external_id=st.just("x"),
    project=st.sampled_from(_TEXTS),
    owner=st.sampled_from(_TEXTS),
    tags=st.dictionaries(st.sampled_from(["k", "l"]), st.sampled_from(["x", "y", "z"])),
    registered_at=st.just(parse_rfc3339("2026-11-22T00:00:00Z")),
)


@settings(max_examples=500)
@given(_RULES, _RULES, st.lists(_THREADS, min_size=20, max_size=20))
def test_a_proof_of_coverage_holds_for_every_thread(
    one: Policy, other: Policy, threads: list[Thread]
) -> None:
    assert covers_no_more(one, one)
    within, apart = covers_no_more(one, other), never_meet(one, other)
    assert apart == never_meet(other, one)
    for thread in threads:
        if within and matches(one, thread):
            assert matches(other, thread)
        if apart:
            assert not (matches(one, thread) and matches(other, thread))


@settings(max_examples=500)
@given(_GLOBS, _GLOBS)
def test_what_is_said_of_two_globs_holds_for_every_text(one: str, other: str) -> None:
    ours = {text for text in _TEXTS if glob_matches(one, text)}
    theirs = {text for text in _TEXTS if glob_matches(other, text)}
    if glob_within(one, other):
        assert ours <= theirs
    if not globs_meet(one, other):
        assert ours.isdisjoint(theirs)
    elif len(one.replace("*", "")) + len(other.replace("*", "")) <= 4:
        assert not ours.isdisjoint(theirs)


@pytest.mark.parametrize(
    ("inner", "outer", "within"),
    [
        ("a*", "*", True),
        ("*", "*", True),
        ("*", "a*", False),
        ("support-eu", "support-*", True),
        ("support-?", "support-*", True),
        ("support-*", "support-?", False),
        ("support-e?", "support-??", True),
        ("*-eu", "support-*", False),
        ("support-*-eu", "support-*", True),
        ("a?", "ab", False),
        ("a", "a?", False),
        ("*", "?", False),
        ("?*", "*", True),
    ],
)
def test_one_glob_within_another(inner: str, outer: str, within: bool) -> None:
    assert glob_within(inner, outer) is within


def test_globs_of_any_length_are_compared_quickly_enough() -> None:
    """No pattern makes the comparison explode: the work is the product of the lengths."""
    stars = "*a" * 100
    assert glob_within(stars, "*a" * 99 + "*")
    assert not globs_meet(stars, "b" * 200)


_EVERY_SELECTOR = [
    *(
        TagSelector(key="k", operator=operator, values=values)
        for operator in ("In", "NotIn")
        for values in (("x",), ("y",), ("x", "y"))
    ),
    TagSelector(key="k", operator="Exists"),
    TagSelector(key="k", operator="DoesNotExist"),
]


def _tagged(value: str | None) -> Thread:
    return Thread(
        id=ThreadId("thr_1"),
        kind=Kind.FILE,
        external_id="x",
        project="p",
        owner="o",
        tags={"k": value} if value else {},
        registered_at=parse_rfc3339("2026-11-22T00:00:00Z"),
    )


@pytest.mark.parametrize("one", _EVERY_SELECTOR, ids=lambda one: f"{one.operator} {one.values}")
def test_one_selector_within_or_apart_from_another_is_known_exactly(one: TagSelector) -> None:
    threads = [_tagged(value) for value in (None, "x", "y", "another")]
    for other in _EVERY_SELECTOR:
        ours, theirs = (Policy(name="p", owner="o", match=Match(tags=(tag,))) for tag in (one, other))
        covered = [(matches(ours, thread), matches(theirs, thread)) for thread in threads]
        assert covers_no_more(ours, theirs) is all(second for first, second in covered if first)
        assert never_meet(ours, theirs) is not any(first and second for first, second in covered)
