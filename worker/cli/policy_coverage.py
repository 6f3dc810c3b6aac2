"""Which rules the tests beside policies hold to something: by each, what it decided and was expected to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from worker.model.decision import Decision, Outcome
from worker.policy.document import Bundle, Mode, Policy
from worker.policy.findings import Finding, Severity

UNCOVERED = "UNCOVERED"
_NOT_DUE = frozenset({Outcome.PENDING, Outcome.NOTIFY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many cases one policy decides, by what it decides.

    A delete rule wants a case that is DUE and one that is not yet (PENDING or NOTIFY): the two sides of its
    date. A retain rule wants one that it retains. A policy that takes no part can decide nothing.
    """

    policy: Policy
    due: int
    not_due: int
    retained: int

    @property
    def missing(self) -> tuple[str, ...]:
        """What no case shows, in words."""
        wanted = (
            (self.policy.delete, self.due, "is DUE by it"),
            (self.policy.delete, self.not_due, "is not due yet (PENDING or NOTIFY) by it"),
            (self.policy.retain, self.retained, "is RETAINED by it"),
        )
        if self.policy.mode is not Mode.ENFORCE:
            return ()
        return tuple(words for rule, count, words in wanted if rule and not count)

    def finding(self) -> Finding | None:
        """Return what is missing as a warning at the policy, or None."""
        if not self.missing:
            return None
        file, _, line = self.policy.source.rpartition(":")
        return Finding(
            file=file or "bundle",
            line=int(line) if line.isdigit() else 0,
            col=1,
            code=UNCOVERED,
            message=f"{self.policy.name}: no case {', and none '.join(self.missing)}.",
            fix="Add such a thread, and its outcome to expect.",
            severity=Severity.WARNING,
        )

    def as_dict(self) -> dict[str, object]:
        """Return it as a row; ``covered`` is None where there is nothing to cover."""
        enforced = self.policy.mode is Mode.ENFORCE
        rules = [name for name in ("delete", "retain") if getattr(self.policy, name)]
        return {
            "policy": self.policy.name,
            "mode": self.policy.mode.value,
            "rules": rules,
            "due": self.due,
            "not_due": self.not_due,
            "retained": self.retained,
            "covered": not self.missing if enforced else None,
        }


def coverage_of(bundle: Bundle, decisions: Sequence[Decision]) -> list[Coverage]:
    """Return what every policy decides among these."""
    return [
        _coverage(policy, [one for one in decisions if one.decided_by == policy.name])
        for policy in bundle.policies
    ]


def _coverage(policy: Policy, decided: Sequence[Decision]) -> Coverage:
    return Coverage(
        policy=policy,
        due=_count(decided, {Outcome.DUE}),
        not_due=_count(decided, _NOT_DUE),
        retained=_count(decided, {Outcome.RETAINED}),
    )


def _count(decisions: Iterable[Decision], outcomes: Iterable[Outcome]) -> int:
    return sum(one.outcome in outcomes for one in decisions)
