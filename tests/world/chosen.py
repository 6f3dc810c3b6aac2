"""Threads and vector stores with files in them, for scenarios of chosen children."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from tests.world.stepping import Passing
from tests.world.world import World
from worker.model.evidence import Observation, Step
from worker.model.thread import Kind
from worker.providers.base import Provider
from worker.sandbox.kinds import ObjectKind
from worker.store.threads import StoredThread

DAY = timedelta(days=1)
# Where a scenario may step in on a file's way.
LOOKED_AT, BEFORE_DELETE, ANSWERED, BEFORE_SECOND_LOOK = range(4)


class AtFile(Passing):
    """Does something once, at one point on the way of the first file that comes to it."""

    def __init__(self, inner: Provider, point: int, then: Callable[[], object]) -> None:
        super().__init__(inner)
        self.point = point
        self.then: Callable[[], object] | None = then

    async def read(self, kind: Kind, external_id: str, *, step: Step, timeout: float) -> Observation:
        if step is Step.AFTER:
            self._at(kind, BEFORE_SECOND_LOOK)
        seen = await self.inner.read(kind, external_id, step=step, timeout=timeout)
        self._at(kind, LOOKED_AT)
        return seen

    async def delete(self, kind: Kind, external_id: str, *, timeout: float) -> Observation:
        self._at(kind, BEFORE_DELETE)
        answer = await self.inner.delete(kind, external_id, timeout=timeout)
        self._at(kind, ANSWERED)
        return answer

    def _at(self, kind: Kind, point: int) -> None:
        if kind is Kind.FILE and point == self.point and self.then is not None:
            then, self.then = self.then, None
            then()


def at_file(world: World, point: int, then: Callable[[], object]) -> None:
    """Do something once, at this point on the way of the first file."""
    world.wrap = lambda inner: AtFile(inner, point, then).provider


def files(world: World, count: int) -> list[str]:
    return [world.make(Kind.FILE) for _ in range(count)]


def naming(world: World, file_ids: Sequence[str] = (), store_ids: Sequence[str] = ()) -> str:
    """Make a thread that names these files and vector stores in its tool_resources."""
    named = {
        "code_interpreter": {"file_ids": list(file_ids)},
        "file_search": {"vector_store_ids": list(store_ids)},
    }
    at = int((world.clock.now() - 40 * DAY).timestamp())
    made = world.sandbox.store.create(
        ObjectKind.THREAD, fields={"metadata": {}, "tool_resources": named}, created_at=at
    )
    return made.id


def holding(world: World, file_ids: Sequence[str]) -> str:
    """Make a vector store with these files in it."""
    store = world.sandbox.store
    made = store.get(ObjectKind.VECTOR_STORE, world.make(Kind.VECTOR_STORE))
    assert made is not None
    for one in file_ids:
        file = store.get(ObjectKind.FILE, one)
        assert file is not None
        store.attach(made, file)
    return made.id


def siblings(world: World, *kinds: Kind) -> None:
    """Register a young thread of each kind: what a control reads."""
    for kind in kinds:
        world.register(kind=kind, age=3 * DAY)


def thread_with(world: World, named: Sequence[str], chosen: Sequence[str]) -> StoredThread:
    siblings(world, Kind.THREAD, Kind.FILE)
    return world.register(naming(world, named), kind=Kind.THREAD, chosen=chosen)


def hours(world: World, count: int) -> None:
    world.sweep()
    world.drain()
    for _ in range(count):
        world.clock.move(timedelta(hours=1, seconds=1))
        world.drain()


def there(world: World, *file_ids: str) -> list[bool]:
    return [world.sandbox.store.exists(ObjectKind.FILE, one) for one in file_ids]


def deleted(world: World) -> list[str]:
    """Return what DELETE was sent to, in order: a vector store's files as `store/file`."""
    sent = []
    for path in world.deletes():
        parts = path.split("/")
        sent.append("/".join((parts[-3], parts[-1])) if parts[-2] == "files" and "vs_" in path else parts[-1])
    return sent


def told(world: World, due: StoredThread) -> dict[str, Any]:
    """Return what the newest grade's entry says of the chosen children."""
    found: dict[str, Any] = world.entries("thread.graded", due)[-1]["children_chosen"]
    return found


def steps(world: World, due: StoredThread, child: str) -> list[tuple[str, str]]:
    """Return the evidence's observations of one child."""
    evidence = world.thread(due).evidence
    assert evidence is not None
    return [(one["step"], one["class"]) for one in evidence["observations"] if one["child"] == child]


def kept(world: World, due: StoredThread) -> dict[str, str]:
    evidence = world.thread(due).evidence
    assert evidence is not None
    return {one["child"]: one["reason"] for one in evidence.get("children_kept", [])}
