"""Shred: destroy the bodies of one owner's entries, all of them or, where one must stay, none.

DANGER. What is shredded does not come back. Nothing goes while an active hold covers the owner or one of
the owner's threads, while such a thread is not at its end, or while an erasure of them is not settled: its
evidence is in these bodies. That is judged under the protection rows, in each transaction that empties some.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from worker.audit import bodies
from worker.audit.entry import Entry
from worker.flows.anchor import anchor
from worker.flows.needed import Need, holds_on_owner, of_threads
from worker.flows.owned import Owned, owned
from worker.flows.seal import Sealer, seal
from worker.model.clock import Clock
from worker.model.errors import Invalid, NotFound, TenureError
from worker.store import gone, log, needs, protections
from worker.store.engine import Database

PAGE = 2000
_SHOWN = 3
_WORDS: Mapping[Need, str] = {
    Need.HELD: "under an active hold",
    Need.ORDERED: "covered by an erasure that is not settled",
    Need.OPEN: "not at an end, or to be read again",
}


class BodiesNeeded(TenureError):
    """A hold covers the owner's bodies, or something that is under way needs them: nothing is shredded."""

    code = "bodies_needed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shredded:
    """How many bodies went (or would), by project; "" stands for entries of no project."""

    threads: int
    shredded: int
    projects: Mapping[str, int]


def shred(
    database: Database,
    sealer: Sealer,
    *,
    owner: str,
    reason: str,
    actor: str,
    clock: Clock,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Shredded:
    """Shred the bodies of the owner's entries that a checkpoint covers, 2,000 in a transaction.

    A crash, or a hold that is placed meanwhile, leaves the rest; the next run goes on. ``dry_run`` counts
    only. Raises Invalid for a reason that names the owner, NotFound for an owner whom nothing names,
    BodiesNeeded, LogRefused, SigningKeyMissing.
    """
    if owner.casefold() in reason.casefold():
        problem = "The reason names the owner, and it stays in the log."
        raise Invalid(problem, repair="Name a ticket or an order instead.", pointer="/reason")
    below = _sealed(database, sealer, clock, dry_run=dry_run)
    with database.read() as db:
        found = owned(db, owner, below=below, progress=progress)
        if found.is_nobody:
            problem = "No thread, order or entry names this owner."
            raise NotFound(problem, repair="`tenure threads list --owner` shows whose threads there are.")
        _refuse_needed(db, owner, found.threads)
    counted = {project: len(indices) for project, indices in found.by_project.items()}
    if not dry_run:
        counted = _destroy(database, owner, found, reason=reason, actor=actor, clock=clock, tell=progress)
    if any(counted.values()) and not dry_run:
        gone.drop_traces(database)
        seal(database, sealer, clock=clock, force=True)
        anchor(database, sealer.log, clock=clock)
    projects = {project or "": count for project, count in counted.items() if count}
    return Shredded(threads=len(found.threads), shredded=sum(projects.values()), projects=projects)


def _sealed(database: Database, sealer: Sealer, clock: Clock, *, dry_run: bool) -> int:
    """Return how many leaves are signed: nothing goes that no checkpoint covers."""
    if dry_run:
        with database.read() as db:
            newest = log.latest_seal(db)
    else:
        newest = seal(database, sealer, clock=clock, force=True)
    return newest.size if newest else 0


def _destroy(
    database: Database,
    owner: str,
    found: Owned,
    *,
    reason: str,
    actor: str,
    clock: Clock,
    tell: Callable[[int, int], None] | None,
) -> dict[str | None, int]:
    went: dict[str | None, int] = {}
    all_, done = sum(map(len, found.by_project.values())), 0
    for project, indices in found.by_project.items():

        def say(leaves: gone.Ranges, project: str | None = project) -> Entry:
            return bodies.body_shredded(project, leaves=leaves, reason=reason, at=clock.now(), actor=actor)

        for some in _in_parts(indices):
            with database.write() as db:
                protections.share(db, found.projects)
                _refuse_needed(db, owner, found.threads)
                went[project] = went.get(project, 0) + gone.empty(db, some, say)
            done += len(some)
            if tell is not None:
                tell(done, all_)
    return went


def _refuse_needed(db: Connection, owner: str, threads: Collection[str]) -> None:
    holds = protections.active_holds(db)
    if named := holds_on_owner(holds, owner):
        problem = f"The hold of {named[0].matter} covers this owner: nothing is shredded."
        raise BodiesNeeded(problem, repair="Release it first: `tenure hold list`.")
    if orders := needs.unsettled_for(db, owner):
        problem = f"The erasure {orders[0]} of this owner is not settled: nothing is shredded."
        raise BodiesNeeded(problem, repair="Its receipt says what it waits for: GET /v1/erasures/{id}.")
    needed = of_threads(db, threads, holds)
    for need, words in _WORDS.items():
        if names := sorted(name for name, why in needed.items() if why is need):
            told = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
            problem = f"{len(names)} threads of this owner are {words} ({told}): nothing is shredded."
            raise BodiesNeeded(problem, repair="`tenure threads show ID` says how each stands.")


def _in_parts(indices: list[int]) -> Iterator[list[int]]:
    for at in range(0, len(indices), PAGE):
        yield indices[at : at + PAGE]
