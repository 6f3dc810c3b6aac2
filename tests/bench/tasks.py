"""What is measured, each in a process of its own: `python -m tests.bench.tasks` with the task as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import not_, select, text, update

from tests.bench.registry import KEPT, Registry, policy_name
from worker.flows.activate import recompute
from worker.flows.sweep import Order, sweep
from worker.model.clock import SystemClock
from worker.policy.compile import Columns, match_clause
from worker.policy.document import Match, Policy
from worker.store import bundles, due, threads
from worker.store.due import Due
from worker.store.engine import Database, changed, open_database
from worker.store.tables import thread

_FETCHED_AT_ONCE = 10_000
_TICK = timedelta(milliseconds=1)
_LEFT_BY_RUNS = ("work_item", "sweep_plan", "sweep")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One measurement: its name, where, over how many threads and policies, and how many of them are due."""

    name: str
    url: str
    threads: int
    policies: int
    due: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How long it took, over how many rows, and the most memory that its process held."""

    seconds: float
    rows: int
    megabytes: float


class SteppingClock(SystemClock):
    """Goes on by a millisecond whenever it is read: ids rise as they do in life. Monotonic seconds pass."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        self._at += _TICK
        return self._at


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a task works on."""

    database: Database
    registry: Registry
    now: datetime
    clock: SteppingClock

    @property
    def sweeps(self) -> list[Due]:
        """What each policy's sweep looks at."""
        digest = self.registry.bundle.digest
        names = [policy_name(number) for number in range(self.registry.policies)]
        return [Due(policy=name, bundle=digest, now=self.now) for name in names]


def plan(place: Place) -> int:
    """Plan a sweep of every policy, up to its digest, population, verdict and entry; nothing is released."""
    return sum(_sweep(place, one.policy, dry_run=True) for one in place.sweeps)


def sweep_all(place: Place) -> int:
    """Plan and release: every due thread becomes a work item."""
    return sum(_sweep(place, one.policy, dry_run=False) for one in place.sweeps)


def _sweep(place: Place, policy: str, *, dry_run: bool) -> int:
    order = Order(policy=policy, slot=None, dry_run=dry_run)
    made = sweep(place.database, order, actor="bench tenure/0", clock=place.clock)
    assert made is not None
    return made.planned


def select_fetched(place: Place) -> int:
    """Fetch id and date of every due thread of each policy: the predicate of planning, and nothing else."""
    count = 0
    with place.database.read() as db:
        for one in place.sweeps:
            rows = db.execute(_due(one), execution_options={"yield_per": _FETCHED_AT_ONCE})
            count += sum(len(part) for part in rows.partitions())
    return count


def _due(one: Due) -> Any:
    return select(thread.c.id, thread.c.evaluate_at).where(
        due._within(one, None, None), due._is_certain(one), due._is_free(), not_(due.is_held(one.holds))
    )


def population_of_all(place: Place) -> int:
    """Count as a guard does, for a policy that covers everything."""
    return _population(place, Match(all=True))


def population_by_project(place: Place) -> int:
    """Count as a guard does, for a policy that names the projects of its threads."""
    return _population(place, Match(projects=("project-*",)))


def population_by_owner(place: Place) -> int:
    """Count as a guard does, for a policy that names owners, whom no index serves."""
    return _population(place, Match(owners=("team-*",)))


def _population(place: Place, match: Match) -> int:
    rule = Policy(name="p", owner="bench", match=match)
    with place.database.read() as db:
        return threads.population(db, match_clause(rule, Columns.of(thread)))


def recompute_all(place: Place) -> int:
    """Compute every stored date anew, as after a change of policies."""
    bundle = place.registry.bundle
    with place.database.write() as db:
        bundles.activate(db, digest=bundle.digest, canonical=bundle.canonical, origin={}, now=place.now)
    assert recompute(place.database, clock=place.clock)
    return place.registry.threads


def update_bare(place: Place) -> int:
    """Write the same columns of the same rows in one statement."""
    values = {
        "evaluate_at": thread.c.evaluate_at,
        "due_policy": thread.c.due_policy,
        "evaluated_under": place.registry.bundle.digest,
    }
    with place.database.write() as db:
        return changed(db, update(thread).where(thread.c.state == "live").values(values))


TASKS: Mapping[str, Callable[[Place], int]] = {
    "plan": plan,
    "sweep": sweep_all,
    "select_fetched": select_fetched,
    "population_of_all": population_of_all,
    "population_by_project": population_by_project,
    "population_by_owner": population_by_owner,
    "recompute": recompute_all,
    "update_bare": update_bare,
}


def measure(task: Task) -> Measured:
    """Put the database back to its beginning, then run the task once against the clock."""
    registry = Registry(threads=task.threads, policies=task.policies)
    now = registry.when_due(task.due) if task.due else registry.when_due(1) - KEPT
    database, clock = open_database(task.url), SteppingClock(now)
    place = Place(database=database, registry=registry, now=now, clock=clock)
    _begin(place)
    begun = time.perf_counter()
    rows = TASKS[task.name](place)
    seconds = time.perf_counter() - begun
    place.database.dispose()
    return Measured(seconds=seconds, rows=rows, megabytes=peak())


def peak() -> float:
    """Return the most memory that this process held, in MB (2**20 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():
        # What Linux tells getrusage begins with the memory of the process that forked this one.
        [line] = [one for one in status.read_text().splitlines() if one.startswith("VmHWM:")]
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024**2 if sys.platform == "darwin" else 1024
    )


def _begin(place: Place) -> None:
    database, bundle = place.database, place.registry.bundle
    with database.write() as db:
        for table in _LEFT_BY_RUNS:
            # The names are those above.
            db.execute(text(f"delete from {table}" if database.is_sqlite else f"truncate {table} cascade"))  # noqa: S608
        bundles.activate(db, digest=bundle.digest, canonical=bundle.canonical, origin={}, now=place.now)
        bundles.advance_recompute(db, digest=bundle.digest, after=None)
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("vacuum analyze thread"))


if __name__ == "__main__":
    print(json.dumps(asdict(measure(Task(**json.loads(sys.argv[1]))))))
