from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from worker.cli.policy_cases import read_cases
from worker.model.decision import Circumstances, Erasure, Hold, HoldScope, Outcome
from worker.model.ids import HoldId, ThreadId
from worker.model.thread import Kind, Thread, ThreadState
from worker.policy.document import Bundle
from worker.policy.evaluate import decide
from worker.policy.explain import explain
from worker.policy.findings import Notes
from worker.policy.load import load_texts

_GOLDEN = Path(__file__).parent / "explanations"
_NOW = datetime(2026, 11, 22, tzinfo=UTC)
_GUARDS = "guards: {max_deletes: 1, max_percent: 1, min_population: 1, window: 24h}"
_TEXT = f"""\
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {{name: p30, owner: o}}
spec:
  {{mode: enforce, match: {{projects: [support]}}, delete: {{after: 4w}}, {_GUARDS}}}
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {{name: base, owner: o}}
spec: {{mode: enforce, tier: default, match: {{all: true}}, delete: {{after: P3M}}, {_GUARDS},
  before_delete: [{{notify: {{grace: 7d}}}}]}}
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {{name: qa, owner: o}}
spec: {{mode: enforce, match: {{tags: [{{key: qa, operator: Exists}}]}}, retain: {{for: 180d}}}}
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {{name: idea, owner: o}}
spec: {{mode: audit, match: {{all: true}}, delete: {{after: 1d}}, {_GUARDS}}}
"""
_THREAD = Thread(
    id=ThreadId("thr_1"),
    kind=Kind.CONVERSATION,
    external_id="conv_1",
    project="support",
    owner="team",
    registered_at=datetime(2026, 10, 1, tzinfo=UTC),
    created_at=datetime(2026, 10, 1, tzinfo=UTC),
)
_STOP = (
    "A hold stops it (tenure hold place --id thr_1 --matter M --reason R); "
    "so does a retain rule that matches, and tenure pause stops all deletions."
)

_DISBELIEVED = (
    "Its dates are not to be believed (created_at 1970-01-21T00:00:00Z is before 2020); "
    "nothing is deleted until that is corrected."
)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    loaded = load_texts({"r.yaml": _TEXT, "empty.yaml": ""})
    assert loaded.bundle is not None, [str(one) for one in loaded.findings]
    return loaded.bundle


def _lines(bundle: Bundle, thread: Thread, circumstances: Circumstances | None = None) -> list[str]:
    given = circumstances or Circumstances()
    explanation = explain(thread, bundle=bundle, circumstances=given, now=_NOW)
    assert explanation.decision == decide(thread, bundle=bundle, circumstances=given, now=_NOW)
    return list(explanation.lines)


def test_a_due_thread_names_rule_file_line_arithmetic_and_what_stops_it(bundle: Bundle) -> None:
    assert _lines(bundle, _THREAD) == [
        "DUE, decided by p30 (r.yaml:1), since 2026-10-29T00:00:00Z.",
        "p30 (r.yaml:1) deletes: created_at 2026-10-01T00:00:00Z + P4W = 2026-10-29T00:00:00Z.",
        "base (r.yaml:7) matches and drops out: tier default, and a specific delete rule matches.",
        "idea (r.yaml:18) matches and takes no part: mode audit.",
        _STOP,
    ]


def test_a_held_thread_says_what_it_would_be_without_the_hold(bundle: Bundle) -> None:
    holds = tuple(
        Hold(id=HoldId(matter), matter=matter, scope=HoldScope(ids=("conv_1",))) for matter in ("b-2", "a-1")
    )
    lines = _lines(bundle, _THREAD, Circumstances(holds=holds))
    assert lines[:4] == [
        "HELD, decided by hold:a-1.",
        "Held by hold:a-1.",
        "Held by hold:b-2.",
        "Without any hold: DUE, decided by p30 (r.yaml:1), since 2026-10-29T00:00:00Z.",
    ]
    assert (
        lines[-1] == "Only a release ends a hold: tenure hold list, then tenure hold release ID --reason R."
    )


def test_a_retained_thread_says_until_when_and_who_can_end_it(bundle: Bundle) -> None:
    lines = _lines(bundle, replace(_THREAD, tags={"qa": "x"}))
    assert lines[0] == "RETAINED, decided by qa (r.yaml:13), until 2027-03-30T00:00:00Z."
    assert (
        "qa (r.yaml:13) retains (business): created_at 2026-10-01T00:00:00Z + P180D = 2027-03-30T00:00:00Z."
        in lines
    )
    assert lines[-1] == "Time alone changes this at 2027-03-30T00:00:00Z at the earliest."


def test_an_erasure_names_what_it_overrules(bundle: Bundle) -> None:
    circumstances = Circumstances(erasures=(Erasure(at=_NOW, owner="team"),))
    lines = _lines(bundle, replace(_THREAD, tags={"qa": "x"}), circumstances)
    assert lines[0] == "DUE, decided by erasure, since 2026-11-22T00:00:00Z."
    assert "An erasure ordered at 2026-11-22T00:00:00Z stands in for every delete rule." in lines
    assert "qa (r.yaml:13) matches and does not protect: an erasure overrules basis business." in lines


def test_a_notice_ahead_is_told(bundle: Bundle) -> None:
    old = replace(_THREAD, project="sales", created_at=datetime(2026, 7, 1, tzinfo=UTC))
    lines = _lines(bundle, old)
    assert lines[0] == (
        "NOTIFY, decided by base (r.yaml:7), not before 2026-11-29T00:00:00Z, once a notice was delivered."
    )
    assert "notice with P7D grace" in lines[1]


def test_a_ttl_shows_its_own_sum(bundle: Bundle) -> None:
    lines = _lines(bundle, replace(_THREAD, ttl="P7D"))
    assert lines[0] == "DUE, decided by producer-ttl, since 2026-10-08T00:00:00Z."
    assert "producer-ttl: created_at 2026-10-01T00:00:00Z + P7D = 2026-10-08T00:00:00Z." in lines
    unaged = _lines(bundle, replace(_THREAD, ttl="P7D", created_at=None))
    assert "p30 (r.yaml:1) deletes: created_at is unknown, so P4W from it cannot be told." in unaged
    unread = _lines(bundle, replace(_THREAD, ttl="soon"))
    assert 'producer-ttl: "soon" is not a duration.' in unread


@pytest.mark.parametrize(
    ("thread", "outcome", "last"),
    [
        (
            replace(_THREAD, state=ThreadState.DELETED),
            Outcome.SKIP,
            "Its state is deleted: only live threads are decided.",
        ),
        (
            replace(_THREAD, created_at=None),
            Outcome.UNKNOWN,
            "A date that a rule needs is unknown or unreadable; nothing is deleted until it is corrected.",
        ),
        (
            replace(_THREAD, created_at=datetime(1970, 1, 21, tzinfo=UTC)),
            Outcome.QUARANTINED,
            _DISBELIEVED,
        ),
    ],
    ids=["skip", "unknown", "quarantined"],
)
def test_every_outcome_says_what_would_change_it(
    bundle: Bundle, thread: Thread, outcome: Outcome, last: str
) -> None:
    lines = _lines(bundle, thread)
    assert lines[0].startswith(outcome.value)
    assert lines[-1] == last


def test_an_unmanaged_thread_says_that_nothing_will_delete_it() -> None:
    empty = load_texts({}).bundle
    assert empty is not None
    assert _lines(empty, _THREAD) == [
        "UNMANAGED.",
        "No delete rule in mode enforce matches, so nothing will delete it.",
    ]


def test_every_outcome_is_explained_word_for_word() -> None:
    """The golden text: every rule that contributes has its file and line, and every date its sum."""
    loaded = load_texts({"rules.yaml": (_GOLDEN / "rules.yaml").read_text()})
    assert loaded.bundle is not None
    notes = Notes("threads.yaml")
    (case,) = read_cases((_GOLDEN / "threads.yaml").read_text(), notes)
    told: list[str] = []
    for thread, _ in case.threads:
        explained = explain(thread, bundle=loaded.bundle, circumstances=case.circumstances, now=case.now)
        sited = [policy for policy in loaded.bundle.policies if policy.name in explained.decision.rules]
        text = "\n".join(explained.lines)
        assert [policy.name for policy in sited if f"{policy.name} ({policy.source})" not in text] == []
        told += [f"# {thread.id}", *explained.lines, ""]
    assert "\n".join(told) == (_GOLDEN / "told.txt").read_text()
