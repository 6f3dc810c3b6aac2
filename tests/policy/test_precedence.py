from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from worker.model.clock import parse_rfc3339
from worker.model.decision import Circumstances, Decision, Erasure, Hold, HoldScope, Notice, Outcome
from worker.model.ids import HoldId, ThreadId
from worker.model.thread import Thread
from worker.policy.document import Bundle, Policy
from worker.policy.evaluate import decide
from worker.policy.load import load_texts

_TEXT = (Path(__file__).parent / "precedence.yaml").read_text()
_VECTORS: Mapping[str, Any] = YAML(typ="safe", pure=True).load(_TEXT)
_NOW = parse_rfc3339(_VECTORS["now"])


def _documents() -> Iterator[str]:
    """Cut the list of policies into documents, so that the loader reads exactly what stands there."""
    listed = _TEXT.partition("\npolicies:\n")[2].partition("\ncases:\n")[0]
    for item in ("\n" + listed).split("\n- ")[1:]:
        yield "\n".join(line.removeprefix("  ") for line in item.splitlines())


@pytest.fixture(scope="module")
def whole() -> Bundle:
    loaded = load_texts({"vectors.yaml": "\n---\n".join(_documents())})
    # The vectors overlap on purpose: which of two rules decides is what they are about.
    assert [str(one) for one in loaded.findings if one.code != "RP039"] == []
    assert loaded.bundle is not None
    return loaded.bundle


def _circumstances(case: Mapping[str, Any], thread: Thread) -> Circumstances:
    scope = HoldScope(ids=(thread.id,))
    holds = (Hold(id=HoldId("hld_1"), matter=case["hold"], scope=scope),) if "hold" in case else ()
    erasures = (Erasure(at=parse_rfc3339(case["erasure"]), owner=thread.owner),) if "erasure" in case else ()
    notices: dict[ThreadId, tuple[Notice, ...]] = {}
    if "notice" in case:
        notices[thread.id] = (Notice(thread_id=thread.id, at=parse_rfc3339(case["notice"])),)
    return Circumstances(holds=holds, erasures=erasures, notices=notices)


def _assert_expected(decision: Decision, expect: Mapping[str, Any]) -> None:
    assert decision.outcome is Outcome(expect["outcome"])
    assert decision.decided_by == expect.get("decided_by")
    eligible_at = expect.get("eligible_at")
    assert decision.eligible_at == (parse_rfc3339(eligible_at) if eligible_at else None)


def _name(case: Mapping[str, Any]) -> str:
    return f"{case['n']} {case['what']}"


def test_there_are_52_cases() -> None:
    assert [case["n"] for case in _VECTORS["cases"]] == list(range(1, 53))


@pytest.mark.parametrize("case", _VECTORS["cases"], ids=_name)
def test_a_case_gives_its_answer_under_every_ordering(
    case: Mapping[str, Any], whole: Bundle, thread_from: Callable[[Mapping[str, Any]], Thread]
) -> None:
    thread = thread_from(case["thread"])
    chosen: list[Policy] = [whole.policy(name) for name in case["policies"]]
    decisions = {
        decide(
            thread,
            bundle=replace(whole, policies=ordering),
            circumstances=_circumstances(case, thread),
            now=_NOW,
        )
        for ordering in permutations(chosen)
    }
    assert len(decisions) == 1
    _assert_expected(decisions.pop(), case["expect"])


@pytest.mark.parametrize("case", _VECTORS["cases"], ids=_name)
def test_a_case_gives_its_answer_beside_policies_that_match_nothing_of_it(
    case: Mapping[str, Any], whole: Bundle, thread_from: Callable[[Mapping[str, Any]], Thread]
) -> None:
    thread = thread_from(case["thread"])
    elsewhere = [
        replace(policy, match=replace(policy.match, all=False, projects=("elsewhere-*",)))
        for policy in whole.policies
        if policy.name not in case["policies"]
    ]
    chosen = [whole.policy(name) for name in case["policies"]]
    decision = decide(
        thread,
        bundle=replace(whole, policies=(*elsewhere, *chosen)),
        circumstances=_circumstances(case, thread),
        now=_NOW,
    )
    _assert_expected(decision, case["expect"])
