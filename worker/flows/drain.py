"""Drain: claim one batch of one credential, dispose of it, and say whether more is ready."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from worker.flows.arm import arm
from worker.flows.canary import allowed, probe
from worker.flows.claim import Batch, claim
from worker.flows.control import ControlDesk, Support
from worker.flows.desk import Desk, Settlement
from worker.flows.dispose import dispose
from worker.flows.grouping import Grouper
from worker.flows.rest import keep_rest, pauses
from worker.flows.settle import record_answers, settle
from worker.flows.tools import Tools, asker_of, find_kept, find_siblings, find_supported, is_expected
from worker.model.errors import TenureError
from worker.model.evidence import Observation, Step
from worker.model.thread import Thread
from worker.model.work import ItemState, WorkItem
from worker.pacing.waiters import Rank
from worker.store import stops, work
from worker.telemetry import log, raise_alert, traces

_PROBE_FIRST = timedelta(minutes=1)
_SWEEPS_TOLD = 20


async def drain(tools: Tools, credential: str) -> Counter[str]:
    """Claim and dispose of one batch; returns the states its items ended in, empty when nothing was ready."""
    batch = await asyncio.to_thread(
        claim,
        tools.database,
        credential,
        by=tools.actor,
        lease=tools.lease,
        clock=tools.clock,
        drains=tools.drains,
    )
    if not batch.items:
        return Counter()
    began = tools.clock.monotonic()
    with traces.span("batch", facts={"tenure.items": len(batch.items)}):
        told = await _drained(tools, batch)
    log().info(
        "batch.drained",
        credential=credential,
        items=len(batch.items),
        sweeps=sorted({one.sweep_id for one in batch.items})[:_SWEEPS_TOLD],
        seconds=round(tools.clock.monotonic() - began, 3),
        **dict(told),
    )
    return told


async def _drained(tools: Tools, batch: Batch) -> Counter[str]:
    strays = [item for item in batch.items if item.project not in batch.projects]
    if strays:
        # Their project left the policies: without its document nothing may be sent, and nothing is lost.
        gone = ProjectGone("The project of these threads is gone.", repair="Put its document back.")
        await asyncio.to_thread(_put_back, tools, batch.credential, strays, gone)
        batch = replace(batch, items=[item for item in batch.items if item.project in batch.projects])
    told = Counter({ItemState.WAITING.value: len(strays)} if strays else {})
    return told + await _work_off(tools, batch) if batch.items else told


class ProjectGone(TenureError):
    """Work items name a project of which the bundle in force has no document."""

    code = "project_gone"


async def _work_off(tools: Tools, batch: Batch) -> Counter[str]:
    try:
        desk = _desk(tools, batch)
    except TenureError as e:
        # Without a key nothing can be sent: everything waits, and a person is told.
        await asyncio.to_thread(_put_back, tools, batch.credential, batch.items, e)
        return Counter({ItemState.WAITING.value: len(batch.items)})
    try:
        async with desk.asker.patience.watched():
            told = await dispose(desk)
    finally:
        await keep_rest(tools, batch.credential, desk.asker.pauses, rounds=batch.throttled_rounds)
    await _restart_probed(tools, desk)
    await _keep_stopped(tools, desk)
    return told


def _desk(tools: Tools, batch: Batch) -> Desk:
    asker = asker_of(
        tools,
        list(batch.projects.values()),
        batch.nothing_leaves_after,
        pauses=pauses(batch.throttled_rounds),
    )

    async def read(thread: Thread, step: Step) -> Observation:
        return await asker.read(thread, step, rank=Rank.CONTROL)

    async def canary(thread: Thread) -> Support | None:
        project = batch.projects[thread.project]
        return await probe(tools, asker, project, thread.kind) if allowed(project, thread.kind) else None

    return Desk(
        batch=batch,
        asker=asker,
        controls=ControlDesk(read, find_siblings(tools), is_expected(tools), tools.clock, canary),
        arm=Grouper(lambda group: arm(tools.database, group, actor=tools.actor, clock=tools.clock)),
        answered=Grouper(
            lambda group: record_answers(tools.database, group, actor=tools.actor, clock=tools.clock)
        ),
        settle=Grouper(lambda group: _settle(tools, group)),
        clock=tools.clock,
        graded={item.id: asyncio.Event() for item in batch.items},
        stopped=set(),
        refused=set(),
        stopping=tools.stopping,
        supported=find_supported(tools),
        keeping=find_kept(tools),
    )


def _settle(tools: Tools, group: Sequence[Settlement]) -> list[bool]:
    return settle(
        tools.database, group, actor=tools.actor, clock=tools.clock, reverify_after=tools.reverify_after
    )


def _put_back(tools: Tools, credential: str, items: Sequence[WorkItem], why: TenureError) -> None:
    raise_alert("credential.unusable", credential=credential, problem=why.problem, repair=why.repair)
    now = tools.clock.now()
    with tools.database.write() as db:
        next_at = work.time_of_waits(db, now) + _PROBE_FIRST
        for item in items:
            work.settle(
                db,
                item,
                ItemState.WAITING,
                now=now,
                next_at=next_at,
                reason=why.problem,
                counters={"reads": item.reads, "rereads": item.rereads, "rounds": item.rounds},
            )


async def _restart_probed(tools: Tools, desk: Desk) -> None:
    """A stopped pair goes on once a registered thread of it was read present, unless its control failed anew.

    That is its probe, or the control of a chosen child: its kind may have no items of its own to probe with.
    """
    probed = sorted(one for one in desk.batch.stopped - desk.stopped if desk.controls.held(one))
    if not probed:
        return

    def restart() -> None:
        with tools.database.write() as db:
            for project, kind in probed:
                stops.restart_pair(db, project=project, kind=kind)

    await asyncio.to_thread(restart)


async def _keep_stopped(tools: Tools, desk: Desk) -> None:
    """Keep what stopped in this batch, alert once, and say when it may be probed again."""
    if not desk.stopped:
        return
    now = tools.clock.now()

    def keep() -> list[tuple[str, str]]:
        with tools.database.write() as db:
            failures = stops.stopped_pairs(db)
            waits_from = work.time_of_waits(db, now)
            return [
                pair
                for pair in sorted(desk.stopped)
                if stops.stop_pair(
                    db,
                    project=pair[0],
                    kind=pair[1],
                    probe_at=waits_from + min(stops.LONGEST_STOP, _PROBE_FIRST * 2 ** failures.get(pair, 0)),
                    now=now,
                    reason="the control failed",
                )
            ]

    for project, kind in await asyncio.to_thread(keep):
        raise_alert("control.failed", project=project, kind=kind)
