"""One provider object has one registration, whoever registers it and however often."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Event
from typing import Any

import pytest
from prometheus_client import REGISTRY

from tests.world.world import ACTOR, POLICIES, POLICY, PROJECT, World, project_document
from worker.flows.register import (
    Conflict,
    Registered,
    RegisteredElsewhere,
    Registration,
    register,
    register_many,
)
from worker.model.errors import Invalid, TenureError
from worker.model.thread import Kind
from worker.store import threads

DAY = timedelta(days=1)


def wanted(world: World, external_id: str = "conv_1") -> Registration:
    return Registration(
        external_id=external_id,
        project=PROJECT,
        owner="team",
        tags={"a": "1"},
        created_at=world.clock.now() - 40 * DAY,
        given=frozenset({"tags", "created_at"}),
    )


def put(world: World, one: Registration) -> Registered:
    with world.database.write() as db:
        return register(db, one, actor=ACTOR, now=world.clock.now())


def test_a_repeated_registration_is_the_first_one(world: World) -> None:
    one = wanted(world)
    first, second = put(world, one), put(world, one)
    assert (first.created, second.created) == (True, False)
    assert first.stored == second.stored
    assert len(world.entries("thread.registered")) == 1


def test_a_repeat_that_says_less_is_no_conflict(world: World) -> None:
    put(world, wanted(world))
    less = Registration(external_id="conv_1", project=PROJECT, owner="team")
    assert put(world, less).created is False


def test_a_repeat_that_says_otherwise_is_a_conflict_that_names_the_fields(world: World) -> None:
    one = wanted(world)
    first = put(world, one)
    with pytest.raises(Conflict) as raised:
        put(world, replace(one, owner="others", tags={"a": "2"}))
    assert raised.value.existing == first.stored.thread.id
    assert {line["field"]: (line["registered"], line["given"]) for line in raised.value.diff} == {
        "owner": ("team", "others"),
        "tags": ({"a": "1"}, {"a": "2"}),
    }
    assert world.thread(first.stored) == first.stored


def test_another_project_of_the_same_account_is_refused_without_naming_the_first(world: World) -> None:
    url = world.sandbox.base_url
    world.policies(POLICIES + project_document(url) + project_document(url, "second"))
    put(world, wanted(world))
    with pytest.raises(RegisteredElsewhere) as raised:
        put(world, replace(wanted(world), project="second"))
    assert PROJECT not in str(raised.value)
    assert put(world, replace(wanted(world, "conv_2"), project="second")).created


def test_the_same_id_at_another_account_is_another_thread(world: World) -> None:
    url = world.sandbox.base_url
    second = project_document(url, "second", extra="provider_project: proj_2")
    world.policies(POLICIES + project_document(url) + second)
    put(world, wanted(world))
    assert put(world, replace(wanted(world), project="second")).created


def test_four_identical_registrations_at_once_make_one_row(world: World) -> None:
    one = wanted(world)
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda _: put(world, one), range(8)))
    assert sum(each.created for each in told) == 1
    assert len({each.stored.thread.id for each in told}) == 1
    assert len(world.entries("thread.registered")) == 1


def test_two_projects_that_register_one_object_at_once_get_one_row_and_one_refusal(world: World) -> None:
    url = world.sandbox.base_url
    world.policies(POLICIES + project_document(url) + project_document(url, "second"))

    def attempt(project: str) -> bool:
        try:
            return put(world, replace(wanted(world), project=project)).created
        except RegisteredElsewhere:
            return False

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(attempt, [PROJECT, "second"]))
    assert sorted(told) == [False, True]


def test_imports_that_name_the_same_objects_in_other_projects_and_orders_never_wait_for_each_other(
    world: World,
) -> None:
    url = world.sandbox.base_url
    world.policies(POLICIES + project_document(url) + project_document(url, "second"))
    half, together = 300, Barrier(2)
    # What one names in the first project the other names in the second: neither index alone gives an order.
    low, high = range(half), range(half, 2 * half)
    crossed = [{PROJECT: low, "second": high}, {PROJECT: high, "second": low}]

    def take_in(numbers: Mapping[str, range]) -> int:
        lines = [
            replace(wanted(world, f"conv_{number:04}"), project=project)
            for project, some in numbers.items()
            for number in some
        ]
        together.wait(20)
        with world.database.write() as db:
            told = register_many(db, lines, actor=ACTOR, now=world.clock.now(), refused=lambda *_: None)
        return sum(one is not None and one.created for one in told)

    with ThreadPoolExecutor(2) as pool:
        created = list(pool.map(take_in, crossed))
    assert sum(created) == 2 * half
    assert len(world.entries("thread.registered")) == 2 * half


def test_a_bad_line_of_an_import_blocks_no_other(world: World) -> None:
    good, twice = wanted(world), wanted(world)
    lines = [
        good,
        replace(wanted(world, "msg_1")),
        replace(wanted(world, "conv_3"), project="nobody"),
        replace(wanted(world, "conv_4"), ttl="soon"),
        replace(twice, owner="others"),
        wanted(world, "conv_5"),
    ]
    refused: dict[int, TenureError] = {}
    with world.database.write() as db:
        told = register_many(
            db,
            lines,
            actor=ACTOR,
            now=world.clock.now(),
            refused=lambda number, why: refused.update({number: why}),
        )
    assert [one.created if one else None for one in told] == [True, None, None, None, None, True]
    assert sorted(refused) == [1, 2, 3, 4]
    assert isinstance(refused[4], Conflict)
    assert len(world.entries("thread.registered")) == 2


def test_a_wrong_prefix_is_refused_and_leaves_nothing(world: World) -> None:
    with pytest.raises(Invalid):
        put(world, wanted(world, "asst_1"))
    assert not world.entries("thread.registered")


def test_a_thread_that_was_registered_while_the_policies_changed_belongs_to_a_sweep(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    dated, may_go_on = Event(), Event()
    add = threads.add_many

    def add_slowly(*given: Any, **named: Any) -> set[str]:
        dated.set()
        assert may_go_on.wait(10)
        return add(*given, **named)

    monkeypatch.setattr(threads, "add_many", add_slowly)
    with ThreadPoolExecutor(2) as pool:
        producer = pool.submit(put, world, wanted(world))
        assert dated.wait(10)
        # The sweep that this thread would be in is renamed before it is committed.
        beat = pool.submit(world.rules, POLICIES.replace(POLICY, "renamed-30d"))
        # Beat waits for the producer; where it does not, it is done before the producer commits.
        futures.wait([beat], timeout=0.3)
        may_go_on.set()
        producer.result(20)
        beat.result(20)
    with world.database.read() as db:
        [found] = threads.by_external_id(db, "conv_1")
    assert found.due_policy == "renamed-30d"
    assert world.sweep("renamed-30d").planned == 1


def test_a_registration_names_the_account_that_it_was_made_under(world: World) -> None:
    stored = put(world, wanted(world)).stored
    assert stored.thread.account == world.bundle.projects[PROJECT].account
    assert stored.thread.kind is Kind.CONVERSATION


def _counted(result: str) -> float:
    labels = {"kind": "conversation", "result": result}
    return REGISTRY.get_sample_value("tenure_registrations_total", labels) or 0.0


def test_registrations_are_counted_by_what_came_of_them(world: World) -> None:
    before = _counted("created"), _counted("exists")
    one = wanted(world)
    put(world, one)
    several = [one, replace(one, external_id="conv_2")]
    with world.database.write() as db:
        register_many(db, several, actor=ACTOR, now=world.clock.now(), refused=lambda *_: None)
    assert (_counted("created") - before[0], _counted("exists") - before[1]) == (2, 1)
