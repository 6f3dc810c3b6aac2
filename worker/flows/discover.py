"""Discover: list what a provider holds and nobody registered, for kinds that can be listed.

It reads ids and dates only, never content, and changes nothing unless it is asked to adopt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
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
from worker.providers.base import Listed, ListPage
from worker.providers.profiles import profile
from worker.providers.table import NotListable
from worker.store import threads
from worker.store.engine import Database


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
    found = await asyncio.to_thread(known_project, tools.database, project)
    beside = await asyncio.to_thread(sharing, tools.database, found)
    until = tools.clock.monotonic() + tools.lease.last_send.total_seconds()
    asker = asker_of(tools, beside, until)
    told, seen = [], 0
    for kind in kinds or listable_kinds(found):
        coverage = await _one_kind(tools, asker, found, kind)
        seen += coverage.found
        progress(seen)
        told.append(coverage)
    return told


def listable_kinds(project: Project) -> list[Kind]:
    """Return the kinds that the project's profile offers and a key can list; raises what `profile` raises."""
    known = profile(project.profile).kinds
    return [kind for kind in Kind if kind in known and known[kind].listable]


def unlisted_kinds(project: Project) -> Mapping[Kind, str]:
    """Return the kinds that have no list for a key, each with the reason."""
    known = profile(project.profile).kinds
    return {kind: known[kind].unlisted for kind in Kind if kind in known and known[kind].unlisted}


def list_problem(page: ListPage) -> str | None:
    """Return why a page says nothing, or None where it can be relied on."""
    seen = page.observation
    return None if seen.seen is Class.PRESENT else f"the list answered {seen.status or seen.seen.value}"


def known_project(database: Database, name: str) -> Project:
    """Return a project of the bundle in force; raises Invalid where there is none of that name."""
    with database.read() as db:
        found = bundle_in_force(db).projects.get(name)
    if found is None:
        problem = "No such project is known."
        raise Invalid(
            problem, repair="Name a Project document of the policies folder.", code="unknown_project"
        )
    return found


def sharing(database: Database, project: Project) -> list[Project]:
    """Return the projects on this one's credential, itself first."""
    with database.read() as db:
        known = bundle_in_force(db).projects.values()
    return [project, *(one for one in known if _shares(one, project))]


def _shares(one: Project, other: Project) -> bool:
    return one.credential == other.credential and one.name != other.name


async def _one_kind(tools: Tools, asker: Asker, project: Project, kind: Kind) -> Coverage:
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
        problem = list_problem(page)
        if problem is not None:
            break
        listed.extend(page.objects)
        if not page.has_more or page.last is None or page.last == after:
            break
        after = page.last
    known = await asyncio.to_thread(_known, tools, project, kind, [one.id for one in listed])
    strangers = tuple(one for one in listed if one.id not in known)
    return Coverage(kind=kind, found=len(listed), unregistered=strangers, problem=problem)


def _known(tools: Tools, project: Project, kind: Kind, ids: Sequence[str]) -> set[str]:
    with tools.database.read() as db:
        return threads.registered_of(db, account=project.account, kind=kind, external_ids=ids)


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
