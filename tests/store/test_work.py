"""Who may work on an item: one claimer at a time, and nobody whose fence is old."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from worker.model.evidence import Children, Class
from worker.model.ids import ThreadId, new_id
from worker.model.thread import Account, Kind, Thread, ThreadState
from worker.model.work import ItemState, Lease, Stage, SweepState, WorkItem
from worker.store import attempts, intents, protections, siblings, stops, sweeps, threads, work
from worker.store.engine import Database
from worker.store.sweeps import Planned, Sweep
from worker.store.tables import work_item
from worker.store.threads import Schedule

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LEASE = Lease(length=timedelta(seconds=60))
CREDENTIAL = "credential"


def thread(number: int) -> Thread:
    return Thread(
        id=ThreadId(f"thr_{number:04d}"),
        kind=Kind.FILE,
        external_id=f"file-{number}",
        project="demo",
        owner="team",
        registered_at=NOW,
        account=Account(provider="openai", base_url="http://127.0.0.1/v1"),
    )


def planned(database: Database, count: int, *, begin: int = 0, project: str = "demo") -> Sweep:
    """Store threads and a released sweep of them."""
    made = Sweep(
        id=new_id("swp", NOW),
        policy="all",
        slot=f"manual:{begin}",
        state=SweepState.RELEASING,
        bundle="sha256:0",
        dry_run=False,
        planned=count,
        begun_at=NOW,
        ordered_by="test",
    )
    ids = [f"thr_{number:04d}" for number in range(begin, begin + count)]
    with database.write() as db:
        for number in range(begin, begin + count):
            one = replace(thread(number), project=project)
            threads.add(db, one, Schedule(evaluate_at=NOW, due_policy="all", under="sha256:0"))
        sweeps.begin(db, made)
        sweeps.add_plan(db, made.id, [Planned(thread_id=one, eligible_at=NOW) for one in ids])
        sweeps.release(db, made, ids, credentials={project: CREDENTIAL}, now=NOW)
    return made


@pytest.fixture(autouse=True)
def _leases_run_on_the_given_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is an argument here, on PostgreSQL too."""
    monkeypatch.setattr(work, "lease_clock", lambda _, now: now)


def claim(database: Database, limit: int = 10, *, now: datetime = NOW) -> list[WorkItem]:
    with database.write() as db:
        items, _ = work.claim(db, credential=CREDENTIAL, limit=limit, lease=LEASE, by="w", now=now)
    return items


def settle(database: Database, item: WorkItem, state: ItemState = ItemState.DONE) -> bool:
    with database.write() as db:
        return work.settle(db, item, state, now=NOW)


def arm(database: Database, item: WorkItem, stage: Stage = Stage.CONTAINER) -> None:
    with database.write() as db:
        known = attempts.armed_before(db, [item.thread_id]).keys
        intents.arm(db, [armed(item, stage)], known)


def armed(item: WorkItem, stage: Stage) -> intents.Armed:
    return intents.Armed(
        item_id=item.id,
        fence=item.fence,
        stage=stage,
        thread_id=item.thread_id,
        project=item.project,
        armed_at=NOW,
        bundle="sha256:0",
        before=Class.PRESENT,
        before_observation={"class": "present"},
        children=Children.NONE,
        children_found=0,
    )


def answer(database: Database, item: WorkItem, seen: Class = Class.ACKNOWLEDGED) -> Sequence[intents.Answer]:
    given = intents.Answer(
        item_id=item.id, fence=item.fence, stage=Stage.CONTAINER, seen=seen, observation=None
    )
    with database.write() as db:
        return intents.answer(db, [given], NOW)


def test_claimers_at_once_get_disjoint_items(database: Database) -> None:
    planned(database, 40)
    together = Barrier(4)

    def one(_: int) -> list[str]:
        together.wait(10)
        return [item.id for item in claim(database, 10)]

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(one, range(4)))
    flat = [item for each in taken for item in each]
    assert len(flat) == len(set(flat))
    rest = [item.id for item in claim(database, 100)]
    assert len(set(flat) | set(rest)) == 40


def test_leases_that_are_ended_are_free_at_once_even_if_a_clock_ahead_gave_them(database: Database) -> None:
    planned(database, 2)
    ahead = claim(database, 1, now=NOW + timedelta(days=400))
    [rightly] = claim(database, 1)
    assert claim(database) == []
    with database.write() as db:
        assert work.end_leases(db, NOW) == 2
    taken = claim(database, now=NOW + timedelta(seconds=1))
    assert {item.id for item in taken} == {ahead[0].id, rightly.id}
    assert not settle(database, rightly)


def test_a_claimed_item_is_nobody_elses_until_its_lease_is_over(database: Database) -> None:
    planned(database, 3)
    first = claim(database)
    assert [item.fence for item in first] == [1, 1, 1]
    assert claim(database, now=NOW + LEASE.length) == []
    second = claim(database, now=NOW + LEASE.length + timedelta(seconds=1))
    assert {item.id for item in second} == {item.id for item in first}
    assert [item.fence for item in second] == [2, 2, 2]


def test_new_waiting_and_abandoned_items_are_claimed_by_one_statement(database: Database) -> None:
    planned(database, 3)
    abandoned, waiting = claim(database, 2)
    with database.write() as db:
        work.settle(db, waiting, ItemState.WAITING, now=NOW, next_at=NOW + timedelta(seconds=30))
    later = NOW + LEASE.length + timedelta(seconds=1)
    taken = claim(database, now=later)
    assert len(taken) == 3
    assert {abandoned.id, waiting.id} < {item.id for item in taken}


def test_an_item_that_waits_is_not_claimed_before_its_time(database: Database) -> None:
    planned(database, 1)
    [item] = claim(database)
    with database.write() as db:
        work.settle(db, item, ItemState.WAITING, now=NOW, next_at=NOW + timedelta(seconds=30))
    assert claim(database, now=NOW + timedelta(seconds=29)) == []
    assert len(claim(database, now=NOW + timedelta(seconds=30))) == 1


def test_an_old_fence_moves_nothing(database: Database) -> None:
    planned(database, 1)
    [old] = claim(database)
    [new] = claim(database, now=NOW + timedelta(hours=1))
    assert settle(database, old) is False
    with database.write() as db:
        assert work.locked(db, [old]) == set()
        assert work.locked(db, [new]) == {new.id}
    assert settle(database, new) is True
    assert settle(database, new) is False


def test_an_answer_with_an_old_fence_is_late_and_is_not_recorded(database: Database) -> None:
    planned(database, 1)
    [old] = claim(database)
    arm(database, old)
    [new] = claim(database, now=NOW + timedelta(hours=1))
    assert [one.item_id for one in answer(database, old)] == [old.id]
    with database.read() as db:
        [earlier] = work.earlier_attempts(db, [new])[new.thread_id]
    assert earlier.tried.saw.answer is Class.NONE


def test_armed_anew_it_is_the_same_attempt_without_an_answer(database: Database) -> None:
    planned(database, 1)
    [item] = claim(database)
    arm(database, item)
    assert answer(database, item, Class.UNSENT) == []
    arm(database, item)
    with database.read() as db:
        [found] = attempts.attempts_named(db, attempts.unsettled_keys(db, [item.thread_id]))
        assert db.execute(select(work_item.c.attempts)).scalar_one() == 1
    assert found.answer is None


def test_the_stage_of_the_children_is_no_attempt_at_the_thread(database: Database) -> None:
    planned(database, 1)
    [old] = claim(database)
    arm(database, old, Stage.CHILDREN)
    [new] = claim(database, now=NOW + timedelta(hours=1))
    assert new.attempts == 0
    with database.read() as db:
        assert work.earlier_attempts(db, [new]) == {}
        assert len(attempts.unsettled_keys(db, [new.thread_id])) == 1


def test_a_thread_has_one_open_item_whatever_two_sweeps_plan(database: Database) -> None:
    planned(database, 1)
    row = {
        "id": "itm_2",
        "thread_id": "thr_0000",
        "policy": "all",
        "project": "demo",
        "kind": "file",
        "credential": CREDENTIAL,
        "state": ItemState.PLANNED.value,
        "next_at": NOW,
        "fence": 0,
        "attempts": 0,
        "reads": 0,
        "rereads": 0,
        "rounds": 0,
    }
    with database.read() as db:
        [sweep_id] = db.execute(select(work_item.c.sweep_id)).scalars()
    with pytest.raises(IntegrityError), database.write() as db:
        db.execute(insert(work_item).values(sweep_id=sweep_id, **row))
    [item] = claim(database)
    settle(database, item)
    with database.write() as db:
        db.execute(insert(work_item).values(sweep_id=sweep_id, **row))


def test_paused_and_stopped_work_is_left_where_it_is(database: Database) -> None:
    planned(database, 1)
    with database.write() as db:
        protections.ensure_rows(db, ["demo"])
        protections.set_pause(db, "demo", paused_at=NOW, by="test", reason="incident")
        assert work.credentials_ready(db, NOW) == []
    assert claim(database) == []
    with database.write() as db:
        protections.set_pause(db, "demo", paused_at=None, by="test", reason="over")
        stopped = {"project": "demo", "kind": "file", "reason": "control", "now": NOW}
        assert stops.stop_pair(db, probe_at=NOW + timedelta(minutes=1), **stopped)  # type: ignore[arg-type]
        assert not stops.stop_pair(db, probe_at=NOW + timedelta(minutes=1), **stopped)  # type: ignore[arg-type]
    assert claim(database) == []
    assert len(claim(database, now=NOW + timedelta(minutes=1))) == 1


def test_a_claim_takes_no_item_of_another_credential(database: Database) -> None:
    planned(database, 2)
    with database.write() as db:
        items, _ = work.claim(db, credential="other", limit=9, lease=LEASE, by="w", now=NOW)
    assert items == []


def test_releasing_a_page_twice_makes_no_second_item_and_none_for_what_has_ended(database: Database) -> None:
    made = planned(database, 2)
    ids = ["thr_0000", "thr_0001"]
    with database.write() as db:
        assert sweeps.release(db, made, ids, credentials={"demo": CREDENTIAL}, now=NOW) == 0
    for item in claim(database):
        settle(database, item)
    with database.write() as db:
        threads.set_state(db, "thr_0000", ThreadState.DELETED)
        assert sweeps.release(db, made, ids, credentials={"demo": CREDENTIAL}, now=NOW) == 1


def take_turns(database: Database, limit: int, turns: Sequence[str]) -> Counter[str]:
    with database.write() as db:
        items, _ = work.claim(
            db, credential=CREDENTIAL, limit=limit, lease=LEASE, by="w", now=NOW, turns=turns
        )
    assert len({item.id for item in items}) == len(items)
    return Counter(item.project for item in items)


def test_projects_on_one_credential_take_equal_parts_of_a_batch(database: Database) -> None:
    planned(database, 40, project="large")
    planned(database, 6, begin=40, project="small")
    turns = ("large", "small")
    assert take_turns(database, 10, turns) == {"large": 5, "small": 5}
    assert take_turns(database, 10, turns) == {"large": 9, "small": 1}, "what one leaves the other takes"
    assert take_turns(database, 10, turns) == {"large": 10}


def test_a_batch_that_is_smaller_than_the_projects_are_many_goes_by_turns(database: Database) -> None:
    for number, name in enumerate(("a", "b", "c")):
        planned(database, 3, begin=3 * number, project=name)
    assert take_turns(database, 1, ("c", "a", "b")) == {"c": 1}
    assert take_turns(database, 2, ("b", "c", "a")) == {"b": 1, "c": 1}


def test_items_whose_project_takes_no_turns_are_claimed_with_what_is_left(database: Database) -> None:
    planned(database, 2, project="gone")
    planned(database, 2, begin=2, project="a")
    assert take_turns(database, 10, ("a", "b")) == {"a": 2, "gone": 2}


def test_no_sibling_is_on_its_way_out_and_a_claimed_one_is_the_last_resort(database: Database) -> None:
    planned(database, 4)
    of = replace(thread(9), project="demo")

    def found() -> list[str]:
        with database.read() as db:
            return sorted(one.id for one in siblings.find(db, of, exclude=[], limit=9))

    def expected(item: WorkItem) -> bool:
        with database.read() as db:
            return siblings.is_expected(db, item.thread_id)

    first, second = claim(database, 2)
    claimed = {first.thread_id, second.thread_id}
    everyone = {f"thr_{number:04d}" for number in range(4)}
    assert set(found()) == everyone - claimed
    claim(database, 2)
    assert set(found()) == everyone
    assert expected(first)
    arm(database, first)
    assert first.thread_id not in found(), "its DELETE may have left"
    assert not expected(first)
    settle(database, first, ItemState.WAITING)
    assert first.thread_id not in found(), "nobody has settled what became of it"
    assert not expected(first)
    assert second.thread_id in found()
    assert expected(second)


@pytest.mark.parametrize(
    ("stage", "seen", "expected"),
    [
        (Stage.CONTAINER, None, False),
        (Stage.CONTAINER, Class.ACKNOWLEDGED, False),
        (Stage.CONTAINER, Class.LOST, False),
        (Stage.CONTAINER, Class.UNSENT, True),
        (Stage.CONTAINER, Class.DENIED, True),
        (Stage.CHILDREN, None, True),
    ],
)
def test_a_thread_is_expected_as_long_as_no_delete_of_its_own_may_have_worked(
    database: Database, stage: Stage, seen: Class | None, *, expected: bool
) -> None:
    planned(database, 1)
    [item] = claim(database, 1)
    arm(database, item, stage)
    if seen is not None:
        answer(database, item, seen)
    settle(database, item, ItemState.PARKED)
    with database.write() as db:
        threads.set_state(db, item.thread_id, ThreadState.PARKED)
    with database.read() as db:
        assert siblings.is_expected(db, item.thread_id) is expected


def test_more_attempts_can_be_looked_for_than_a_statement_has_parameters(database: Database) -> None:
    with database.read() as db:
        assert attempts.attempts_named(db, {(f"itm_{n}", 1, "container") for n in range(70_000)}) == []


def test_what_was_armed_before_is_told_per_attempt_and_the_newest_per_thread(database: Database) -> None:
    planned(database, 2)
    items = claim(database)
    later = NOW + timedelta(seconds=5)
    with database.write() as db:
        first = [armed(items[0], Stage.CONTAINER), armed(items[1], Stage.CHILDREN)]
        intents.arm(db, [replace(first[0], armed_at=later), first[1]], frozenset())
    arm(database, items[0], Stage.CHILDREN)
    with database.read() as db:
        found = attempts.armed_before(db, [one.thread_id for one in items])
    assert found.keys == {
        (items[0].id, 1, "container"),
        (items[0].id, 1, "children"),
        (items[1].id, 1, "children"),
    }
    assert found.last == {items[0].thread_id: later, items[1].thread_id: NOW}
