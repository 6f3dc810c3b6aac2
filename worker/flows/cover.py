"""Cover: the scheduled coverage sweep of one project, a slice at a time.

It counts what each list holds against what is registered at that account; it reads ids and dates only, keeps
numbers only, and changes nothing at the provider. A page is counted and let go. Two workers are harmless: a
look is taken until the end of a lease, under a fence, and goes on at the cursor that was written last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from worker.flows.ask import Asker
from worker.flows.decide import bundle_in_force
from worker.flows.discover import list_problem, listable_kinds, sharing
from worker.flows.patience import LeaseShort
from worker.flows.tools import Tools, asker_of
from worker.model.errors import TenureError
from worker.model.evidence import Class
from worker.model.thread import Kind
from worker.pacing.base import CoolingDown, PacerUnavailable
from worker.pacing.waiters import Rank
from worker.policy.document import Project
from worker.providers.base import Listed, ListPage
from worker.store import canaries, coverages, threads, work
from worker.store.coverages import KindCoverage, Look
from worker.telemetry import log, raise_alert

# A slice is short, since it takes one of a pool's places from deletions.
_SLICE = timedelta(seconds=20)
_PUT_OFF = timedelta(minutes=1)
_TRY_AGAIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slice:
    """What one slice of a look works with, until ``ends`` (monotonic seconds)."""

    tools: Tools
    project: Project
    kinds: Sequence[Kind]
    asker: Asker
    ends: float


async def cover(tools: Tools, name: str) -> bool:
    """Take one slice of a project's look, if it is due; returns whether the look came to its end.

    What the provider, the pacer or the key refuse is kept as the problem of that kind, or put off.
    """
    taken = await asyncio.to_thread(_take, tools, name)
    if taken is None:
        return False
    project, look = taken
    began = tools.clock.monotonic()
    kinds: Sequence[Kind] = ()
    try:
        kinds = listable_kinds(project)
        beside = await asyncio.to_thread(sharing, tools.database, project)
        asker = asker_of(tools, beside, began + tools.lease.last_send.total_seconds())
    except TenureError as e:
        log().warning("coverage.failed", project=name, code=e.code, problem=e.problem)
        await asyncio.to_thread(_fail, tools, look, kinds, e.problem)
        return False
    ends = began + min(_SLICE, tools.lease.batch_deadline).total_seconds()
    part = _Slice(tools=tools, project=project, kinds=kinds, asker=asker, ends=ends)
    begun = look if look.kind in kinds else _at(look, kinds[0] if kinds else None)
    async with asker.patience.watched():
        return await _go_on(part, begun)


def _take(tools: Tools, name: str) -> tuple[Project, Look] | None:
    if not tools.look_every:
        return None
    now = tools.clock.now()
    with tools.database.write() as db:
        project = bundle_in_force(db).projects.get(name)
        look = coverages.take(db, name, now=now, until=now + tools.lease.length) if project else None
    return (project, look) if project and look else None


async def _go_on(part: _Slice, begun: Look) -> bool:
    """Count pages until the look ends, the slice does, or deletions want the place."""
    look: Look | None = begun
    while look is not None and look.kind is not None:
        try:
            page = await part.asker.list_page(look.kind, after=look.after, rank=Rank.LOOK)
        except (LeaseShort, PacerUnavailable, CoolingDown):
            return await _put_off(part, look, _PUT_OFF)
        except TenureError as e:
            look = await _end_kind(part, look, e.problem)
            continue
        if page.observation.seen is Class.THROTTLED:
            return await _put_off(part, look, _PUT_OFF)
        look = await _read(part, look, page)
        if look is not None and look.kind is not None and await _gives_way(part):
            return await _put_off(part, look, timedelta())
    return look is not None and await asyncio.to_thread(_finish, part, look)


async def _read(part: _Slice, look: Look, page: ListPage) -> Look | None:
    """Count one page; returns where the look goes on, or None where another has taken it."""
    problem = list_problem(page)
    if problem is None and page.has_more and page.last in {None, look.after}:
        problem = "the list repeats a page instead of going on"
    if problem is not None:
        return await _end_kind(part, look, problem)
    found, registered = await asyncio.to_thread(_count, part, look.kind, page.objects)
    counted = replace(look, found=look.found + found, registered=look.registered + registered)
    return replace(counted, after=page.last) if page.has_more else await _end_kind(part, counted, None)


def _count(part: _Slice, kind: Kind | None, objects: Sequence[Listed]) -> tuple[int, int]:
    """Return how many objects there are, and how many are registered; our own canaries are not counted."""
    if kind is None:
        return 0, 0
    with part.tools.database.read() as db:
        ids = {one.id for one in objects}
        ids -= canaries.among(db, kind, sorted(ids))
        account = part.project.account
        known = threads.registered_of(db, account=account, kind=kind, external_ids=sorted(ids))
    return len(ids), len(known)


async def _gives_way(part: _Slice) -> bool:
    """Whether the slice is over: by time, because the process stops, or because a deletion is ready."""
    tools = part.tools
    if tools.stopping() or tools.clock.monotonic() >= part.ends:
        return True

    def ready() -> bool:
        with tools.database.read() as db:
            return bool(work.credentials_ready(db, tools.clock.now()))

    return await asyncio.to_thread(ready)


async def _put_off(part: _Slice, look: Look, by: timedelta) -> bool:
    def keep() -> None:
        with part.tools.database.write() as db:
            coverages.keep(db, look, next_at=part.tools.clock.now() + by)

    await asyncio.to_thread(keep)
    return False


async def _end_kind(part: _Slice, look: Look, problem: str | None) -> Look | None:
    """Replace the kind's result and go on to the next kind, in one transaction; None where it is not ours."""
    return await asyncio.to_thread(_replace, part, look, problem)


def _replace(part: _Slice, look: Look, problem: str | None) -> Look | None:
    if look.kind is None:
        return look
    at = part.kinds.index(look.kind) + 1
    following = _at(look, part.kinds[at] if at < len(part.kinds) else None)
    now = part.tools.clock.now()
    with part.tools.database.write() as db:
        if not coverages.keep(db, following, next_at=now + part.tools.lease.length):
            return None
        coverages.replace_kind(
            db,
            look.project,
            KindCoverage(
                kind=look.kind,
                found=look.found,
                registered=look.registered,
                looked_at=now,
                problem=problem,
            ),
        )
    return following


def _finish(part: _Slice, look: Look) -> bool:
    """End the look, and tell once of what nobody registered; False where another has taken it."""
    tools, now = part.tools, part.tools.clock.now()
    with tools.database.write() as db:
        stored = coverages.of_projects(db, [look.project]).get(look.project, ())
        results = [one for one in stored if one.kind in part.kinds]
        strangers = sum(one.unregistered for one in results)
        # A list that failed hides what it would have shown: its absence is no improvement.
        incomplete = any(one.problem for one in results)
        told = max(look.told, strangers) if incomplete else strangers
        if not coverages.keep(db, replace(look, told=told), next_at=now + tools.look_every):
            return False
        coverages.drop_others(db, look.project, part.kinds)
    found = sum(one.found for one in results)
    log().info("coverage.looked", project=look.project, found=found, unregistered=strangers)
    if strangers > look.told:
        by_kind = {one.kind.value: one.unregistered for one in results if one.unregistered}
        raise_alert("coverage.unregistered", project=look.project, unregistered=strangers, kinds=by_kind)
    return True


def _fail(tools: Tools, look: Look, kinds: Sequence[Kind], problem: str) -> None:
    """Keep for every kind why nothing could be asked; the next try is sooner than the next look."""
    now = tools.clock.now()
    with tools.database.write() as db:
        if not coverages.keep(db, _at(look, None), next_at=now + min(tools.look_every, _TRY_AGAIN)):
            return
        for kind in kinds:
            told = KindCoverage(kind=kind, found=0, registered=0, looked_at=now, problem=problem)
            coverages.replace_kind(db, look.project, told)


def _at(look: Look, kind: Kind | None) -> Look:
    """Return the look at the beginning of that kind's list."""
    return replace(look, kind=kind, after=None, found=0, registered=0)
