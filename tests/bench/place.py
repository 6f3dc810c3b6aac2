"""Where Tenure works in a measurement: a database with policies in force, threads registered and swept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from tests.bench.measure import Sandbox
from tests.servers.postgres import Postgres
from worker.flows.activate import Source, activate, recompute, refresh
from worker.flows.register import Registration, register_many
from worker.flows.sweep import Order, sweep
from worker.model.clock import SystemClock
from worker.model.errors import TenureError
from worker.model.thread import Kind
from worker.store import log, migrate, protections
from worker.store.engine import Database, open_database
from worker.store.tables import thread

PROJECT = "bench"
POLICY = "all-30d"
KEY = "key-of-the-bench"
OLD = timedelta(days=40)
# A project must name a rate; no engine comes near this one.
UNLIMITED = "{limit: 100000/s, burst: 1000, share: 1.0}"
_AT_ONCE = 1000

_POLICIES = """
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {{name: all-30d, owner: bench}}
spec:
  mode: enforce
  match: {{all: true}}
  delete: {{after: 30d}}
  schedule: {{cron: "* * * * *"}}
  guards: {{max_deletes: 1000000, max_percent: 100, min_population: 0, window: 24h}}
---
apiVersion: retention/v1
kind: Project
metadata: {{name: bench, owner: bench}}
spec:
  provider: openai
  base_url: {base_url}
  api_key: {{env: TENURE_KEY_BENCH}}
  rate: {rate}
  concurrency: {concurrency}
"""


@dataclass(slots=True, kw_only=True)
class Place:
    """One deployment's database and settings; ``environment`` is what its processes are started with."""

    url: str
    database: Database
    folder: Path
    environment: dict[str, str]
    clock: SystemClock = field(default_factory=SystemClock)

    def put_in_force(self, base_url: str, rate: str = UNLIMITED, concurrency: int = 64) -> None:
        """Activate the one policy and the one project."""
        told = _POLICIES.format(base_url=base_url, rate=rate, concurrency=concurrency)
        (self.folder / "policies.yaml").write_text(told)
        source = Source(folder=self.folder, key_globs=("TENURE_KEY_*",))
        done = activate(self.database, source, actor="bench tenure/0", clock=self.clock)
        assert done.changed, done.loaded.findings
        recompute(self.database, clock=self.clock)

    def register(self, ids: Sequence[str], kind: Kind, created_at: datetime) -> None:
        """Register objects of the sandbox."""
        for start in range(0, len(ids), _AT_ONCE):
            wanted = [
                Registration(
                    external_id=one, project=PROJECT, owner="bench", kind=kind, created_at=created_at
                )
                for one in ids[start : start + _AT_ONCE]
            ]
            with self.database.write() as db:
                register_many(db, wanted, actor="bench tenure/0", now=self.clock.now(), refused=_refused)

    def sweep(self) -> int:
        """Plan and release what is due now; returns how many."""
        refresh(self.database, clock=self.clock)
        order = Order(policy=POLICY, slot=None, dry_run=False)
        made = sweep(self.database, order, actor="bench tenure/0", clock=self.clock)
        assert made is not None
        return made.planned

    def grades(self) -> Counter[str]:
        """Count the threads by grade; those without one are counted by their state."""
        with self.database.read() as db:
            rows = db.execute(select(thread.c.grade, thread.c.state)).all()
        return Counter(grade or state for grade, state in rows)

    def called_deleted(self) -> list[str]:
        """The provider's ids of what Tenure calls deleted."""
        with self.database.read() as db:
            return list(db.execute(select(thread.c.external_id).where(thread.c.state == "deleted")).scalars())


def _refused(number: int, why: TenureError) -> None:
    raise AssertionError((number, why.problem))


@contextmanager
def place(server: Postgres, redis_url: str, redis_prefix: str, folder: Path) -> Iterator[Place]:
    """Make a migrated database of its own, for as long as the block runs."""
    name = server.create()
    folder.mkdir(parents=True, exist_ok=True)
    policies = folder / "policies"
    policies.mkdir(exist_ok=True)
    (folder / "signing.key").write_text("07" * 32)
    url = server.url(name)
    database = open_database(url)
    try:
        migrate.upgrade(database)
        with database.write() as db:
            log.create_head(db)
            protections.ensure_rows(db, [protections.EVERYTHING])
        yield Place(
            url=url,
            database=database,
            folder=policies,
            environment={
                "TENURE_DATA_DIR": str(folder / "data"),
                "TENURE_DATABASE_URL": url,
                "TENURE_REDIS_URL": redis_url,
                "TENURE_BROKER_URL": redis_url,
                "TENURE_REDIS_PREFIX": redis_prefix,
                "TENURE_POLICIES": str(policies),
                "TENURE_SIGNING_KEY_FILE": str(folder / "signing.key"),
                "TENURE_AUDIT_ORIGIN": "bench.local/retention",
                "TENURE_LOG_FORMAT": "json",
                "TENURE_KEY_BENCH": KEY,
            },
        )
    finally:
        database.dispose()
        server.drop(name)


def due(sandbox: Sandbox, place_: Place, kind: Kind, count: int, *, children: int = 0) -> list[str]:
    """Make so many old objects, register them and sweep; returns the provider's ids."""
    created = (place_.clock.now() - OLD).replace(microsecond=0)
    ids = sandbox.seed(kind.value, count, created_at=int(created.timestamp()), children=children)
    place_.register(ids, kind, created)
    assert place_.sweep() == count
    return ids
