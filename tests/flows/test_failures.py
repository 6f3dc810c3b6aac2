"""What is parked is taken up again by a person, or accepted; nothing is forgotten or deleted blindly."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from tests.world.world import ACTOR, PROJECT, World
from worker.flows.accept import accept
from worker.flows.failures import Failure, fingerprint_of, list_failures
from worker.flows.retry import retry
from worker.model.decision import HoldScope
from worker.model.errors import NotFound
from worker.model.thread import Kind, ThreadState
from worker.store import failures
from worker.store.tables import attempt
from worker.store.threads import StoredThread

DAY = timedelta(days=1)
WHY = "RET-204: the provider mended it"


def parked(world: World, *, accepted: bool = False) -> list[Failure]:
    with world.database.read() as db:
        return list_failures(db, accepted=accepted)


def take_up(world: World, fingerprint: str) -> int:
    return retry(world.database, fingerprint, reason=WHY, actor=ACTOR, clock=world.clock)


def take_note(world: World, fingerprint: str) -> int:
    return accept(world.database, fingerprint, reason=WHY, actor=ACTOR, clock=world.clock)


def lied_to(world: World) -> StoredThread:
    """Return a thread whose DELETE was answered like a success, and that stayed."""
    world.register(kind=Kind.FILE, age=3 * DAY)
    due = world.register(kind=Kind.FILE)
    world.faults("lying-200@delete")
    world.sweep()
    for minutes in (0, 1, 10):
        world.clock.move(timedelta(minutes=minutes, seconds=1))
        world.drain()
    assert world.state(due) is ThreadState.PARKED
    world.faults()
    return due


def deletes(world: World, stored: StoredThread) -> int:
    return len(world.deletes(stored.thread.external_id))


def test_a_lie_that_was_mended_is_deleted_after_a_retry_and_only_then(world: World) -> None:
    due = lied_to(world)
    sent = deletes(world, due)
    (failure,) = parked(world)
    assert (failure.group.project, failure.group.kind, failure.group.threads) == (PROJECT, "file", 1)
    assert failure.fingerprint == fingerprint_of(PROJECT, "file", "still_present")
    assert take_up(world, failure.fingerprint) == 1
    assert parked(world) == []
    world.sweep()
    world.drain()
    assert world.grade(due) == "confirmed"
    assert deletes(world, due) == sent + 1
    assert not world.exists(due)


def test_what_was_armed_by_a_clock_that_ran_ahead_keeps_no_retry_back(world: World) -> None:
    due = lied_to(world)
    sent = deletes(world, due)
    with world.database.write() as db:
        db.execute(update(attempt).values(armed_at=world.clock.now() + timedelta(hours=1)))
    (failure,) = parked(world)
    assert take_up(world, failure.fingerprint) == 1
    world.sweep()
    world.drain()
    assert (world.grade(due), deletes(world, due)) == ("confirmed", sent + 1)


def test_a_thread_that_went_before_the_retry_gets_no_second_delete(
    world: World,
) -> None:
    due = lied_to(world)
    sent = deletes(world, due)
    world.vanish(due)
    take_up(world, parked(world)[0].fingerprint)
    world.sweep()
    world.drain()
    assert world.grade(due) == "confirmed"  # the DELETE of before was acknowledged
    assert deletes(world, due) == sent


def test_a_retry_deletes_nothing_that_is_on_hold(world: World) -> None:
    due = lied_to(world)
    world.hold(HoldScope(ids=(due.thread.id,)))
    take_up(world, parked(world)[0].fingerprint)
    world.sweep()
    world.drain()
    assert world.exists(due)
    assert world.state(due) is ThreadState.LIVE


def test_a_retry_dates_threads_by_the_bundle_that_is_in_force_by_now(world: World) -> None:
    due = lied_to(world)
    world.rules(
        """
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: later, owner: team}
spec:
  mode: enforce
  match: {all: true}
  delete: {after: 90d}
  guards: {max_deletes: 500, max_percent: 100, min_population: 1, window: 24h}
"""
    )
    take_up(world, parked(world)[0].fingerprint)
    found = world.thread(due)
    assert found.thread.created_at is not None
    assert (found.due_policy, found.evaluate_at) == ("later", found.thread.created_at + 90 * DAY)


def test_what_a_person_accepted_stays_parked_listed_apart_and_can_be_taken_up_later(world: World) -> None:
    due = lied_to(world)
    (failure,) = parked(world)
    assert take_note(world, failure.fingerprint) == 1
    assert parked(world) == []
    assert [one.fingerprint for one in parked(world, accepted=True)] == [failure.fingerprint]
    assert world.state(due) is ThreadState.PARKED
    assert world.exists(due)
    with pytest.raises(NotFound):
        take_note(world, failure.fingerprint)
    assert take_up(world, failure.fingerprint) == 1
    assert world.state(due) is ThreadState.LIVE
    assert parked(world, accepted=True) == []


def test_each_thread_has_an_entry_that_says_who_and_why(world: World) -> None:
    due = lied_to(world)
    take_up(world, parked(world)[0].fingerprint)
    told = world.entries("thread.retried", due)
    assert [(one["actor"], one["reason"]) for one in told] == [(ACTOR, WHY)]


def test_taking_note_has_an_entry_that_says_who_and_why(world: World) -> None:
    due = lied_to(world)
    take_note(world, parked(world)[0].fingerprint)
    told = world.entries("thread.accepted", due)
    assert [(one["actor"], one["reason"]) for one in told] == [(ACTOR, WHY)]


def test_a_fingerprint_is_the_same_whatever_the_ids_request_ids_and_times_were(world: World) -> None:
    world.register(kind=Kind.FILE, age=3 * DAY)
    first = world.register(kind=Kind.FILE)
    world.faults("error-500@get")
    world.sweep()
    for _ in range(9):
        world.drain()
        world.clock.move(timedelta(hours=1, minutes=1))
    second = world.register(kind=Kind.FILE)
    world.sweep()
    for _ in range(9):
        world.drain()
        world.clock.move(timedelta(hours=1, minutes=1))
    assert {world.state(one) for one in (first, second)} == {ThreadState.PARKED}
    (failure,) = parked(world)
    assert failure.group.threads == 2
    assert failure.fingerprint == fingerprint_of(PROJECT, "file", "unverifiable/provider_error")


def test_groups_are_told_apart_by_project_kind_and_reason_and_page_by_id(world: World) -> None:
    due = [lied_to(world).thread.id]
    (failure,) = parked(world)
    with world.database.read() as db:
        assert [one.thread.id for one in failures.page(db, failure.group, limit=5)] == due
        assert failures.page(db, failure.group, after=due[0], limit=5) == []
        assert failures.groups(db, projects=["elsewhere"]) == []
        assert failures.groups(db, projects=[]) == []


def test_an_unknown_fingerprint_says_where_to_look(world: World) -> None:
    with pytest.raises(NotFound, match="fingerprint"):
        take_up(world, "fp_0000000000000000")
