"""The points of the rules that need a case of their own beside the precedence cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from worker.model.decision import Circumstances, Decision, Erasure, Notice, Outcome
from worker.model.ids import ThreadId
from worker.model.thread import Kind, Thread
from worker.policy.document import (
    Basis,
    Bundle,
    DeleteRule,
    Match,
    Notify,
    Policy,
    ProducerTtl,
    RetainRule,
    Since,
    Tier,
)
from worker.policy.durations import parse_duration
from worker.policy.evaluate import decide

_NOW = datetime(2026, 11, 22, tzinfo=UTC)
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_TICK = timedelta(microseconds=1)
_ANCIENT = datetime(2019, 1, 1, tzinfo=UTC)
_ID = ThreadId("thr_1")
_P30 = DeleteRule(after=parse_duration("30d"))


class Decide(Protocol):
    def __call__(
        self, thread: Thread, *policies: Policy, circumstances: Circumstances | None = None
    ) -> Decision: ...


@pytest.fixture
def deciding(bundle_of: Callable[..., Bundle]) -> Decide:
    def run(thread: Thread, *policies: Policy, circumstances: Circumstances | None = None) -> Decision:
        return decide(
            thread,
            bundle=bundle_of(*policies),
            circumstances=circumstances or Circumstances(),
            now=_NOW,
        )

    return run


def _aged(days: float, **changes: object) -> Thread:
    at = _NOW - days * _DAY
    thread = Thread(
        id=_ID,
        kind=Kind.CONVERSATION,
        external_id="conv_1",
        project="support",
        owner="team",
        registered_at=at,
        created_at=at,
    )
    return replace(thread, **changes)  # type: ignore[arg-type]


def _retain(length: str | None, basis: Basis = Basis.BUSINESS) -> RetainRule:
    return RetainRule(length=parse_duration(length) if length else None, basis=basis)


def _notify(grace: str) -> Notify:
    return Notify(to="owner", grace=parse_duration(grace))


def _notices(*notices: tuple[datetime, datetime | None]) -> Circumstances:
    return Circumstances(
        notices={_ID: tuple(Notice(thread_id=_ID, at=at, promised=promised) for at, promised in notices)}
    )


def test_a_floor_that_ends_with_the_ceiling_does_not_show(
    deciding: Decide, policy_with: Callable[..., Policy]
) -> None:
    decision = deciding(_aged(10), policy_with("p", delete=_P30), policy_with("keep", retain=_retain("30d")))
    assert (decision.outcome, decision.decided_by) == (Outcome.PENDING, "p")


def test_a_floor_is_over_at_its_very_end(deciding: Decide, policy_with: Callable[..., Policy]) -> None:
    rules = [policy_with("p", delete=_P30), policy_with("keep", retain=_retain("45d"))]
    over = deciding(_aged(45), *rules)
    assert (over.outcome, over.decided_by, over.eligible_at) == (Outcome.DUE, "p", _NOW)
    running = deciding(_aged(45, created_at=_NOW - 45 * _DAY + _TICK), *rules)
    assert (running.outcome, running.evaluate_at) == (Outcome.RETAINED, _NOW + _TICK)


@pytest.mark.parametrize("length", [None, "365d"])
def test_equal_floors_go_to_the_alphabetically_first(
    length: str | None, deciding: Decide, policy_with: Callable[..., Policy]
) -> None:
    rules = [policy_with(name, retain=_retain(length)) for name in ("b", "Z", "a")]
    # By code point: capitals come first.
    assert deciding(_aged(10), *rules).decided_by == "Z"


def test_forever_is_later_than_any_date(deciding: Decide, policy_with: Callable[..., Policy]) -> None:
    decision = deciding(
        _aged(10), policy_with("a", retain=_retain("P100Y")), policy_with("b", retain=_retain(None))
    )
    assert (decision.decided_by, decision.eligible_at, decision.evaluate_at) == ("b", None, None)


def test_one_document_may_lose_its_ceiling_and_keep_its_floor(
    deciding: Decide, policy_with: Callable[..., Policy]
) -> None:
    both = policy_with("both", tier=Tier.DEFAULT, delete=_P30, retain=_retain("365d"))
    decision = deciding(_aged(45), both, policy_with("p", delete=_P30))
    assert (decision.outcome, decision.decided_by, decision.swept_by) == (Outcome.RETAINED, "both", "p")


def test_a_ttl_is_swept_by_the_first_surviving_rule(
    deciding: Decide, policy_with: Callable[..., Policy]
) -> None:
    rules = [policy_with(name, delete=_P30) for name in ("c", "b")]
    dropped = policy_with("a", tier=Tier.DEFAULT, delete=_P30)
    decision = deciding(_aged(10, ttl="P7D"), *rules, dropped)
    assert (decision.decided_by, decision.swept_by) == ("producer-ttl", "b")
    assert decision.rules == ("b", "c", "producer-ttl")


def test_a_ttl_that_cannot_be_read_is_not_guessed(
    deciding: Decide, policy_with: Callable[..., Policy]
) -> None:
    thread = _aged(45, ttl="soon")
    assert deciding(thread, policy_with("p", delete=_P30)).outcome is Outcome.UNKNOWN
    ignoring = replace(_P30, producer_ttl=ProducerTtl.IGNORE)
    assert deciding(thread, policy_with("p", delete=ignoring)).outcome is Outcome.DUE


def test_the_earliest_erasure_that_covers_counts(deciding: Decide) -> None:
    orders = tuple(Erasure(at=_NOW - days * _DAY, owner="team") for days in (1, 3, 20))
    decision = deciding(_aged(10), circumstances=Circumstances(erasures=orders))
    assert (decision.outcome, decision.eligible_at) == (Outcome.DUE, _NOW - 3 * _DAY)
    assert (decision.decided_by, decision.swept_by, decision.rules) == ("erasure", "erasure", ("erasure",))


def test_an_erasure_that_lies_ahead_has_no_effect_yet(
    deciding: Decide, policy_with: Callable[..., Policy]
) -> None:
    ahead = Circumstances(erasures=(Erasure(at=_NOW + _DAY, owner="team"),))
    due = deciding(_aged(45), policy_with("p", delete=_P30), circumstances=ahead)
    assert (due.outcome, due.decided_by) == (Outcome.DUE, "p")
    idle = deciding(_aged(1), circumstances=ahead)
    assert (idle.outcome, idle.evaluate_at) == (Outcome.UNMANAGED, _NOW + _DAY)


@pytest.mark.parametrize("created_at", [None, _NOW + _DAY, datetime(1970, 1, 21, tzinfo=UTC)])
def test_an_erasure_is_stopped_by_no_date_but_by_a_legal_floor(
    created_at: datetime | None, deciding: Decide, policy_with: Callable[..., Policy]
) -> None:
    order = Circumstances(erasures=(Erasure(at=_NOW, owner="team"),))
    thread = _aged(10, created_at=created_at)
    business = policy_with("business", retain=_retain("365d"))
    assert deciding(thread, business, circumstances=order).outcome is Outcome.DUE
    legal = policy_with("legal", retain=_retain("365d", Basis.LEGAL))
    assert deciding(thread, legal, circumstances=order).outcome in {Outcome.UNKNOWN, Outcome.QUARANTINED}


@pytest.mark.parametrize(
    ("changes", "outcome", "evaluate_at"),
    [
        ({"created_at": _NOW + _HOUR}, Outcome.PENDING, _NOW + _HOUR + 30 * _DAY),
        ({"created_at": _NOW + _HOUR + _TICK}, Outcome.QUARANTINED, _NOW + _TICK),
        ({"created_at": datetime(2020, 1, 1, tzinfo=UTC)}, Outcome.DUE, datetime(2020, 1, 31, tzinfo=UTC)),
        ({"created_at": datetime(2020, 1, 1, tzinfo=UTC) - _TICK}, Outcome.QUARANTINED, None),
        ({"created_at": None, "last_activity_at": _ANCIENT}, Outcome.QUARANTINED, None),
        ({"created_at": None, "last_activity_at": _NOW + 2 * _HOUR}, Outcome.QUARANTINED, _NOW + _HOUR),
        ({"last_activity_at": _ANCIENT}, Outcome.PENDING, _NOW + 20 * _DAY),
        (
            {"created_at": _NOW + 2 * _HOUR, "last_activity_at": _NOW + 3 * _HOUR},
            Outcome.QUARANTINED,
            _NOW + 2 * _HOUR,
        ),
    ],
)
def test_dates_that_nobody_should_believe(
    changes: dict[str, datetime | None],
    outcome: Outcome,
    evaluate_at: datetime | None,
    deciding: Decide,
    policy_with: Callable[..., Policy],
) -> None:
    decision = deciding(_aged(10, **changes), policy_with("p", delete=_P30))
    assert (decision.outcome, decision.evaluate_at) == (outcome, evaluate_at)


def test_quarantine_needs_no_rule(deciding: Decide) -> None:
    assert deciding(_aged(10, created_at=_NOW + _DAY)).outcome is Outcome.QUARANTINED


def test_activity_alone_is_an_age_for_a_rule_that_counts_from_it(
    deciding: Decide, policy_with: Callable[..., Policy]
) -> None:
    idle = policy_with("idle", delete=replace(_P30, since=Since.LAST_ACTIVITY_AT))
    thread = _aged(10, created_at=None, last_activity_at=_NOW - 31 * _DAY)
    assert deciding(thread, idle).outcome is Outcome.DUE


def test_a_notice_is_owed_exactly_its_grace_ahead(
    deciding: Decide, policy_with: Callable[..., Policy]
) -> None:
    rule = policy_with("p", delete=_P30, notify=_notify("7d"))
    assert deciding(_aged(23), rule).outcome is Outcome.NOTIFY
    early = deciding(replace(_aged(23), created_at=_NOW - 23 * _DAY + _TICK), rule)
    assert (early.outcome, early.evaluate_at) == (Outcome.PENDING, _NOW + _TICK)
    assert early.eligible_at == _NOW + 7 * _DAY + _TICK


def test_the_longest_grace_counts(deciding: Decide, policy_with: Callable[..., Policy]) -> None:
    rules = [
        policy_with(name, delete=_P30, notify=_notify(grace)) for name, grace in (("a", "2d"), ("b", "7d"))
    ]
    assert deciding(_aged(45), *rules).eligible_at == _NOW + 7 * _DAY
    ahead = deciding(_aged(10), *rules)
    assert (ahead.outcome, ahead.evaluate_at) == (Outcome.PENDING, _NOW + 13 * _DAY)


def test_a_grace_in_months_is_owed_from_the_day_that_the_calendar_says(
    deciding: Decide, policy_with: Callable[..., Policy]
) -> None:
    rule = policy_with("p", delete=DeleteRule(after=parse_duration("P1Y")), notify=_notify("P1M"))
    # Due 2027-03-31; a month that starts on 2027-02-28 ends on 03-28, so the notice must wait until 03-01.
    thread = _aged(0, created_at=datetime(2026, 3, 31, tzinfo=UTC))
    assert deciding(thread, rule).evaluate_at == datetime(2027, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("notices", "outcome", "eligible_at"),
    [
        ([(_NOW - 3 * _DAY, None)], Outcome.PENDING, _NOW + 4 * _DAY),
        ([(_NOW - 8 * _DAY, None)], Outcome.DUE, _NOW - _DAY),
        ([(_NOW - 8 * _DAY, None), (_NOW - _DAY, None)], Outcome.DUE, _NOW - _DAY),
        # It promised the date that holds now, or an earlier one: it counts.
        ([(_NOW - 8 * _DAY, _NOW - _DAY)], Outcome.DUE, _NOW - _DAY),
        # It promised a later date than the one that holds now: a new notice is owed.
        ([(_NOW - 8 * _DAY, _NOW)], Outcome.NOTIFY, _NOW + 7 * _DAY),
        ([(_NOW - 8 * _DAY, _NOW), (_NOW - 8 * _DAY, None)], Outcome.DUE, _NOW - _DAY),
    ],
)
def test_a_notice_counts_while_the_date_is_not_before_the_one_it_promised(
    notices: list[tuple[datetime, datetime | None]],
    outcome: Outcome,
    eligible_at: datetime,
    deciding: Decide,
    policy_with: Callable[..., Policy],
) -> None:
    rule = policy_with("p", delete=_P30, notify=_notify("7d"))
    decision = deciding(_aged(45), rule, circumstances=_notices(*notices))
    assert (decision.outcome, decision.eligible_at) == (outcome, eligible_at)


def test_a_notice_of_another_thread_does_not_count(
    deciding: Decide, policy_with: Callable[..., Policy]
) -> None:
    rule = policy_with("p", delete=_P30, notify=_notify("7d"))
    other = ThreadId("thr_2")
    notices = Circumstances(notices={other: (Notice(thread_id=other, at=_NOW - 20 * _DAY),)})
    assert deciding(_aged(45), rule, circumstances=notices).outcome is Outcome.NOTIFY


def test_an_erasure_needs_no_notice(deciding: Decide, policy_with: Callable[..., Policy]) -> None:
    rule = policy_with("p", delete=_P30, notify=_notify("7d"))
    order = Circumstances(erasures=(Erasure(at=_NOW, ids=("conv_1",)),))
    assert deciding(_aged(45), rule, circumstances=order).outcome is Outcome.DUE


def test_a_policy_made_by_hand_without_a_match_covers_nothing(
    deciding: Decide, policy_with: Callable[..., Policy]
) -> None:
    assert deciding(_aged(45), policy_with("p", match=Match(), delete=_P30)).outcome is Outcome.UNMANAGED
