"""Running the tests beside policies (`*.test.yaml`): pure, without a project, a database or settings.

Every thread is expected something: an expectation that fails is explained, an outcome that nobody expected
fails as well, and what no expectation holds to is told rule by rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from worker.cli.policy_cases import Case, Expectation, read_cases
from worker.cli.policy_coverage import Coverage, coverage_of
from worker.model.clock import rfc3339
from worker.model.decision import Decision
from worker.model.thread import Thread
from worker.policy.document import Bundle
from worker.policy.explain import Explanation, explain
from worker.policy.findings import Finding, Notes
from worker.policy.nodes import Node
from worker.policy.readers import did_you_mean

FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One expectation beside what was decided; ``expected`` None: nobody expected anything of the thread."""

    file: str
    line: int
    thread: str
    held: bool
    expected: Mapping[str, str | None] | None
    seen: Mapping[str, str | None] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """What running tests led to; findings are in the order of the files."""

    cases: int
    compared: tuple[Compared, ...]
    coverage: tuple[Coverage, ...]
    findings: tuple[Finding, ...]

    @property
    def held(self) -> int:
        """How many expectations held."""
        return sum(one.held for one in self.compared)


def run_tests(files: Mapping[str, str], bundle: Bundle) -> Tested:
    """Run the tests in these texts (by file name) against a bundle."""
    findings: list[Finding] = []
    compared: list[Compared] = []
    held_to: list[Decision] = []
    cases = 0
    for name in sorted(files):
        notes = Notes(name)
        for case in read_cases(files[name], notes):
            cases += 1
            told = _explain(case, bundle)
            results = _compare(case, told, notes)
            held_to += [told[one.thread].decision for one in results if _holds_to_an_outcome(one)]
            compared += results
        findings += notes.findings
    coverage = coverage_of(bundle, held_to)
    findings += [finding for one in coverage if (finding := one.finding())]
    return Tested(cases=cases, compared=tuple(compared), coverage=tuple(coverage), findings=tuple(findings))


def _holds_to_an_outcome(one: Compared) -> bool:
    """Whether an outcome is expected and comes; a date alone, or a name, holds no rule to its outcome."""
    if one.expected is None or one.seen is None or "outcome" not in one.expected:
        return False
    return one.expected["outcome"] == one.seen["outcome"]


def test_files(path: Path) -> list[Path]:
    """Return the test files of a folder in order."""
    return sorted(one for one in path.iterdir() if one.name.endswith((".test.yaml", ".test.yml")))


def _explain(case: Case, bundle: Bundle) -> dict[str, Explanation]:
    return {
        thread.id: explain(thread, bundle=bundle, circumstances=case.circumstances, now=case.now)
        for thread, _ in case.threads
    }


def _compare(case: Case, told: Mapping[str, Explanation], notes: Notes) -> list[Compared]:
    results = [_expected(one, told, notes) for one in case.expect]
    expected = {one.id for one in case.expect}
    unexpected = [(thread, node) for thread, node in case.threads if thread.id not in expected]
    return results + [_unexpected(thread, node, told[thread.id], notes) for thread, node in unexpected]


def _expected(one: Expectation, told: Mapping[str, Explanation], notes: Notes) -> Compared:
    if one.id not in told:
        fix = did_you_mean(one.id, told)
        notes.error(one.node, FAILED, f"{one.id}: no thread of this test has this id.", fix)
        return _result(one.id, one.node, notes, expected=one.wanted, seen=None)
    explanation = told[one.id]
    seen = _seen(explanation.decision)
    wrong = [f"{key} is {seen[key]}, not {value}" for key, value in one.wanted.items() if seen[key] != value]
    if wrong:
        notes.error(one.node, FAILED, f"{one.id}: {'; '.join(wrong)}.", why=explanation.reasons)
    return _result(one.id, one.node, notes, expected=one.wanted, seen=seen, held=not wrong)


def _unexpected(thread: Thread, node: Node, explanation: Explanation, notes: Notes) -> Compared:
    seen = _seen(explanation.decision)
    what = f"{thread.id}: is {seen['outcome']}, and nothing is expected of it."
    notes.error(node, FAILED, what, "Add it to expect.", why=explanation.reasons)
    return _result(thread.id, node, notes, expected=None, seen=seen)


def _result(
    thread: str,
    node: Node,
    notes: Notes,
    *,
    expected: Mapping[str, str | None] | None,
    seen: Mapping[str, str | None] | None,
    held: bool = False,
) -> Compared:
    return Compared(file=notes.file, line=node.line, thread=thread, held=held, expected=expected, seen=seen)


def _seen(decision: Decision) -> dict[str, str | None]:
    at = decision.eligible_at
    return {
        "outcome": decision.outcome.value,
        "decided_by": decision.decided_by,
        "eligible_at": rfc3339(at) if at else None,
    }
