"""What the database plans from stored dates is what deciding each thread would plan."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, select, update

from tests.world.world import POLICIES, POLICY, World, project_document
from worker.flows import plan
from worker.flows import sweep as flow
from worker.flows.activate import recompute
from worker.flows.decide import schedule_of
from worker.flows.plan import plan_window
from worker.model.decision import ERASURE, Circumstances, Erasure, Hold, HoldScope, Outcome, TagSelector
from worker.model.ids import HoldId, ThreadId
from worker.model.thread import Account, Kind, Thread, ThreadState
from worker.model.work import ItemState, SweepState
from worker.policy.canonical import make_bundle
from worker.policy.document import (
    Basis,
    Bundle,
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
from worker.store import orders, protections, sweeps, threads
from worker.store.engine import Database, open_database
from worker.store.protections import StoredHold
from worker.store.sweeps import Sweep
from worker.store.tables import (
    erasure,
    erasure_thread,
    hold,
    notice,
    sweep,
    sweep_plan,
    thread,
    thread_tag,
    work_item,
)

STORED = datetime(2026, 11, 22, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STALE = "sha256:stale"
NAMES = ("a", "b", "c")

Lines = dict[str, datetime | None]
T = TypeVar("T")


def _mostly(usual: st.SearchStrategy[T], odd: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """One in six is odd; `one_of` would count a strategy that is named twice once."""
    return st.integers(0, 5).flatmap(lambda n: odd if n == 4 else usual)


_WHEN = st.builds(
    lambda days, seconds: STORED - timedelta(days=days, seconds=seconds),
    st.sampled_from([1, 7, 20, 29, 30, 31, 31, 60, 60, 400]),
    st.integers(-1, 1),
)
_AHEAD = st.sampled_from([STORED + 30 * timedelta(minutes=1), STORED + HOUR, STORED + 2 * HOUR])
_ANCIENT = st.just(datetime(2019, 12, 31, tzinfo=UTC))
_DATES = _mostly(_WHEN, st.one_of(_AHEAD, _ANCIENT))
_LENGTHS = st.sampled_from(["1h", "7d", "20d", "30d", "P1M"]).map(parse_duration)
_TAGGED = st.sampled_from(
    [
        TagSelector(key="keep", operator="Exists"),
        TagSelector(key="keep", operator="DoesNotExist"),
        TagSelector(key="env", operator="In", values=("prod", "test")),
        TagSelector(key="env", operator="NotIn", values=("prod",)),
    ]
)
_MATCHES = st.one_of(
    st.just(Match(all=True)),
    st.just(Match(projects=("support-*",))),
    st.just(Match(owners=("team-?",), kinds=(Kind.FILE,))),
    st.builds(lambda one: Match(tags=(one,)), _TAGGED),
)
_DELETES = st.builds(
    DeleteRule, after=_LENGTHS, since=st.sampled_from(Since), producer_ttl=st.sampled_from(ProducerTtl)
)
_RETAINS = st.builds(
    RetainRule,
    length=st.one_of(st.none(), _LENGTHS, _LENGTHS),
    since=st.sampled_from(Since),
    basis=st.sampled_from(Basis),
)


def _rules(name: str) -> st.SearchStrategy[Policy]:
    return st.builds(
        Policy,
        name=st.just(name),
        owner=st.just("tests"),
        match=_MATCHES,
        except_=st.one_of(st.none(), st.none(), st.just(Match(owners=("*-legal",)))),
        mode=st.sampled_from([Mode.ENFORCE] * 5 + [Mode.AUDIT]),
        tier=st.sampled_from([Tier.SPECIFIC, Tier.SPECIFIC, Tier.DEFAULT]),
        delete=_mostly(_DELETES, st.none()),
        retain=_mostly(st.none(), _RETAINS),
        notify=_mostly(st.none(), st.builds(Notify, to=st.just("owner"), grace=_LENGTHS)),
    )


_BUNDLES = st.tuples(*(_rules(name) for name in NAMES)).map(lambda rules: make_bundle(rules, (), None))
_GLOBS = st.sampled_from(["team-a", "team-?", "*-legal", "*"])
_NAMED = st.lists(
    st.sampled_from([f"thr_{n:04d}" for n in range(20)] + [f"file-{n}" for n in range(20)]),
    min_size=1,
    max_size=12,
).map(tuple)
_NARROW = st.builds(
    HoldScope,
    ids=st.one_of(st.just(()), _NAMED),
    owners=st.lists(_GLOBS, min_size=1, max_size=2).map(tuple),
    projects=st.lists(st.sampled_from(["support-eu", "s*"]), max_size=1).map(tuple),
    tags=st.lists(_TAGGED, max_size=1).map(tuple),
)
_SCOPES = st.one_of(
    st.builds(HoldScope, ids=_NAMED),
    _NARROW,
    st.builds(HoldScope, tags=st.lists(_TAGGED, min_size=1, max_size=2).map(tuple)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A thread, what was ordered and told of it, and how its row came to stand."""

    thread: Thread
    erased_at: datetime | None
    noticed: tuple[datetime, datetime | None] | None
    open_item: bool
    stale: bool


def _row(number: int) -> st.SearchStrategy[Row]:
    made = st.builds(
        Thread,
        id=st.just(ThreadId(f"thr_{number:04d}")),
        kind=st.sampled_from([Kind.FILE, Kind.FILE, Kind.CONVERSATION]),
        external_id=st.just(f"file-{number}"),
        project=st.sampled_from(["support-eu", "sales"]),
        owner=st.sampled_from(["team-a", "team-b", "team-legal"]),
        registered_at=_WHEN,
        tags=st.sampled_from([{}, {"keep": "true"}, {"env": "prod"}, {"env": "test"}]),
        ttl=st.sampled_from([None, None, "P7D", "P1M"]),
        created_at=_mostly(_DATES, st.none()),
        last_activity_at=_mostly(st.none(), _DATES),
        state=st.sampled_from([ThreadState.LIVE] * 9 + [ThreadState.DELETED]),
        account=st.just(Account(provider="openai", base_url="http://127.0.0.1/v1")),
    )
    rarely = st.sampled_from([False] * 5 + [True])
    return st.builds(
        Row,
        thread=made,
        erased_at=_mostly(st.none(), st.one_of(_WHEN, _AHEAD)),
        noticed=st.one_of(st.none(), st.tuples(_WHEN, st.one_of(st.none(), _WHEN))),
        open_item=rarely,
        stale=rarely,
    )


_REGISTRIES = st.integers(4, 10).flatmap(lambda count: st.tuples(*(_row(n) for n in range(count))))
_LATER = st.sampled_from([timedelta(), -HOUR, 90 * timedelta(minutes=1), 3 * HOUR, 5 * DAY, 30 * DAY])


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.dispose()


@pytest.fixture(autouse=True)
def _in_small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "AT_ONCE", 3)
    monkeypatch.setattr(plan, "ONE_BY_ONE", 2)


def _begin(db: Connection, policy: str, bundle: str, number: int = 0) -> Sweep:
    made = Sweep(
        id=f"swp_{policy}_{number}",
        policy=policy,
        slot=f"manual:{policy}:{number}",
        state=SweepState.PLANNING,
        bundle=bundle,
        dry_run=True,
        planned=0,
        begun_at=STORED,
        ordered_by="test",
    )
    assert sweeps.begin(db, made)
    return made


def _store(db: Connection, rows: Sequence[Row], holds: Sequence[HoldScope], bundle: Bundle) -> None:
    for table in (work_item, sweep_plan, sweep, erasure_thread, erasure, notice, hold, thread_tag, thread):
        db.execute(table.delete())
    other = _begin(db, "other", bundle.digest)
    for number, scope in enumerate(holds):
        placed = Hold(id=HoldId(f"hld_{number}"), matter=f"case-{number}", scope=scope)
        protections.add_hold(
            db, StoredHold(hold=placed, reason="r", placed_at=STORED, placed_by="test", answer={})
        )
    for number, row in enumerate(rows):
        threads.add(db, row.thread, threads.Schedule(evaluate_at=None, due_policy=None, under=""))
        if row.erased_at is not None and row.thread.registered_at <= row.erased_at:
            _erase(db, row.thread, row.erased_at, number)
        if row.noticed is not None:
            at, promised = row.noticed
            db.execute(insert(notice).values(thread_id=row.thread.id, at=at, promised=promised))
        if row.open_item:
            _work_on(db, row.thread, other, number)
    _date(db, rows, bundle)


def _erase(db: Connection, one: Thread, at: datetime, number: int) -> None:
    orders.add(
        db,
        Erasure(at=at, ids=(one.id,)),
        erasure_id=f"era_{number}",
        reason="r",
        deadline=at + timedelta(days=30),
        ordered_at=at,
        ordered_by="test",
        threads=[one.id],
    )


def _work_on(db: Connection, one: Thread, under: Sweep, number: int) -> None:
    db.execute(
        insert(work_item).values(
            id=f"itm_{number}",
            sweep_id=under.id,
            thread_id=one.id,
            policy=under.policy,
            project=one.project,
            kind=one.kind.value,
            credential="c",
            state=ItemState.WAITING.value,
            next_at=STORED,
            fence=0,
            attempts=0,
            reads=0,
            rereads=0,
            rounds=0,
        )
    )


def _date(db: Connection, rows: Sequence[Row], bundle: Bundle) -> None:
    """Store the dates as a recompute at STORED would; a stale row has one that may be wrong altogether."""
    bearing = protections.circumstances(db, [row.thread.id for row in rows], with_holds=False)
    dates = {
        row.thread.id: schedule_of(row.thread, bundle=bundle, circumstances=bearing, now=STORED)
        for row in rows
        if row.thread.state is ThreadState.LIVE
    }
    wrong = {
        row.thread.id: threads.Schedule(evaluate_at=STORED - DAY, due_policy=NAMES[0], under=STALE)
        for row in rows
        if row.stale
    }
    threads.reschedule(db, {**dates, **wrong})


def _one_by_one(db: Connection, policy: str, bundle: Bundle, now: datetime) -> Lines:
    """Decide every thread whose stored date has come in this sweep, all of them, in full."""
    found = [one.thread for one in threads.candidates(db, policy=policy, now=now, after="", limit=100)]
    bearing: Circumstances = protections.circumstances(db, [one.id for one in found])
    decided = {one.id: decide(one, bundle=bundle, circumstances=bearing, now=now) for one in found}
    return {
        id_: one.eligible_at
        for id_, one in decided.items()
        if one.outcome is Outcome.DUE and one.swept_by == policy
    }


def _planned(db: Connection, policy: str, bundle: Bundle, now: datetime, number: int = 0) -> Lines:
    one = _begin(db, policy, bundle.digest, number)
    for _ in range(50):
        current = sweeps.get(db, one.id)
        assert current is not None
        if not plan_window(db, current, bundle, now=now):
            break
    lines = select(sweep_plan).where(sweep_plan.c.sweep_id == one.id)
    return {line.thread_id: line.eligible_at for line in db.execute(lines)}


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bundle=_BUNDLES, rows=_REGISTRIES, holds=st.lists(_SCOPES, max_size=3), later=_LATER)
def test_a_plan_from_stored_dates_is_the_plan_of_deciding_each_thread(
    database: Database,
    bundle: Bundle,
    rows: tuple[Row, ...],
    holds: list[HoldScope],
    later: timedelta,
) -> None:
    now = STORED + later
    with database.write() as db:
        _store(db, rows, holds, bundle)
        for policy in (*NAMES, ERASURE):
            wanted = _one_by_one(db, policy, bundle, now)
            assert _planned(db, policy, bundle, now) == wanted
            # What was not due any more got its new date, so that planning again changes nothing.
            assert _planned(db, policy, bundle, now, 1) == wanted
            if wanted:
                event(f"due in {'erasure' if policy == ERASURE else 'a policy'}: {min(3, len(wanted))}")


def _refuse(*_: object, **__: object) -> None:
    msg = "decided one by one"
    raise AssertionError(msg)


def test_what_stored_dates_decide_is_planned_without_deciding_it_one_by_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = [world.register(kind=Kind.FILE) for _ in range(7)]
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.hold(HoldScope(ids=(due[0].thread.id,)))
    world.hold(HoldScope(ids=(due[1].thread.external_id, "file-nobody")), matter="case-8")
    monkeypatch.setattr(plan, "decide", _refuse)
    made = world.sweep()
    with world.database.read() as db:
        ids = sweeps.plan_ids(db, made.id)
    assert ids == sorted(one.thread.id for one in due[2:])
    assert made.plan_digest == _digest(made, ids)


def _digest(made: Sweep, ids: Sequence[str]) -> str:
    listed = "\n".join([made.policy, made.bundle, *ids]) + "\n"
    return "sha256:" + hashlib.sha256(listed.encode()).hexdigest()


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_the_digest_of_a_plan_is_the_same_however_it_is_paged(
    world: World, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(plan, "_IDS", 2)
    due = [world.register(kind=Kind.FILE) for _ in range(count)]
    made = world.sweep()
    assert made.planned == count
    assert made.plan_digest == _digest(made, sorted(one.thread.id for one in due))


def test_threads_of_one_instant_are_planned_once_each(world: World) -> None:
    due = [world.register(kind=Kind.FILE) for _ in range(8)]
    with world.database.write() as db:
        db.execute(update(thread).values(evaluate_at=world.clock.now() - DAY))
    made = world.sweep()
    assert made.planned == len(due)


def _stop_after(monkeypatch: pytest.MonkeyPatch, windows: int) -> None:
    """Let planning end as in a crash, once that many windows are committed."""
    planned = plan.plan_window
    calls: list[int] = []

    def crash(*given: Any, **named: Any) -> bool:
        calls.append(1)
        if len(calls) > windows:
            message = "the process ended here"
            raise SystemError(message)
        return planned(*given, **named)

    monkeypatch.setattr(flow, "plan_window", crash)


def _crashed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        _stop_after(patched, 1)
        with pytest.raises(SystemError):
            world.sweep()
    world.clock.move(timedelta(minutes=3))


def _resume(world: World) -> Sweep:
    flow.resume(world.database, actor="test tenure/0", clock=world.clock, older_than=timedelta(minutes=2))
    with world.database.read() as db:
        [only] = sweeps.page(db, limit=5)
    return only


def test_a_sweep_that_crashed_while_planning_is_carried_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = [world.register(kind=Kind.FILE) for _ in range(5)]
    _crashed(world, monkeypatch)
    carried = _resume(world)
    assert (carried.state, carried.planned, carried.released) == (SweepState.RELEASED, 5, 5)
    assert {world.item(one).state for one in due} == {ItemState.PLANNED}


def test_a_thread_whose_date_moves_on_while_it_is_planned_is_planned_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = [world.register(kind=Kind.FILE) for _ in range(5)]
    _crashed(world, monkeypatch)
    with world.database.write() as db:
        db.execute(update(thread).values(evaluate_at=world.clock.now()))
    carried = _resume(world)
    assert (carried.planned, carried.released) == (len(due), len(due))
    assert carried.plan_digest == _digest(carried, sorted(one.thread.id for one in due))


def test_policies_that_change_while_a_sweep_plans_make_it_plan_anew_once_they_are_recomputed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "_PAGE", 2)
    kept = [world.register(kind=Kind.FILE) for _ in range(4)]
    due = world.register(kind=Kind.FILE, age=70 * DAY)
    _crashed(world, monkeypatch)
    world.look_at(POLICIES.replace("after: 30d", "after: 60d") + project_document(world.sandbox.base_url))
    assert _resume(world).state is SweepState.PLANNING
    recompute(world.database, clock=world.clock)
    carried = _resume(world)
    assert (carried.state, carried.planned) == (SweepState.RELEASED, 1)
    assert carried.bundle == world.bundle.digest
    world.drain()
    assert [world.exists(one) for one in (*kept, due)] == [True] * 4 + [False]


def test_a_thread_whose_date_stands_under_an_older_bundle_is_decided_anew(world: World) -> None:
    young = world.register(kind=Kind.FILE, age=3 * DAY)
    wrong = {"evaluate_at": world.clock.now() - DAY, "due_policy": POLICY, "evaluated_under": STALE}
    with world.database.write() as db:
        db.execute(update(thread).values(wrong))
    assert world.sweep().planned == 0
    moved = world.thread(young)
    assert moved.evaluate_at == young.evaluate_at


def test_more_holds_than_fit_one_statement_hold_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.store.due._MOST_SCOPES", 3)
    held = [world.register(kind=Kind.FILE, owner=f"team-{n}") for n in range(3)]
    free = world.register(kind=Kind.FILE, owner="others")
    for number in range(3):
        world.hold(HoldScope(owners=(f"team-{number}",)), matter=f"case-{number}")
    made = world.sweep()
    with world.database.read() as db:
        assert sweeps.plan_ids(db, made.id) == [free.thread.id]
    assert len(held) == 3
