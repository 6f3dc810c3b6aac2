from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from worker.model.decision import Erasure, HoldScope, TagSelector
from worker.model.errors import Invalid
from worker.model.ids import ThreadId
from worker.model.thread import Kind, Thread
from worker.policy.document import Match, Policy
from worker.policy.match import check_glob, erasure_covers, glob_matches, matches, scope_matches

_THREAD = Thread(
    id=ThreadId("thr_1"),
    kind=Kind.CONVERSATION,
    external_id="conv_1",
    project="support-eu",
    owner="team-support",
    registered_at=datetime(2026, 11, 1, tzinfo=UTC),
    tags={"env": "prod"},
)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("support-*", "support-eu", True),
        ("support-*", "support-", True),
        ("support-*", "a-support-eu", False),
        ("support", "support-eu", False),
        ("Support-*", "support-eu", False),
        ("s?pport", "support", True),
        ("s?pport", "spport", False),
        ("*", "", True),
        ("*", "two\nlines", True),
        ("?", "\n", True),
        ("?", "\U0001f600", True),
        ("a.c", "abc", False),
        ("a\\*", "a\\b", True),
        ("**eu", "support-eu", True),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
    ],
)
def test_globs_are_anchored_and_know_two_wildcards(pattern: str, text: str, expected: bool) -> None:
    assert glob_matches(pattern, text) is expected


@pytest.mark.timeout(60)
def test_no_pattern_is_slow() -> None:
    """Whoever tries each way in turn does not come to an end."""
    assert not glob_matches("*a" * 100 + "b", "a" * 200)


def test_a_bracket_is_refused() -> None:
    with pytest.raises(Invalid, match="wildcard"):
        check_glob("support-[a]")
    check_glob("support-*")


def _tagged(key: str, operator: str, *values: str) -> Match:
    return Match(tags=(TagSelector(key=key, operator=operator, values=values),))


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (Match(all=True), True),
        (Match(), False),
        (Match(projects=("other", "support-*")), True),
        (Match(projects=("support-*",), kinds=(Kind.FILE,)), False),
        (Match(owners=("team-*",), kinds=(Kind.FILE, Kind.CONVERSATION)), True),
        (_tagged("env", "In", "dev", "prod"), True),
        (_tagged("env", "In", "dev"), False),
        (_tagged("absent", "In", "prod"), False),
        (_tagged("env", "NotIn", "dev"), True),
        (_tagged("env", "NotIn", "prod"), False),
        (_tagged("absent", "NotIn", "prod"), True),
        (_tagged("env", "Exists"), True),
        (_tagged("absent", "Exists"), False),
        (_tagged("env", "DoesNotExist"), False),
        (_tagged("absent", "DoesNotExist"), True),
    ],
)
def test_all_given_keys_must_match(match: Match, expected: bool, policy_with: Callable[..., Policy]) -> None:
    assert matches(policy_with("p", match=match), _THREAD) is expected
    # The same keys in `except` take out exactly what they match.
    assert matches(policy_with("p", except_=match), _THREAD) is not expected


def test_an_unknown_operator_is_not_guessed(policy_with: Callable[..., Policy]) -> None:
    with pytest.raises(Invalid, match="unknown"):
        matches(policy_with("p", match=_tagged("env", "Equals", "prod")), _THREAD)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (HoldScope(ids=("thr_1",)), True),
        (HoldScope(ids=("conv_1", "other")), True),
        (HoldScope(ids=("other",)), False),
        (HoldScope(ids=("thr_1",), projects=("sales-*",)), False),
        (HoldScope(owners=("team-*",), projects=("support-*",)), True),
        (HoldScope(tags=(TagSelector(key="env", operator="Exists"),)), True),
        (HoldScope(tags=(TagSelector(key="env", operator="In", values=("dev",)),)), False),
        (HoldScope(), True),
    ],
)
def test_a_hold_covers_what_all_its_given_fields_match(scope: HoldScope, expected: bool) -> None:
    assert scope_matches(scope, _THREAD) is expected


_LATER = _THREAD.registered_at + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("erasure", "expected"),
    [
        (Erasure(at=_LATER, owner="team-support"), True),
        (Erasure(at=_THREAD.registered_at, owner="team-support"), True),
        (Erasure(at=_THREAD.registered_at - timedelta(seconds=1), owner="team-support"), False),
        (Erasure(at=_LATER, owner="team-*"), False),
        (Erasure(at=_LATER, ids=("conv_1",)), True),
        (Erasure(at=_LATER, ids=("thr_1",)), True),
        (Erasure(at=_LATER, ids=("other",)), False),
        (Erasure(at=_LATER), False),
    ],
)
def test_an_erasure_covers_exactly_its_owner_or_its_threads(erasure: Erasure, expected: bool) -> None:
    assert erasure_covers(erasure, _THREAD) is expected


def test_an_owner_that_reads_like_a_glob_is_only_itself() -> None:
    assert erasure_covers(Erasure(at=_LATER, owner="team-*"), replace(_THREAD, owner="team-*"))
