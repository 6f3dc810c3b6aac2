"""The provider contract against the sandbox: each class is compared with what is really there.

Kinds are not skipped: they are read from the sandbox's own table. What it cannot act out, for every kind,
is in `test_contract_wire`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from worker.model.evidence import Class, Step
from worker.model.thread import Kind
from worker.providers.openai import OpenAIProvider
from worker.providers.table import KINDS, facts
from worker.sandbox.control import make_sample
from worker.sandbox.kinds import CONTAINERS, ObjectKind
from worker.sandbox.options import parse_faults
from worker.sandbox.server import SandboxServer

Connect = Callable[..., AbstractAsyncContextManager[OpenAIProvider]]
KINDS_OF_THE_SANDBOX = [Kind(kind.value) for kind in CONTAINERS]


@pytest.fixture(scope="module")
def running() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def sandbox(running: SandboxServer) -> Iterator[SandboxServer]:
    yield running
    running.set_faults(())


def _make(sandbox: SandboxServer, kind: Kind) -> str:
    return make_sample(sandbox.store, ObjectKind(kind.value))


def test_the_sandbox_offers_only_kinds_that_can_be_deleted() -> None:
    assert set(KINDS_OF_THE_SANDBOX) <= set(KINDS)


@pytest.mark.parametrize("kind", KINDS_OF_THE_SANDBOX)
def test_an_object_is_seen_present_then_acknowledged_then_absent(
    sandbox: SandboxServer, connect: Connect, kind: Kind
) -> None:
    external_id, sibling = _make(sandbox, kind), _make(sandbox, kind)

    async def scenario() -> list[Class]:
        async with connect(sandbox.base_url) as provider:
            return [
                (await provider.read(kind, external_id, step=Step.BEFORE, timeout=5)).seen,
                (await provider.delete(kind, external_id, timeout=5)).seen,
                (await provider.read(kind, external_id, step=Step.AFTER, timeout=5)).seen,
                (await provider.delete(kind, external_id, timeout=5)).seen,
                (await provider.read(kind, sibling, step=Step.CONTROL, timeout=5)).seen,
            ]

    assert asyncio.run(scenario()) == [
        Class.PRESENT,
        Class.ACKNOWLEDGED,
        Class.OBJECT_ABSENT,
        Class.OBJECT_ABSENT,
        Class.PRESENT,
    ]


@pytest.mark.parametrize("kind", KINDS_OF_THE_SANDBOX)
@pytest.mark.parametrize(
    ("fault", "read", "delete", "still_there"),
    [
        ("endpoint-retired", Class.ROUTE_ABSENT, Class.ROUTE_ABSENT, True),
        ("lost-reply", Class.PRESENT, Class.LOST, False),
        ("lost-request", Class.ERROR, Class.LOST, True),
        ("lying-200", Class.PRESENT, Class.ACKNOWLEDGED, True),
        ("deleted-false", Class.PRESENT, Class.MALFORMED, True),
        ("error-500", Class.ERROR, Class.ERROR, True),
        ("error-after", Class.PRESENT, Class.ERROR, False),
        ("refused-key", Class.DENIED, Class.DENIED, True),
        ("forbidden", Class.DENIED, Class.DENIED, True),
        ("throttled", Class.THROTTLED, Class.THROTTLED, True),
        ("redirect", Class.ERROR, Class.MALFORMED, True),
        ("html-200", Class.ERROR, Class.MALFORMED, True),
    ],
)
def test_each_way_to_fail_has_its_class_and_deletes_what_it_deletes(
    *,
    sandbox: SandboxServer,
    connect: Connect,
    kind: Kind,
    fault: str,
    read: Class,
    delete: Class,
    still_there: bool,
) -> None:
    external_id = _make(sandbox, kind)
    sandbox.set_faults(parse_faults([fault]))
    asked_before = len(sandbox.requests())

    async def scenario() -> tuple[Class, Class]:
        async with connect(sandbox.base_url) as provider:
            seen = await provider.read(kind, external_id, step=Step.BEFORE, timeout=5)
            answered = await provider.delete(kind, external_id, timeout=5)
            return seen.seen, answered.seen

    assert asyncio.run(scenario()) == (read, delete)
    assert [one.method for one in sandbox.requests()[asked_before:]] == ["GET", "DELETE"]
    sandbox.set_faults(())

    async def look() -> Class:
        async with connect(sandbox.base_url) as provider:
            return (await provider.read(kind, external_id, step=Step.AFTER, timeout=5)).seen

    assert asyncio.run(look()) is (Class.PRESENT if still_there else Class.OBJECT_ABSENT)


@pytest.mark.parametrize("kind", KINDS_OF_THE_SANDBOX)
def test_the_key_of_another_project_gets_a_404_that_nothing_tells_from_absence(
    sandbox: SandboxServer, connect: Connect, kind: Kind
) -> None:
    made = make_sample(sandbox.store, ObjectKind(kind.value), project="proj_theirs")

    async def look(provider_project: str) -> Class:
        async with connect(sandbox.base_url, provider_project=provider_project) as provider:
            return (await provider.read(kind, made, step=Step.BEFORE, timeout=5)).seen

    assert asyncio.run(look("proj_theirs")) is Class.PRESENT
    # This is why an absent read needs a control: its class is the same.
    assert asyncio.run(look("proj_ours")) is Class.OBJECT_ABSENT


@pytest.mark.parametrize("kind", [kind for kind in KINDS_OF_THE_SANDBOX if facts(kind).canary])
def test_a_canary_is_made_read_deleted_and_gone(sandbox: SandboxServer, connect: Connect, kind: Kind) -> None:
    async def scenario() -> list[Class]:
        async with connect(sandbox.base_url) as provider:
            made, external_id = await provider.create_canary(kind, timeout=5)
            assert external_id is not None
            return [
                made.seen,
                (await provider.read(kind, external_id, step=Step.CONTROL, timeout=5)).seen,
                (await provider.delete(kind, external_id, timeout=5)).seen,
                (await provider.read(kind, external_id, step=Step.CONTROL, timeout=5)).seen,
            ]

    assert asyncio.run(scenario()) == [
        Class.PRESENT,
        Class.PRESENT,
        Class.ACKNOWLEDGED,
        Class.OBJECT_ABSENT,
    ]


@pytest.mark.parametrize("kind", [kind for kind in KINDS_OF_THE_SANDBOX if facts(kind).listable])
def test_every_object_of_a_kind_is_in_its_list_once(
    sandbox: SandboxServer, connect: Connect, kind: Kind
) -> None:
    made = {make_sample(sandbox.store, ObjectKind(kind.value), created_at=1764000000) for _ in range(101)}

    async def scenario() -> list[str]:
        found: list[str] = []
        async with connect(sandbox.base_url) as provider:
            after: str | None = None
            more = True
            while more:
                page = await provider.list_page(kind, after=after, timeout=5)
                assert page.observation.seen is Class.PRESENT
                assert all(one.created_at is not None for one in page.objects)
                found += [one.id for one in page.objects]
                after, more = page.last, page.has_more
        return found

    found = asyncio.run(scenario())
    assert made <= set(found)
    assert len(found) == len(set(found))
