"""Canary: create, read, delete, read: proof that a route answers truthfully where no live sibling is left.

It proves the route, not the project, so it supports a re-read only beside a before that the same pass read
present. Its id is committed before its DELETE, and one that a crash left is deleted in a later turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from worker.flows.ask import Asker
from worker.flows.control import Support
from worker.flows.decide import bundle_in_force
from worker.flows.tools import Tools, asker_of
from worker.model.evidence import Class, Control, Observation, Step
from worker.model.thread import Kind
from worker.pacing.base import CoolingDown
from worker.pacing.waiters import Rank
from worker.policy.document import Project
from worker.providers.profiles import profile
from worker.store import canaries
from worker.store.canaries import Canary
from worker.telemetry import log

_CANARY = "canary"
_MOST_THROTTLED = 3
_REST_SECONDS = 1.5


def allowed(project: Project, kind: Kind) -> bool:
    """Whether the project permits canaries and the kind has a cheap one."""
    return _CANARY in project.controls and profile(project.profile).facts(kind).canary is not None


async def probe(tools: Tools, asker: Asker, project: Project, kind: Kind) -> Support:
    """Make a canary, see it, delete it and see it gone; anything else is a failed control.

    But a 429 says nothing, so it fails none: raises CoolingDown where nothing else comes. What was made is
    deleted before that, or kept as left.
    """
    made, external_id = await _create(asker, kind)
    if external_id is None:
        return _failed(made)
    bird = Canary(project=project.name, kind=kind, external_id=external_id)
    await asyncio.to_thread(_keep, tools, bird)
    seen = await _read(asker, bird)
    gone = await _delete(tools, asker, bird)
    if seen.seen is not Class.PRESENT:
        return _failed(seen)
    return Support(control=Control.ROUTE_ONLY, observation=seen) if gone is None else _failed(gone)


async def _create(asker: Asker, kind: Kind) -> tuple[Observation, str | None]:
    external_id: str | None = None

    async def create() -> Observation:
        nonlocal external_id
        made, external_id = await asker.create_canary(kind)
        return made

    return await _heard(create), external_id


async def _read(asker: Asker, bird: Canary) -> Observation:
    return await _heard(
        lambda: asker.read_object(bird.kind, bird.external_id, Step.CONTROL, rank=Rank.CONTROL)
    )


async def _heard(ask: Callable[[], Awaitable[Observation]]) -> Observation:
    """Ask until something is said, but not for ever; the last answer may be throttled still."""
    seen = await ask()
    for _ in range(_MOST_THROTTLED - 1):
        if seen.seen is not Class.THROTTLED:
            break
        seen = await ask()
    return seen


async def _delete(tools: Tools, asker: Asker, bird: Canary) -> Observation | None:
    """Delete a canary and look again; returns what stood in the way, or None when it is seen to be gone."""
    answer = await _heard(lambda: asker.delete_object(bird.kind, bird.external_id))
    if answer.seen is Class.THROTTLED:
        return answer
    after = await _read(asker, bird)
    if after.seen is not Class.OBJECT_ABSENT:
        return after
    await asyncio.to_thread(_forget, tools, bird)
    return None if answer.seen is Class.ACKNOWLEDGED else answer


async def delete_left(tools: Tools, credential: str) -> int:
    """Delete the canaries of one credential that a crash left; returns how many are seen to be gone."""
    projects, left = await asyncio.to_thread(_left, tools, credential)
    if not left:
        return 0
    until = tools.clock.monotonic() + tools.lease.last_send.total_seconds()
    asker = asker_of(tools, projects, until)
    gone = 0
    for bird in left:
        gone += await _delete(tools, asker, bird) is None
    log().info("canaries.deleted", credential=credential, gone=gone, left=len(left) - gone)
    return gone


def _left(tools: Tools, credential: str) -> tuple[Sequence[Project], Sequence[Canary]]:
    with tools.database.read() as db:
        projects = [one for one in bundle_in_force(db).projects.values() if one.credential == credential]
        names = [one.name for one in projects]
        return projects, canaries.left(db, names, made_before=tools.clock.now() - tools.lease.length)


def _keep(tools: Tools, bird: Canary) -> None:
    with tools.database.write() as db:
        canaries.keep(db, bird, tools.clock.now())


def _forget(tools: Tools, bird: Canary) -> None:
    with tools.database.write() as db:
        canaries.forget(db, bird)


def _failed(seen: Observation) -> Support:
    if seen.seen is Class.THROTTLED:
        raise CoolingDown(seen.retry_after or _REST_SECONDS)
    return Support(control=Control.FAILED, observation=seen, failed_class=seen.seen)
