"""Re-verify: what was called deleted is read again a day later, with a control of its own.

Gone again, while a live sibling answers: `sustained`. Readable again: `still_present`, parked, and an alert.
Anything else says nothing: it is read again some hours later, and after a few tries the grade stays as it is.
The grade is folded from the passes that the log recorded, never from a status column.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from worker.audit import bodies
from worker.audit.entry import Entry
from worker.audit.observed import Tried, read_tried
from worker.flows.ask import Asker
from worker.flows.control import ControlDesk, Support
from worker.flows.decide import bundle_in_force
from worker.flows.discover import sharing
from worker.flows.grouping import Grouper
from worker.flows.observed import kept_evidence
from worker.flows.patience import LeaseShort
from worker.flows.rest import keep_rest
from worker.flows.tools import Tools, asker_of, find_siblings, is_expected
from worker.model.chosen import ChosenChild
from worker.model.clock import parse_rfc3339
from worker.model.evidence import Class, Control, Grade, Observation, Reread, Step, fold, grade
from worker.model.thread import Thread, ThreadState
from worker.pacing.base import CoolingDown, PacerUnavailable
from worker.pacing.waiters import Rank
from worker.policy.document import Project
from worker.providers.profiles import profile
from worker.store import log, references, reverifying, threads, work
from worker.store.threads import StoredThread
from worker.telemetry import log as logger
from worker.telemetry import raise_alert

_MOST = 100
_MOST_TRIES = 5
_TRY_AGAIN = timedelta(hours=6)
# The answer to a DELETE and a control may be absent as well, and are no read of the thread.
_READS = frozenset({Step.BEFORE, Step.AFTER, Step.REREAD})
SUSTAINED_AFTER = timedelta(hours=24)
"""A later read sustains a grade no sooner than this (DESIGN: Evidence and grades)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """One thread to read again, with the grade's own record."""

    stored: StoredThread
    project: Project
    tries: int
    graded: dict[str, Any]

    @property
    def thread(self) -> Thread:
        return self.stored.thread


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What a later read saw, and what supports it."""

    taken: _Taken
    seen: Observation
    support: Support


async def reverify(tools: Tools, credential: str) -> Counter[str]:
    """Read again what is due for one credential; returns the grades that it ended in."""
    # The worker's own limit starts before the statement, so it always ends before the lease does.
    began = tools.clock.monotonic()
    taken, until = await asyncio.to_thread(_take, tools, credential)
    if not taken:
        return Counter()
    beside = await asyncio.to_thread(sharing, tools.database, taken[0].project)
    asker = asker_of(tools, beside, began + tools.lease.last_send.total_seconds())

    async def read(thread: Thread, step: Step) -> Observation:
        return await asker.read(thread, step, rank=Rank.READ)

    desk = ControlDesk(read, find_siblings(tools), is_expected(tools), tools.clock)
    write = Grouper[_Read, Grade](lambda group: _write(tools, group, until))
    async with asker.patience.watched():
        ended = await asyncio.gather(*(_one(asker, desk, write, one) for one in taken))
    await keep_rest(tools, credential, asker.pauses, rounds=0)
    told = Counter(one for one in ended if one is not None)
    logger().info("threads.reverified", credential=credential, **told)
    return told


def _take(tools: Tools, credential: str) -> tuple[list[_Taken], datetime]:
    with tools.database.write() as db:
        bundle = bundle_in_force(db)
        projects = {one.name: one for one in bundle.projects.values() if one.credential == credential}
        now = work.time_of_waits(db, tools.clock.now())
        until = now + tools.lease.length
        found = reverifying.take(db, projects, now=now, until=until, limit=_MOST)
        tried = reverifying.tries(db, [one.thread.id for one in found])
        taken = [
            _Taken(
                stored=one,
                project=projects[one.thread.project],
                tries=tried[one.thread.id],
                graded=_graded(db, one),
            )
            for one in found
            if projects[one.thread.project].account == one.thread.account
        ]
        return taken, until


def _graded(db: Connection, stored: StoredThread) -> dict[str, Any]:
    """Return the body of the entry that graded this thread: the passes to fold with the later read."""
    index = (stored.evidence or {}).get("entry")
    body = log.body_at(db, index) if index is not None else None
    return json.loads(body) if body is not None else {}


async def _one(asker: Asker, desk: ControlDesk, write: Grouper[_Read, Grade], one: _Taken) -> str | None:
    """Read one thread again; where that is not possible now, its lease runs out and it is taken anew."""
    try:
        seen = await asker.read(one.thread, Step.REREAD)
        support = Support(control=Control.NONE)
        if seen.seen is Class.OBJECT_ABSENT:
            support = await desk.support((one.thread.project, one.thread.kind.value), one.thread)
    except (LeaseShort, PacerUnavailable, CoolingDown):
        return None
    return (await write.submit(_Read(taken=one, seen=seen, support=support))).value


def _write(tools: Tools, group: Sequence[_Read], until: datetime) -> list[Grade]:
    now = tools.clock.now()
    grades: list[Grade] = []
    entries: list[Entry] = []
    named: list[tuple[str, int]] = []
    with tools.database.write() as db:
        chosen = references.chosen_of(db, {one.taken.thread.id for one in group})
        again_at = work.time_of_waits(db, now) + _TRY_AGAIN
        for one in group:
            graded, owned = _settle(db, one, again_at, until)
            grades.append(graded)
            if not owned:
                continue
            entries += _read_entries(one, now, tools.actor)
            if graded is not one.taken.stored.grade:
                named.append((one.taken.thread.id, len(entries)))
                children = chosen.get(one.taken.thread.id, [])
                entries.append(_grade_entry(one, graded, children, now, tools.actor))
        indices = log.append(db, entries)
        for thread_id, position in named:
            threads.set_entry(db, thread_id, indices[position])
    for one, graded in zip(group, grades, strict=True):
        if graded is Grade.STILL_PRESENT:
            thread = one.taken.thread
            raise_alert("thread.reappeared", thread=thread.id, project=thread.project, kind=thread.kind.value)
    return grades


def _passes(one: _Read) -> list[Tried]:
    return [read_tried(passed) for passed in one.taken.graded.get("passes", [])]


def _settle(db: Connection, one: _Read, again_at: datetime, until: datetime) -> tuple[Grade, bool]:
    stored = one.taken.stored
    before = stored.grade or Grade.CONTROL_FAILED
    graded = before if _is_early(one) else _regraded(before, one)
    settled = graded in {Grade.SUSTAINED, Grade.STILL_PRESENT}
    again = None if settled or one.taken.tries + 1 >= _MOST_TRIES else again_at
    present = graded is Grade.STILL_PRESENT
    attempts = int((stored.evidence or {}).get("attempts", 0))
    owned = reverifying.settle(
        db,
        stored.thread.id,
        taken_until=until,
        next_at=again,
        state=ThreadState.PARKED if present else ThreadState.DELETED,
        grade=graded,
        evidence=kept_evidence(stored.evidence, graded, attempts, _observations(one)),
        reason=graded.value if present else None,
    )
    return graded, owned


def _regraded(before: Grade, one: _Read) -> Grade:
    return regrade(before, _passes(one), Reread(seen=one.seen.seen, control=one.support.control))


def _is_early(one: _Read) -> bool:
    """Whether an absent read came less than a day after the one that it is to sustain, as both are dated.

    A clock was set: who reads the log sees the dates alone. It is read again later.
    """
    absent = [
        parse_rfc3339(seen["at"])
        for seen in one.taken.graded.get("observations", [])
        if seen["class"] == Class.OBJECT_ABSENT and seen["step"] in _READS
    ]
    return (
        one.seen.seen is Class.OBJECT_ABSENT and bool(absent) and one.seen.at < absent[-1] + SUSTAINED_AFTER
    )


def regrade(before: Grade, tried: Sequence[Tried], reread: Reread) -> Grade:
    """Return the grade with a later read: only a read that counts changes it, and a control must be good."""
    counts = reread.seen is Class.OBJECT_ABSENT and reread.control is Control.GOOD
    if not tried or not (counts or reread.seen is Class.PRESENT):
        return before
    return grade(fold([one.saw for one in tried], reread=reread))


def _observations(one: _Read) -> list[Observation]:
    control = one.support.observation
    return [one.seen, *([replace(control, step=Step.CONTROL)] if control else [])]


def _read_entries(one: _Read, now: datetime, actor: str) -> list[Entry]:
    thread, graded = one.taken.thread, one.taken.graded
    entries = [
        bodies.thread_reread(
            thread,
            item=str(graded.get("item", "")),
            fence=int(graded.get("fence", 0)),
            seen=one.seen,
            control=one.support.control,
            at=now,
            actor=actor,
        )
    ]
    if one.support.observation is not None:
        entries.append(
            bodies.control_probed(
                thread.project,
                kind=thread.kind,
                control=one.support.control,
                seen=[one.support.observation],
                supports=[thread.id],
                at=now,
                actor=actor,
            )
        )
    return entries


def _grade_entry(
    one: _Read, graded: Grade, children: Sequence[ChosenChild], now: datetime, actor: str
) -> Entry:
    old = one.taken.graded
    body = bodies.Graded(
        item=str(old["item"]),
        fence=int(old["fence"]),
        sweep=str(old["sweep"]),
        policy=str(old["policy"]),
        bundle=str(old["bundle"]),
        grade=graded,
        tried=_passes(one),
        observations=_observations(one),
        deletion_semantics=profile(one.taken.project.profile).facts(one.taken.thread.kind).deletion_semantics,
        attempts=int(old["attempts"]),
        credential=str(old["credential"]),
        reread=Reread(seen=one.seen.seen, control=one.support.control),
        chosen=children,
    )
    return bodies.thread_graded(one.taken.thread, body, at=now, actor=actor)
