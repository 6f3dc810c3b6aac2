"""One meaning, two engines: the compiled decision says of every thread what the function says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from tests.world.precedence import NOW as VECTORS_NOW
from tests.world.precedence import VECTORS, circumstances_of, instant_of, name_of, thread_of, whole_bundle
from tests.world.situations import (
    LAST,
    MATCHES,
    NOW,
    POLICIES,
    RETAINS,
    SITUATIONS,
    TTLS,
    WHEN,
    Case,
    Situation,
    bearing_on,
    store,
    undone,
)
from worker.flows.decide import schedule_of
from worker.model.decision import (
    Hold,
    HoldScope,
    Outcome,
    TagSelector,
)
from worker.model.ids import HoldId, ThreadId
from worker.model.thread import Kind, Thread, ThreadState
from worker.policy.canonical import make_bundle
from worker.policy.document import (
    DeleteRule,
    Match,
    Mode,
    Notify,
    Policy,
    RetainRule,
    Since,
    Tier,
)
from worker.policy.durations import parse_duration
from worker.store.engine import Database
from worker.store.schedules import Rescheduler
from worker.store.tables import thread


def _examples(number: int) -> settings:
    return settings(max_examples=number, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_examples(100)
@given(SITUATIONS)
def test_the_statement_says_what_the_function_says(database: Database, situation: Situation) -> None:
    with undone(database) as db:
        store(db, situation.cases)
        assert situation.statement(db) == situation.function()


@_examples(25)
@given(SITUATIONS)
def test_the_dates_that_are_stored_are_those_of_the_schedule(
    database: Database, situation: Situation
) -> None:
    cases, bundle, now = situation.cases, situation.bundle, situation.now
    with undone(database) as db:
        store(db, cases)
        rescheduler = Rescheduler(bundle)
        chunk, chunks = rescheduler.chunk(db, after="", limit=7, now=now), 0
        while chunk is not None:
            rescheduler.write(db, chunk, now=now)
            chunks += 1
            chunk = rescheduler.chunk(db, after=chunk.upto, limit=7, now=now)
        columns = (thread.c.id, thread.c.evaluate_at, thread.c.due_policy, thread.c.evaluated_under)
        found = {row[0]: tuple(row)[1:] for row in db.execute(select(*columns))}
    live = [case for case in cases if case.thread.state is ThreadState.LIVE]
    assert chunks == -(-len(live) // 7)
    wanted: dict[str, Any] = {case.thread.id: (None, None, None) for case in cases}
    for case in live:
        due = schedule_of(case.thread, bundle=bundle, circumstances=bearing_on(case, ()), now=now)
        wanted[case.thread.id] = (due.evaluate_at, due.due_policy, due.under)
    assert found == wanted


_ADDED = st.builds(
    Policy,
    name=st.just("added"),
    owner=st.just("tests"),
    match=MATCHES,
    mode=st.just(Mode.ENFORCE),
    retain=RETAINS,
)
_IDLE = st.tuples(POLICIES, st.sampled_from([Mode.AUDIT, Mode.DISABLED])).map(
    lambda one: replace(one[0], name="a-first", mode=one[1])
)


def _due(told: Mapping[str, Any]) -> set[str]:
    return {id_ for id_, one in told.items() if one[0] == Outcome.DUE}


def _promised(situation: Situation, thread_id: str) -> list[datetime]:
    """Return the dates that a thread's notices promised."""
    notices = [told for case in situation.cases if case.thread.id == thread_id for told in case.notices]
    return [promised for _, promised in notices if promised is not None]


@_examples(25)
@given(SITUATIONS, _ADDED, _IDLE)
def test_order_idle_rules_and_more_protection_make_nothing_due(
    database: Database, situation: Situation, added: Policy, idle: Policy
) -> None:
    bundle, holds = situation.bundle, situation.holds
    turned = replace(bundle, policies=(idle, *reversed(bundle.policies)))
    kept = replace(bundle, policies=(*bundle.policies, added))
    with undone(database) as db:
        store(db, situation.cases)
        told = situation.statement(db)
        assert replace(situation, bundle=turned, holds=holds[::-1]).statement(db) == told
        retained = replace(situation, bundle=kept).statement(db)
        free = replace(situation, holds=()).statement(db)
    # Total: every thread has an answer, and it is one of the outcomes.
    assert set(told) == {case.thread.id for case in situation.cases}
    assert {one[0] for one in told.values()} <= set(Outcome)
    assert _due(told) <= _due(free)
    for id_ in _due(retained) - _due(told):
        # A notice that promised a later date than the thread's own counts again once its date is that late.
        assert any(promised <= retained[id_][3] for promised in _promised(situation, id_))


def test_the_52_cases_of_precedence_have_their_answers(database: Database) -> None:
    whole, wanted, found = whole_bundle(), {}, {}
    for case in VECTORS["cases"]:
        one, expect = thread_of(case["thread"]), case["expect"]
        bearing = circumstances_of(case, one)
        stored = Case(
            thread=one,
            orders=tuple(order.at for order in bearing.erasures),
            notices=tuple((told.at, told.promised) for told in bearing.notices.get(one.id, ())),
        )
        bundle = replace(whole, policies=tuple(whole.policy(name) for name in case["policies"]))
        with undone(database) as db:
            store(db, [stored])
            situation = Situation(bundle=bundle, cases=[stored], holds=bearing.holds, now=VECTORS_NOW)
            found[name_of(case)] = situation.statement(db)[one.id]
        wanted[name_of(case)] = (
            expect["outcome"],
            expect.get("decided_by"),
            instant_of(expect.get("eligible_at")),
        )
    assert len(wanted) == 52
    assert {name: (told[0], told[1], told[3]) for name, told in found.items()} == wanted


@_examples(60)
@given(
    st.lists(st.one_of(TTLS, st.text("PTYMWDHS0123456789hdw", max_size=12)), min_size=1, max_size=40), WHEN
)
def test_a_ttl_is_read_alike(database: Database, ttls: list[str], created_at: datetime) -> None:
    policy = Policy(
        name="p",
        owner="tests",
        mode=Mode.ENFORCE,
        match=Match(all=True),
        delete=DeleteRule(after=parse_duration("P100Y"), since=Since.REGISTERED_AT),
    )
    bundle = make_bundle((policy,), (), None)
    cases = [_plain(number, created_at, ttl=ttl) for number, ttl in enumerate(ttls)]
    with undone(database) as db:
        store(db, cases)
        situation = Situation(bundle=bundle, cases=cases, now=LAST)
        assert situation.statement(db) == situation.function()


def _plain(number: int, created_at: datetime, **parts: Any) -> Case:
    made = Thread(
        id=ThreadId(f"thr_{number:04}"),
        kind=Kind.CONVERSATION,
        external_id=f"x{number}",
        project="sales",
        owner="team-a",
        registered_at=created_at,
        created_at=created_at,
        **parts,
    )
    return Case(thread=made, orders=(), notices=())


def test_calendars_are_counted_in_utc_whatever_the_session_s_zone(database: Database) -> None:
    # New York's clocks change on 8 March and 1 November 2026.
    starts = [datetime(2026, month, day, 4, 30, tzinfo=UTC) for month in (1, 2, 10) for day in (1, 8, 28)]
    cases = [_plain(number, at) for number, at in enumerate([*starts, datetime(2026, 1, 31, 23, tzinfo=UTC)])]
    rules = [
        Policy(
            name=text,
            owner="tests",
            mode=Mode.ENFORCE,
            match=Match(all=True),
            delete=DeleteRule(after=parse_duration(text)),
            notify=Notify(to="owner", grace=parse_duration("P1MT3H")),
        )
        for text in ("P1M", "P1MT12H", "30d", "36h", "P2M")
    ]
    with undone(database) as db:
        if not database.is_sqlite:
            db.execute(text("SET LOCAL TIME ZONE 'America/New_York'"))
        store(db, cases)
        for rule in rules:
            situation = Situation(
                bundle=make_bundle((rule,), (), None), cases=cases, now=datetime(2026, 2, 1, 12, tzinfo=UTC)
            )
            assert situation.statement(db) == situation.function()


def test_a_bundle_of_many_policies_stays_within_what_a_statement_may_hold(database: Database) -> None:
    policies = [
        Policy(
            name=f"policy-{number:04}",
            owner="tests",
            mode=Mode.ENFORCE,
            match=Match(projects=(f"p{number}-*", "sal?s"), owners=("team-*", f"o{number}*x*")),
            except_=Match(tags=(TagSelector(key=f"k{number}", operator="Exists"),)),
            tier=Tier.DEFAULT if number % 2 else Tier.SPECIFIC,
            delete=DeleteRule(after=parse_duration(f"{number + 100}d"), since=list(Since)[number % 3]),
            retain=RetainRule(length=parse_duration(f"P{number % 90 + 1}M")) if number % 5 == 0 else None,
            notify=Notify(to="owner", grace=parse_duration(f"{number % 7 + 1}d"))
            if number % 3 == 0
            else None,
        )
        for number in range(500)
    ]
    holds = [
        Hold(id=HoldId(f"hld_{number}"), matter=f"m{number}", scope=HoldScope(owners=(f"z{number}-*",)))
        for number in range(300)
    ]
    bundle = make_bundle(policies, (), None)
    cases = [_plain(number, NOW - timedelta(days=40 * number)) for number in range(30)]
    with undone(database) as db:
        store(db, cases)
        situation = Situation(bundle=bundle, cases=cases, holds=holds)
        assert situation.statement(db) == situation.function()
