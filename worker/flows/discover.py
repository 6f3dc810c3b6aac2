"""Discover: list what a provider holds and nobody registered, for kinds that can be listed.

It reads ids and dates only, never content, and changes nothing unless it is asked to adopt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from worker.flows.ask import Asker
from worker.flows.decide import bundle_in_force
from worker.flows.register import MOST_AT_ONCE, Registration, register_many
from worker.flows.tools import Tools, asker_of
from worker.model.errors import Invalid, TenureError
from worker.model.evidence import Class
from worker.model.thread import Kind
from worker.policy.document import Project
from worker.providers.base import Listed
from worker.providers.table import KINDS, NotListable
from worker.store import threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What one kind's list held. ``problem`` says why a list is missing or incomplete."""

    kind: Kind
    found: int = 0
    unregistered: tuple[Listed, ...] = ()
    problem: str | None = None

    @property
    def registered(self) -> int:
        """How many of the found objects somebody registered."""
        return self.found - len(self.unregistered)


async def discover(
    tools: Tools, project: str, *, kinds: Sequence[Kind] | None = None, progress: Callable[[int], None]
) -> list[Coverage]:
    """List the kinds of one project that can be listed; ``progress`` is told how many objects were seen.

    Raises Invalid for an unknown project and KeyMissing or KeyNotAllowed for its key.
    """
    found = await asyncio.to_thread(_project, tools, project)
    until = tools.clock.monotonic() + tools.lease.last_send.total_seconds()
    asker = asker_of(tools, [found], until)
    wanted = kinds or [kind for kind in Kind if kind in KINDS and KINDS[kind].listable]
    told, seen = [], 0
    for kind in wanted:
        coverage = await _one_kind(tools, asker, project, kind)
        seen += coverage.found
        progress(seen)
        told.append(coverage)
    return told


def _project(tools: Tools, name: str) -> Project:
    with tools.database.read() as db:
        found = bundle_in_force(db).projects.get(name)
    if found is None:
        problem = "No such project is known."
        raise Invalid(
            problem, repair="Name a Project document of the policies folder.", code="unknown_project"
        )
    return found


async def _one_kind(tools: Tools, asker: Asker, project: str, kind: Kind) -> Coverage:
    listed: list[Listed] = []
    after: str | None = None
    problem: str | None = None
    while True:
        try:
            page = await asker.list_page(kind, after=after)
        except NotListable as e:
            return Coverage(kind=kind, problem=e.problem)
        except TenureError as e:
            problem = e.problem
            break
        if page.observation.seen is not Class.PRESENT:
            problem = f"the list answered {page.observation.status or page.observation.seen.value}"
            break
        listed.extend(page.objects)
        if not page.has_more or page.last is None or page.last == after:
            break
        after = page.last
    known = await asyncio.to_thread(_known, tools, project, kind, [one.id for one in listed])
    strangers = tuple(one for one in listed if one.id not in known)
    return Coverage(kind=kind, found=len(listed), unregistered=strangers, problem=problem)


def _known(tools: Tools, project: str, kind: Kind, ids: Sequence[str]) -> set[str]:
    with tools.database.read() as db:
        return threads.registered_of(db, project=project, kind=kind, external_ids=ids)


def adopt(
    tools: Tools, project: str, coverage: Sequence[Coverage], *, owner: str, ttl: str | None, now: datetime
) -> int:
    """Register what was found, with this owner and TTL; returns how many are new. Safe to run twice."""
    wanted = [
        Registration(
            external_id=one.id,
            project=project,
            owner=owner,
            kind=kind.kind,
            ttl=ttl,
            created_at=one.created_at,
            given=frozenset({"ttl"} if ttl else ()),
        )
        for kind in coverage
        for one in kind.unregistered
    ]
    made = 0
    for start in range(0, len(wanted), MOST_AT_ONCE):
        with tools.database.write() as db:
            done = register_many(
                db,
                wanted[start : start + MOST_AT_ONCE],
                actor=tools.actor,
                now=now,
                refused=lambda _number, _why: None,
            )
        made += sum(one is not None and one.created for one in done)
    return made
