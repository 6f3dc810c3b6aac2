from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from tests.world.precedence import NOW, VECTORS, circumstances_of, name_of, thread_of, whole_bundle
from worker.model.clock import parse_rfc3339
from worker.model.decision import Decision, Outcome
from worker.policy.document import Bundle, Policy
from worker.policy.evaluate import decide


@pytest.fixture(scope="module")
def whole() -> Bundle:
    return whole_bundle()


def _assert_expected(decision: Decision, expect: Mapping[str, Any]) -> None:
    assert decision.outcome is Outcome(expect["outcome"])
    assert decision.decided_by == expect.get("decided_by")
    eligible_at = expect.get("eligible_at")
    assert decision.eligible_at == (parse_rfc3339(eligible_at) if eligible_at else None)


def test_there_are_52_cases() -> None:
    assert [case["n"] for case in VECTORS["cases"]] == list(range(1, 53))


@pytest.mark.parametrize("case", VECTORS["cases"], ids=name_of)
def test_a_case_gives_its_answer_under_every_ordering(case: Mapping[str, Any], whole: Bundle) -> None:
    thread = thread_of(case["thread"])
    chosen: list[Policy] = [whole.policy(name) for name in case["policies"]]
    decisions = {
        decide(
            thread,
            bundle=replace(whole, policies=ordering),
            circumstances=circumstances_of(case, thread),
            now=NOW,
        )
        for ordering in permutations(chosen)
    }
    assert len(decisions) == 1
    _assert_expected(decisions.pop(), case["expect"])


@pytest.mark.parametrize("case", VECTORS["cases"], ids=name_of)
def test_a_case_gives_its_answer_beside_policies_that_match_nothing_of_it(
    case: Mapping[str, Any], whole: Bundle
) -> None:
    thread = thread_of(case["thread"])
    elsewhere = [
        replace(policy, match=replace(policy.match, all=False, projects=("elsewhere-*",)))
        for policy in whole.policies
        if policy.name not in case["policies"]
    ]
    chosen = [whole.policy(name) for name in case["policies"]]
    decision = decide(
        thread,
        bundle=replace(whole, policies=(*elsewhere, *chosen)),
        circumstances=circumstances_of(case, thread),
        now=NOW,
    )
    _assert_expected(decision, case["expect"])
