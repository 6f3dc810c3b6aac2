"""The summary of one storm: what was done to Tenure, and what became of the threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from textwrap import fill

from sqlalchemy import func, select

from tests.chaos.invariants import ALL
from tests.chaos.people import People
from tests.chaos.storm import Storm
from worker.sandbox.server import SandboxServer
from worker.store.engine import Database
from worker.store.tables import attempt, audit_checkpoint, audit_head, sweep, thread, work_item

_WIDTH = 110


def summarise(*, seed: int, storm: Storm, people: People, sandbox: SandboxServer, database: Database) -> str:
    """Return it as text, one group a line."""
    requests = sandbox.requests()
    deletes = Counter(one.path for one in requests if one.method == "DELETE" and one.path.count("/") == 3)
    with database.read() as db:
        states = Counter(
            {
                f"{row.state} {row.grade or ''}".strip(): row.n
                for row in db.execute(
                    select(thread.c.state, thread.c.grade, func.count().label("n")).group_by("state", "grade")
                )
            }
        )
        deleted = sum(n for state, n in states.items() if state.startswith("deleted"))
        reclaimed = db.execute(
            select(func.count()).select_from(work_item).where(work_item.c.fence > 1)
        ).scalar_one()
        unanswered = db.execute(
            select(func.count()).select_from(attempt).where(attempt.c.answer.is_(None))
        ).scalar_one()
        sweeps = db.execute(select(func.count()).select_from(sweep)).scalar_one()
        size = db.execute(select(audit_head.c.size)).scalar_one()
        sealed = db.execute(select(func.count()).select_from(audit_checkpoint)).scalar_one()
    lines = {
        "seed": str(seed),
        "disturbances": _told(storm.counts),
        "roles that ended by themselves": _told(storm.fleet.ended),
        "people": _told(people.done),
        "threads": _told(states),
        "provider": f"{len(requests)} requests, {len(requests) / max(1, deleted):.1f} per deleted thread; "
        f"{sum(deletes.values())} DELETEs of threads, most for one: {max(deletes.values(), default=0)}",
        "recoveries": f"{reclaimed} items claimed again, {unanswered} answers lost with their worker",
        "log": f"{size} leaves, {sealed} checkpoints, {sweeps} sweeps",
        "checked": f"{len(ALL)} invariants as SQL, every checkpoint, the exports of every project",
    }
    return "\n".join(
        fill(f"{name}: {told}", width=_WIDTH, subsequent_indent="    ") for name, told in lines.items()
    )


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items())) or "none"
