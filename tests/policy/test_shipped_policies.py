from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from worker.model.clock import parse_rfc3339, rfc3339
from worker.model.decision import Circumstances, Decision, Erasure, Hold, HoldScope
from worker.model.ids import HoldId
from worker.model.thread import Thread
from worker.policy.document import Bundle, Mode
from worker.policy.evaluate import decide
from worker.policy.guards import check
from worker.policy.load import load_folder

_FOLDER = Path(__file__).resolve().parents[2] / "policies"


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    bundle = load_folder(_FOLDER).bundle
    assert bundle is not None
    return bundle


def test_the_shipped_bundle_is_accepted_with_one_explained_warning() -> None:
    assert [finding.code for finding in load_folder(_FOLDER).findings] == ["RP019"]


def test_a_project_on_this_machine_takes_the_warning_away(tmp_path: Path) -> None:
    sandbox = tmp_path / "sandbox.yaml"
    sandbox.write_text(
        "apiVersion: retention/v1\nkind: Project\nmetadata: {name: demo-support, owner: demo}\n"
        "spec: {provider: openai, base_url: 'http://127.0.0.1:8401/v1', api_key: {env: TENURE_KEY_SANDBOX}}\n"
    )
    loaded = load_folder(_FOLDER, extra=[sandbox])
    assert loaded.findings == ()
    assert loaded.bundle is not None
    assert list(loaded.bundle.projects) == ["demo-support"]


def test_the_shipped_bundle_names_no_account(shipped: Bundle) -> None:
    assert dict(shipped.projects) == {}


def test_every_enforced_delete_rule_is_bound_to_demo_projects(shipped: Bundle) -> None:
    for policy in shipped.policies:
        if policy.delete and policy.mode is Mode.ENFORCE:
            assert policy.match.projects
            assert all(pattern.startswith("demo-") for pattern in policy.match.projects)


@pytest.mark.parametrize("threads", [20, 100, 1000])
def test_the_guards_let_a_trial_delete_everything(shipped: Bundle, threads: int) -> None:
    guards = shipped.policy("conversations-30d").guards
    assert guards is not None
    assert not check(guards, planned=threads, released=0, population=threads).blocked


def test_the_guards_stop_a_sweep_of_more_than_a_thousand(shipped: Bundle) -> None:
    guards = shipped.policy("conversations-30d").guards
    assert guards is not None
    assert check(guards, planned=1001, released=0, population=100_000).blocked
    assert check(guards, planned=1, released=1000, population=100_000).blocked


def _decide_all(
    case: Mapping[str, Any], bundle: Bundle, thread_from: Callable[[Mapping[str, Any]], Thread]
) -> dict[str, Decision]:
    holds = tuple(
        Hold(id=HoldId(one["matter"]), matter=one["matter"], scope=HoldScope(ids=tuple(one["scope"]["ids"])))
        for one in case["holds"]
    )
    erasures = tuple(Erasure(at=parse_rfc3339(one["at"]), owner=one["owner"]) for one in case["erasures"])
    circumstances = Circumstances(holds=holds, erasures=erasures)
    now = parse_rfc3339(case["now"])
    return {
        row["id"]: decide(thread_from(row), bundle=bundle, circumstances=circumstances, now=now)
        for row in case["threads"]
    }


def test_the_tests_beside_the_policies_hold(
    shipped: Bundle,
    thread_from: Callable[[Mapping[str, Any]], Thread],
    read_yaml: Callable[[str], Any],
) -> None:
    case = read_yaml((_FOLDER / "retention.test.yaml").read_text())
    decisions = _decide_all(case, shipped, thread_from)
    assert {one["id"] for one in case["expect"]} == set(decisions)
    for expected in case["expect"]:
        decision = decisions[expected["id"]]
        seen = {
            "id": expected["id"],
            "outcome": decision.outcome.value,
            "decided_by": decision.decided_by,
            "eligible_at": rfc3339(decision.eligible_at) if decision.eligible_at else None,
        }
        assert {key: seen[key] for key in expected} == expected
