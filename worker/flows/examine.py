"""Examine: whether one project's key, address and endpoints answer as a deletion will need them.

Every request is a GET of something that is registered; nothing is made, changed or deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from email.utils import parsedate_to_datetime

from worker.flows.ask import Asker
from worker.flows.tools import Tools, asker_of
from worker.model.errors import TenureError
from worker.model.evidence import Class, Observation, Step
from worker.model.ids import ThreadId
from worker.model.thread import Kind, Thread
from worker.pacing.waiters import Rank
from worker.policy.document import Project
from worker.providers.profiles import profile
from worker.store import siblings

# As many as a control tries: one that a person deleted by hand says nothing about the route.
_MOST_READS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class KindExamined:
    """How one kind with registered live threads answered.

    ``seen`` is the last answer, or None where nothing could be asked, which ``failure`` explains.
    ``end_warning`` tells of a published end date that is near or past.
    """

    kind: Kind
    seen: Observation | None = None
    reads: int = 0
    failure: TenureError | None = None
    end_warning: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What was found of one project.

    ``failure`` says why nothing could be asked, such as a key that does not resolve. ``ahead`` is how far
    our clock is ahead of the provider's Date header (RFC 9110, whole seconds), None where none was heard.
    """

    project: Project
    kinds: tuple[KindExamined, ...] = ()
    ahead: timedelta | None = None
    failure: TenureError | None = None


async def examine(tools: Tools, project: Project) -> Examined:
    """Read one registered live thread of each kind; a failure is a finding and is not raised."""
    until = tools.clock.monotonic() + tools.lease.last_send.total_seconds()
    try:
        asker = asker_of(tools, [project], until)
        known = await asyncio.to_thread(_registered, tools, project)
    except TenureError as e:
        return Examined(project=project, failure=e)
    today = tools.clock.now().date()
    kinds = await asyncio.gather(*(_kind(asker, project, live, today) for live in known))
    return Examined(
        project=project, kinds=tuple(kinds), ahead=_ahead(one.seen for one in kinds if one.seen is not None)
    )


def _registered(tools: Tools, project: Project) -> list[list[Thread]]:
    """Return some live threads of each kind that has any in the account that the project now names."""
    now = tools.clock.now()
    with tools.database.read() as db:
        found = [
            siblings.find(
                db,
                Thread(
                    id=ThreadId(""),
                    kind=kind,
                    external_id="",
                    project=project.name,
                    owner="",
                    registered_at=now,
                    account=project.account,
                ),
                exclude=(),
                limit=_MOST_READS,
            )
            for kind in Kind
        ]
    return [live for live in found if live]


async def _kind(asker: Asker, project: Project, live: Sequence[Thread], today: date) -> KindExamined:
    kind, seen, reads = live[0].kind, None, 0
    warning: str | None = None
    try:
        warning = profile(project.profile).facts(kind).end_warning(today)
        for thread in live:
            seen = await asker.read(thread, Step.CONTROL, rank=Rank.READ)
            reads += 1
            if seen.seen is not Class.OBJECT_ABSENT:
                break
    except TenureError as e:
        return KindExamined(kind=kind, seen=seen, reads=reads, failure=e, end_warning=warning)
    return KindExamined(kind=kind, seen=seen, reads=reads, end_warning=warning)


def _ahead(seen: Iterable[Observation]) -> timedelta | None:
    """Return the smallest difference: what a slow answer adds is not the clock's."""
    told = [ahead for one in seen if (ahead := _ahead_of(one)) is not None]
    return min(told, key=abs, default=None)


def _ahead_of(seen: Observation) -> timedelta | None:
    try:
        at = parsedate_to_datetime(seen.provider_date) if seen.provider_date else None
    except ValueError:
        return None
    if at is None:
        return None
    # "-0000" reads as naive; HTTP dates are always UTC.
    return seen.at - (at if at.tzinfo else at.replace(tzinfo=UTC))
