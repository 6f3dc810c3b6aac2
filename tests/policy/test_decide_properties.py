"""What must hold for every thread, every set of rules and every circumstance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from hypothesis import example, given
from hypothesis import strategies as st

from worker.model.decision import (
    Circumstances,
    Decision,
    Erasure,
    Hold,
    HoldScope,
    Notice,
    Outcome,
    TagSelector,
)
from worker.model.ids import HoldId, ThreadId
from worker.model.thread import Kind, Thread, ThreadState
from worker.policy.canonical import make_bundle
from worker.policy.document import (
    Basis,
    DeleteRule,
    Match,
    Mode,
    Notify,
    Policy,
    ProducerTtl,
    RetainRule,
    Since,
    Tier,
)
from worker.policy.durations import parse_duration
from worker.policy.evaluate import decide

T = TypeVar("T")

_NOW = datetime(2026, 11, 22, tzinfo=UTC)
_ID = ThreadId("thr_1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    thread: Thread
    policies: tuple[Policy, ...]
    circumstances: Circumstances

    def decide(self, now: datetime = _NOW) -> Decision:
        bundle = make_bundle(self.policies, (), None)
        return decide(self.thread, bundle=bundle, circumstances=self.circumstances, now=now)


# A few days around the borders, so that ties and exact instants happen.
_DAYS = st.sampled_from([0, 1, 6, 7, 8, 20, 29, 30, 31, 60, 90, 400])
_PAST = st.builds(
    lambda days, seconds: _NOW - timedelta(days=days, seconds=seconds), _DAYS, st.integers(-1, 1)
)
_ODD = st.sampled_from(
    [
        _NOW + timedelta(minutes=30),
        _NOW + timedelta(hours=1),
        _NOW + timedelta(hours=1, microseconds=1),
        _NOW + timedelta(days=3),
        datetime(1970, 1, 21, tzinfo=UTC),
        datetime(2019, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    ]
)
_WHEN = st.one_of(_PAST, _PAST, _PAST, _ODD)
_LENGTHS = st.sampled_from(["1h", "7d", "20d", "30d", "4w", "P1M", "P3M", "365d", "P1Y", "P100Y"]).map(
    parse_duration
)
_MATCHES = st.sampled_from(
    [
        Match(all=True),
        Match(all=True),
        Match(projects=("support-*",)),
        Match(projects=("sales",)),
        Match(owners=("team-?",), kinds=(Kind.CONVERSATION,)),
        Match(tags=(TagSelector(key="keep", operator="Exists"),)),
        Match(tags=(TagSelector(key="env", operator="NotIn", values=("prod",)),)),
    ]
)
_THREADS = st.builds(
    Thread,
    id=st.just(_ID),
    kind=st.sampled_from([Kind.CONVERSATION, Kind.THREAD]),
    external_id=st.just("conv_1"),
    project=st.sampled_from(["support-eu", "sales"]),
    owner=st.sampled_from(["team-a", "team-legal"]),
    registered_at=_WHEN,
    tags=st.sampled_from([{}, {"keep": "true"}, {"env": "prod"}]),
    ttl=st.sampled_from([None, None, "P7D", "30d", "P1M", "not a duration"]),
    created_at=st.one_of(st.none(), _WHEN, _WHEN),
    last_activity_at=st.one_of(st.none(), _WHEN),
    state=st.sampled_from([ThreadState.LIVE] * 9 + [ThreadState.DELETED]),
)
_DELETES = st.builds(
    DeleteRule,
    after=_LENGTHS,
    since=st.sampled_from(Since),
    producer_ttl=st.sampled_from([ProducerTtl.SHORTEN, ProducerTtl.SHORTEN, ProducerTtl.IGNORE]),
)
_RETAINS = st.builds(
    RetainRule,
    length=st.one_of(st.none(), _LENGTHS),
    since=st.sampled_from(Since),
    basis=st.sampled_from(Basis),
)


def _policies(names: st.SearchStrategy[str], modes: st.SearchStrategy[Mode]) -> st.SearchStrategy[Policy]:
    return st.builds(
        Policy,
        name=names,
        owner=st.just("tests"),
        match=_MATCHES,
        except_=st.one_of(st.none(), st.none(), st.just(Match(owners=("*-legal",)))),
        mode=modes,
        tier=st.sampled_from([Tier.SPECIFIC, Tier.SPECIFIC, Tier.DEFAULT]),
        delete=st.one_of(st.none(), _DELETES, _DELETES),
        retain=st.one_of(st.none(), st.none(), _RETAINS),
        notify=st.one_of(st.none(), st.none(), st.builds(Notify, to=st.just("owner"), grace=_LENGTHS)),
    )


_MODES = st.sampled_from([Mode.ENFORCE, Mode.ENFORCE, Mode.ENFORCE, Mode.AUDIT, Mode.DISABLED])
_SCOPES = st.sampled_from(
    [
        HoldScope(ids=(_ID,)),
        HoldScope(owners=("team-legal",)),
        HoldScope(projects=("sales*",)),
        HoldScope(ids=("thr_2",)),
    ]
)
_HOLDS = st.builds(Hold, id=st.just(HoldId("hld_1")), matter=st.sampled_from(["b", "a"]), scope=_SCOPES)
_ERASURES = st.builds(
    Erasure,
    at=_WHEN,
    owner=st.sampled_from([None, "team-a", "team-*"]),
    ids=st.sampled_from([(), (_ID,), ("conv_1",)]),
)
_NOTICES = st.builds(Notice, thread_id=st.just(_ID), at=_PAST, promised=st.one_of(st.none(), _WHEN))


def _few(strategy: st.SearchStrategy[object], at_most: int = 2) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(strategy, max_size=at_most).map(tuple)


_CIRCUMSTANCES = st.builds(
    Circumstances,
    holds=st.one_of(st.just(()), st.just(()), _few(_HOLDS)),
    erasures=st.one_of(st.just(()), st.just(()), _few(_ERASURES)),
    notices=st.one_of(st.just({}), st.lists(_NOTICES, max_size=3).map(lambda some: {_ID: tuple(some)})),
)
_SITUATIONS = st.builds(
    Situation,
    thread=_THREADS,
    policies=st.lists(
        _policies(st.sampled_from(["p-a", "p-b", "p-c", "P-d", "p-\u00e4"]), _MODES),
        max_size=4,
        unique_by=lambda policy: policy.name,
    ).map(tuple),
    circumstances=_CIRCUMSTANCES,
)


def _mixed(items: Sequence[T], order: Sequence[int]) -> tuple[T, ...]:
    return tuple(items[index] for index in order if index < len(items))


@given(_SITUATIONS, st.permutations(range(4)))
def test_the_answer_depends_on_no_order(situation: Situation, order: Sequence[int]) -> None:
    circumstances = situation.circumstances
    reordered = Circumstances(
        holds=_mixed(circumstances.holds, order),
        erasures=_mixed(circumstances.erasures, order),
        notices={key: _mixed(some, order) for key, some in circumstances.notices.items()},
    )
    bundle = make_bundle(situation.policies, (), None)
    shuffled = replace(bundle, policies=_mixed(bundle.policies, order))
    other = decide(situation.thread, bundle=shuffled, circumstances=reordered, now=_NOW)
    assert other == situation.decide()
    assert situation.decide() == situation.decide()


@given(_SITUATIONS)
def test_every_decision_is_complete(situation: Situation) -> None:
    decision = situation.decide()
    outcome = decision.outcome
    assert decision.bundle == make_bundle(situation.policies, (), None).digest
    assert list(decision.rules) == sorted(set(decision.rules))
    assert (decision.decided_by is None) == (
        outcome in {Outcome.SKIP, Outcome.UNKNOWN, Outcome.QUARANTINED, Outcome.UNMANAGED}
    )
    if decision.decided_by:
        assert decision.decided_by in decision.rules
    if outcome in {Outcome.DUE, Outcome.PENDING, Outcome.NOTIFY}:
        assert decision.eligible_at is not None
        assert decision.swept_by is not None
    if outcome is Outcome.DUE:
        assert decision.eligible_at is not None
        assert decision.eligible_at <= _NOW
    elif outcome in {Outcome.PENDING, Outcome.NOTIFY}:
        assert decision.eligible_at is not None
        assert decision.eligible_at > _NOW


@given(_SITUATIONS, st.sampled_from(["a", "b", "zz"]))
def test_a_hold_never_yields_due(situation: Situation, matter: str) -> None:
    hold = Hold(id=HoldId("hld_2"), matter=matter, scope=HoldScope(ids=("conv_1",)))
    holds = (*situation.circumstances.holds, hold)
    held = replace(situation, circumstances=replace(situation.circumstances, holds=holds)).decide()
    assert held.outcome in {Outcome.HELD, Outcome.SKIP}


@given(_SITUATIONS, _policies(st.just("added"), st.just(Mode.ENFORCE)), _RETAINS)
def test_an_added_retain_rule_never_makes_anything_due(
    situation: Situation, policy: Policy, retain: RetainRule
) -> None:
    added = replace(policy, delete=None, notify=None, retain=retain)
    after = replace(situation, policies=(*situation.policies, added)).decide()
    assert after.outcome is not Outcome.DUE or situation.decide().outcome is Outcome.DUE


@given(_SITUATIONS, _policies(st.just("a-first"), st.sampled_from([Mode.AUDIT, Mode.DISABLED])))
def test_audit_and_disabled_rules_take_no_part(situation: Situation, idle: Policy) -> None:
    beside = replace(situation, policies=(*situation.policies, idle)).decide()
    assert replace(beside, bundle="") == replace(situation.decide(), bundle="")


@given(_SITUATIONS, st.floats(0, 1, exclude_max=True), st.timedeltas(timedelta(), timedelta(days=40_000)))
@example(
    Situation(
        thread=Thread(
            id=_ID,
            kind=Kind.CONVERSATION,
            external_id="conv_1",
            project="sales",
            owner="team-a",
            registered_at=_NOW - timedelta(days=20),
            created_at=_NOW - timedelta(days=20),
        ),
        policies=(
            Policy(
                name="p",
                owner="tests",
                mode=Mode.ENFORCE,
                match=Match(all=True),
                delete=DeleteRule(after=parse_duration("P1Y")),
                notify=Notify(to="owner", grace=parse_duration("P1M")),
            ),
        ),
        circumstances=Circumstances(),
    ),
    0.999999999,
    timedelta(),
)
def test_nothing_changes_before_evaluate_at(situation: Situation, share: float, ahead: timedelta) -> None:
    decision = situation.decide()
    later = _NOW + ahead
    if decision.evaluate_at and decision.outcome is not Outcome.DUE:
        assert decision.evaluate_at > _NOW
        later = min(
            _NOW + (decision.evaluate_at - _NOW) * share, decision.evaluate_at - timedelta(microseconds=1)
        )
    assert situation.decide(later).outcome is decision.outcome


@given(_SITUATIONS)
def test_something_changes_at_evaluate_at(situation: Situation) -> None:
    decision = situation.decide()
    orders_ahead = any(order.at > _NOW for order in situation.circumstances.erasures)
    if decision.evaluate_at and decision.outcome is not Outcome.DUE and not orders_ahead:
        assert situation.decide(decision.evaluate_at).outcome is not decision.outcome


@given(_SITUATIONS)
def test_a_deletion_needs_an_enforced_delete_rule_or_an_erasure(situation: Situation) -> None:
    decision = situation.decide()
    if decision.outcome is Outcome.DUE and decision.swept_by != "erasure":
        sweeping = next(policy for policy in situation.policies if policy.name == decision.swept_by)
        assert sweeping.delete is not None
        assert sweeping.mode is Mode.ENFORCE
