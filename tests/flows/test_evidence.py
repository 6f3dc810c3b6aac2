"""What the provider says is never believed further than it was seen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
import structlog

from tests.world.stepping import BeforeRead
from tests.world.world import POLICIES, POLICY, World
from worker.flows.dispose import FEW
from worker.model.evidence import Step
from worker.model.thread import Kind, ThreadState
from worker.model.work import ItemState
from worker.sandbox.faults import Fault, FaultRule
from worker.store import stops, threads
from worker.store.threads import Schedule, StoredThread

DAY = timedelta(days=1)
LATER = (timedelta(minutes=1, seconds=1), timedelta(minutes=10, seconds=1), timedelta(hours=1, seconds=1))


def due_with_sibling(world: World, kind: Kind = Kind.CONVERSATION) -> StoredThread:
    """Register one thread that is due, and a younger one of the same kind."""
    due = world.register(kind=kind)
    world.register(kind=kind, age=3 * DAY)
    return due


def run(world: World, *, hours: int = 0) -> None:
    """Sweep and drain, then let as many hours pass, draining at each."""
    world.sweep()
    world.drain()
    for _ in range(hours):
        world.clock.move(timedelta(hours=1, seconds=1))
        world.drain()


def nothing_was_called_deleted(world: World) -> bool:
    deleted = {"confirmed", "inferred", "sustained"}
    return not [one for one in world.entries("thread.graded") if one["grade"] in deleted]


@pytest.mark.parametrize("fault", ["endpoint-retired:thread", "endpoint-retired"])
def test_a_retired_endpoint_parks_every_thread_and_calls_none_deleted(world: World, fault: str) -> None:
    threads = [world.register(kind=Kind.THREAD) for _ in range(3)]
    world.register(kind=Kind.THREAD, age=3 * DAY)
    world.faults(fault)
    run(world, hours=2)
    assert {world.grade(one) for one in threads} == {"unverifiable/endpoint_retired"}
    assert {world.state(one) for one in threads} == {ThreadState.PARKED}
    assert nothing_was_called_deleted(world)
    assert not world.deletes()


@pytest.mark.parametrize("fault", ["refused-key", "forbidden"])
def test_a_key_that_is_refused_parks_the_thread_as_forbidden(world: World, fault: str) -> None:
    due = due_with_sibling(world)
    world.faults(fault)
    run(world)
    assert (world.grade(due), world.state(due)) == ("unverifiable/forbidden", ThreadState.PARKED)
    assert world.exists(due)
    assert not world.deletes()


def test_a_key_that_may_read_but_not_delete_loses_nothing_and_is_alerted(world: World) -> None:
    due = due_with_sibling(world, Kind.RESPONSE)
    world.faults("read-only-key")
    with structlog.testing.capture_logs() as told:
        run(world, hours=8)
    # It was read present after the refusal, which says more than the refusal does.
    assert (world.grade(due), world.state(due)) == ("still_present", ThreadState.PARKED)
    assert world.exists(due)
    assert nothing_was_called_deleted(world)
    refused = [one for one in world.entries("delete.answered") if "denied" in str(one)]
    assert refused
    assert [one for one in told if one["event"] == "alert.raised"]
    assert world.item(due).state == ItemState.PARKED


def test_a_key_of_another_project_makes_no_thread_absent(world: World) -> None:
    due, sibling = world.register(kind=Kind.THREAD), world.register(kind=Kind.THREAD, age=3 * DAY)
    # Such a key sees neither of them: the provider answers "no thread found" to both.
    world.vanish(due)
    world.vanish(sibling)
    run(world)
    assert (world.grade(due), world.state(due)) == ("unverifiable/control_failed", ThreadState.PARKED)
    assert nothing_was_called_deleted(world)


def test_a_thread_that_was_gone_at_first_sight_is_absent_when_a_sibling_is_there(world: World) -> None:
    due = due_with_sibling(world)
    world.vanish(due)
    run(world)
    assert (world.grade(due), world.state(due)) == ("absent", ThreadState.ABSENT)
    assert not world.deletes()


def test_a_thread_that_was_gone_at_first_sight_without_a_sibling_is_unverifiable(world: World) -> None:
    due = world.register()
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.vanish(due)
    run(world)
    assert (world.grade(due), world.state(due)) == ("unverifiable/control_failed", ThreadState.PARKED)


@pytest.mark.parametrize("fault", ["lost-reply*1", "error-after*1"])
def test_a_delete_whose_answer_did_not_come_is_inferred_and_never_sent_twice(
    world: World, fault: str
) -> None:
    due = due_with_sibling(world)
    world.faults(fault)
    run(world, hours=2)
    assert (world.grade(due), world.state(due)) == ("inferred", ThreadState.DELETED)
    assert len(world.deletes(due.thread.external_id)) == 1


def test_a_success_that_is_a_lie_is_read_again_twice_and_then_still_present(world: World) -> None:
    due = due_with_sibling(world)
    world.faults("lying-200")
    run(world)
    for number, wait in enumerate(LATER[:2]):
        assert (world.state(due), world.grade(due)) == (ThreadState.LIVE, None)
        item = world.item(due)
        assert (item.state, item.rereads) == (ItemState.WAITING, number + 1)
        world.drain()
        assert world.item(due).rereads == number + 1, "it was read again too early"
        world.clock.move(wait)
        world.drain()
    assert (world.grade(due), world.state(due)) == ("still_present", ThreadState.PARKED)
    assert len(world.deletes(due.thread.external_id)) == 1
    assert world.exists(due)


def test_a_lie_that_comes_true_at_the_second_look_is_confirmed(world: World) -> None:
    due = due_with_sibling(world)
    world.faults("lying-200")
    run(world)
    world.vanish(due)
    world.clock.move(LATER[0])
    world.drain()
    assert (world.grade(due), world.state(due)) == ("confirmed", ThreadState.DELETED)
    assert len(world.deletes(due.thread.external_id)) == 1


def test_deletes_that_say_false_are_tried_five_times_and_then_still_present(world: World) -> None:
    due = due_with_sibling(world)
    world.faults("deleted-false")
    run(world, hours=8)
    assert (world.grade(due), world.state(due)) == ("still_present", ThreadState.PARKED)
    assert len(world.deletes(due.thread.external_id)) == 5
    assert world.exists(due)


@pytest.mark.parametrize("fault", ["lost-request@delete", "error-500@delete"])
def test_deletes_that_fail_without_effect_are_tried_five_times(world: World, fault: str) -> None:
    due = due_with_sibling(world)
    world.faults(fault)
    run(world, hours=8)
    assert (world.grade(due), world.state(due)) == ("still_present", ThreadState.PARKED)
    assert len(world.deletes(due.thread.external_id)) == 5


def test_a_failing_delete_that_works_later_is_confirmed(world: World) -> None:
    due = due_with_sibling(world)
    world.faults("error-500@delete*2")
    run(world, hours=3)
    assert (world.grade(due), world.state(due)) == ("confirmed", ThreadState.DELETED)
    assert len(world.deletes(due.thread.external_id)) == 3


def test_reads_that_fail_are_tried_eight_times_and_nothing_is_deleted(world: World) -> None:
    due = due_with_sibling(world)
    world.faults("error-500@get")
    run(world, hours=12)
    assert (world.grade(due), world.state(due)) == ("unverifiable/provider_error", ThreadState.PARKED)
    assert world.reads(due.thread.external_id) == 8
    assert not world.deletes()


def test_a_throttled_thread_waits_ungraded_and_is_lost_to_nobody(world: World) -> None:
    due = due_with_sibling(world)
    world.faults("throttled*12")
    world.sweep()
    for _ in range(13):
        world.drain(most=1)
        world.clock.move(timedelta(seconds=30))
        if world.state(due) is ThreadState.DELETED:
            break
        assert (world.state(due), world.grade(due)) == (ThreadState.LIVE, None)
        # The pause is the pacer's own, on a clock that nobody moves: a new one has forgotten it.
        world.forget_cooldown()
    assert world.grade(due) == "confirmed"
    graded = world.entries("thread.graded")
    assert [one["grade"] for one in graded] == ["confirmed"]


def test_the_time_that_a_throttling_provider_names_is_kept(world: World) -> None:
    due = due_with_sibling(world)
    world.faults("throttled*1")
    world.sweep()
    world.drain(most=1)
    assert world.item(due).state == ItemState.WAITING
    world.clock.move(timedelta(seconds=30))
    world.drain()
    first, second = [one.at for one in world.sandbox.requests() if one.path.endswith(due.thread.external_id)][
        :2
    ]
    assert second - first >= timedelta(seconds=0.9)
    assert world.grade(due) == "confirmed"


@pytest.mark.parametrize("fault", ["redirect@delete", "html-200@delete"])
def test_an_answer_that_is_no_deletion_confirms_nothing(world: World, fault: str) -> None:
    due = due_with_sibling(world)
    world.faults(fault)
    run(world, hours=8)
    assert (world.grade(due), world.state(due)) == ("still_present", ThreadState.PARKED)
    assert nothing_was_called_deleted(world)
    assert world.exists(due)


@pytest.mark.parametrize("fault", ["redirect", "html-200"])
def test_a_gateway_that_answers_everything_alike_leads_to_no_delete(world: World, fault: str) -> None:
    due = due_with_sibling(world)
    world.faults(fault)
    run(world, hours=12)
    assert (world.grade(due), world.state(due)) == ("unverifiable/provider_error", ThreadState.PARKED)
    assert not world.deletes()


def test_the_last_thread_of_its_kind_is_acknowledged_until_a_sibling_exists(world: World) -> None:
    world.without_canaries()
    due = world.register()
    run(world)
    assert (world.grade(due), world.state(due)) == ("acknowledged", ThreadState.ACKNOWLEDGED)
    world.register(age=3 * DAY)
    world.clock.move(LATER[0])
    world.drain()
    assert (world.grade(due), world.state(due)) == ("confirmed", ThreadState.DELETED)
    assert len(world.deletes(due.thread.external_id)) == 1


def test_the_last_thread_of_its_kind_is_parked_when_no_sibling_ever_comes(world: World) -> None:
    world.without_canaries()
    due = world.register()
    run(world)
    for wait in LATER:
        assert world.state(due) is ThreadState.ACKNOWLEDGED
        world.clock.move(wait)
        world.drain()
    assert (world.grade(due), world.state(due)) == ("acknowledged", ThreadState.PARKED)
    assert nothing_was_called_deleted(world)
    assert len(world.deletes(due.thread.external_id)) == 1


def test_the_endpoint_retired_between_delete_and_re_read_confirms_nothing(world: World) -> None:
    due = world.register(kind=Kind.THREAD)
    world.register(kind=Kind.THREAD, age=3 * DAY)
    world.after_first_delete("endpoint-retired:thread")
    run(world, hours=3)
    assert nothing_was_called_deleted(world)
    assert (world.grade(due), world.state(due)) == ("acknowledged", ThreadState.PARKED)


def test_a_control_that_fails_stops_the_pair_and_no_other(world: World) -> None:
    sibling = world.register(age=3 * DAY)
    first = world.register()
    other_kind = [world.register(kind=Kind.FILE), world.register(kind=Kind.FILE, age=3 * DAY)]
    world.vanish(sibling)
    run(world)
    assert world.grade(first) == "acknowledged"
    sent = len(world.deletes("")) - len(world.deletes(other_kind[0].thread.external_id))
    second = world.register()
    world.sweep()
    world.drain()
    assert world.item(second).state == ItemState.PLANNED
    assert len(world.deletes("")) - len(world.deletes(other_kind[0].thread.external_id)) == sent
    assert world.grade(other_kind[0]) == "confirmed"


def siblings_that_are_gone(world: World) -> None:
    """Register as many as a control asks at most, none of which the provider knows."""
    for _ in range(5):
        world.vanish(world.register(age=3 * DAY))


def test_within_a_batch_nothing_more_is_deleted_of_a_pair_whose_control_failed(world: World) -> None:
    both = world.register(), world.register()
    siblings_that_are_gone(world)
    world.sweep()
    world.drain(most=1)
    # One of them stays back as long as the other is being graded.
    [first] = [one for one in both if not world.exists(one)]
    [kept_back] = [one for one in both if world.exists(one)]
    assert world.grade(first) == "acknowledged"
    assert len(world.deletes()) == 1
    assert world.item(kept_back).state == ItemState.WAITING


@pytest.mark.parametrize("number", [FEW, FEW + 1])
@pytest.mark.parametrize("has_free", [True, False], ids=["another thread lives", "all are in the batch"])
def test_one_stays_back_where_it_is_the_only_control_or_one_of_few(
    world: World, number: int, *, has_free: bool
) -> None:
    """Of many it would work alone for nothing where another thread can be read."""
    due = [world.register(kind=Kind.RESPONSE) for _ in range(number)]
    if has_free:
        world.register(kind=Kind.RESPONSE, age=3 * DAY)
    world.sweep()
    world.drain(most=1)
    assert not any(world.exists(one) for one in due)
    told = [(one["type"], one["subject"]) for one in world.entries()]
    last = max(at for at, (kind, _) in enumerate(told) if kind == "delete.intended")
    graded = {subject for kind, subject in told[:last] if kind == "thread.graded"}
    stayed_back = graded == {one.thread.id for one in due} - {told[last][1]}
    assert stayed_back is not (has_free and number > FEW)
    if has_free:
        assert {world.grade(one) for one in due} == {"confirmed"}


def test_a_sibling_that_another_worker_deletes_just_before_it_is_read_stops_nothing(world: World) -> None:
    first, sibling = world.register(), world.register()
    assert sibling.evaluate_at is not None

    def becomes_due(at: datetime) -> None:
        with world.database.write() as db:
            schedule = Schedule(evaluate_at=at, due_policy=POLICY, under=world.bundle.digest)
            threads.reschedule(db, {sibling.thread.id: schedule})

    def goes() -> None:
        world.wrap = lambda provider: provider
        becomes_due(sibling.evaluate_at or world.clock.now())
        world.sweep()
        with ThreadPoolExecutor(1) as another_worker:
            another_worker.submit(world.drain).result()
        assert not world.exists(sibling)

    becomes_due(world.clock.now() + DAY)
    world.sweep()
    world.wrap = lambda provider: BeforeRead(provider, goes, of=Step.CONTROL).provider
    world.drain()
    with world.database.read() as db:
        assert not stops.stopped_pairs(db)
    assert (world.grade(first), world.grade(sibling)) == ("confirmed", "confirmed")


def test_a_sibling_that_is_gone_fails_the_control_although_another_worker_parked_it_meanwhile(
    world: World,
) -> None:
    first, sibling = world.register(), world.register(age=3 * DAY)

    def is_parked() -> None:
        # Somebody else deleted both, or the key sees neither: no DELETE of Tenure's made the sibling go.
        world.wrap = lambda provider: provider
        world.vanish(sibling)
        with world.database.write() as db:
            schedule = Schedule(evaluate_at=world.clock.now(), due_policy=POLICY, under=world.bundle.digest)
            threads.reschedule(db, {sibling.thread.id: schedule})
        world.sweep()
        with ThreadPoolExecutor(1) as another_worker:
            another_worker.submit(world.drain).result()
        assert world.state(sibling) is ThreadState.PARKED

    world.sweep()
    world.wrap = lambda provider: BeforeRead(provider, is_parked, of=Step.CONTROL).provider
    world.drain(most=1)
    with world.database.read() as db:
        assert stops.stopped_pairs(db)
    assert world.grade(first) == "acknowledged"


def test_a_stopped_pair_stays_stopped_while_nothing_of_it_can_be_read(world: World) -> None:
    world.register()
    siblings_that_are_gone(world)
    world.sweep()
    world.drain()
    world.faults("error-500@get")
    world.clock.move(timedelta(minutes=2))
    world.drain()
    with world.database.read() as db:
        assert list(stops.stopped_pairs(db)) == [("demo-support", "conversation")]


@pytest.mark.parametrize("fault", ["refused-key", "endpoint-retired"])
def test_what_is_refused_for_all_stops_after_one_batch_and_is_probed_with_one_thread(
    world: World, fault: str
) -> None:
    # Nearly all of the population goes here, in two sweeps.
    world.rules(POLICIES.replace("min_population: 0", "min_population: 100"))
    world.register(kind=Kind.RESPONSE, age=3 * DAY)
    first = [world.register(kind=Kind.RESPONSE) for _ in range(3)]
    world.faults(fault)
    run(world)
    assert {world.state(one) for one in first} == {ThreadState.PARKED}
    later = [world.register(kind=Kind.RESPONSE) for _ in range(4)]
    world.sweep()
    world.drain()
    assert {world.state(one) for one in later} == {ThreadState.LIVE}, "read before its probe was due"
    world.clock.move(timedelta(minutes=2))
    world.drain()
    assert sorted(world.state(one) for one in later).count(ThreadState.PARKED) == 1
    world.faults()
    world.clock.move(timedelta(hours=2))
    world.drain()
    assert sorted(world.grade(one) or "" for one in later).count("confirmed") == 3
    assert not any(world.exists(one) for one in later if world.state(one) is ThreadState.DELETED)


def test_one_thread_that_is_refused_stops_no_other(world: World) -> None:
    world.register(kind=Kind.RESPONSE, age=3 * DAY)
    refused, other = world.register(kind=Kind.RESPONSE), world.register(kind=Kind.RESPONSE)
    world.sandbox.set_faults([FaultRule(fault=Fault.FORBIDDEN, object_id=refused.thread.external_id)])
    run(world)
    assert world.grade(refused) == "unverifiable/forbidden"
    assert world.grade(other) == "confirmed"
    with world.database.read() as db:
        assert not stops.stopped_pairs(db)


def test_a_stopped_pair_goes_on_when_its_control_holds_again(world: World) -> None:
    sibling = world.register(age=3 * DAY)
    first = world.register()
    world.vanish(sibling)
    run(world)
    second, fresh = world.register(), world.register(age=3 * DAY)
    world.sweep()
    world.clock.move(timedelta(minutes=2))
    world.drain()
    assert world.exists(fresh)
    assert (world.grade(first), world.grade(second)) == ("confirmed", "confirmed")


def test_a_delete_that_is_answered_absent_is_no_absent_read(world: World) -> None:
    """The thread is there all the same; the grade shows both, and its log verifies."""
    due = world.register(kind=Kind.RESPONSE)
    world.register(kind=Kind.RESPONSE, age=3 * DAY)
    world.sweep()
    world.faults("object-404@delete")
    world.drain()
    assert world.grade(due) == "still_present"
    [graded] = world.entries("thread.graded", due)
    told = {(one["step"], one["class"]) for one in graded["observations"]}
    assert {("delete", "object_absent"), ("after", "present")} <= told
