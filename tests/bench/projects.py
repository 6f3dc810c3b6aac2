"""Projects whose threads are all due, planned and released: what workers then find to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.flows.register import MOST_AT_ONCE, Registration, register_many
from worker.flows.sweep import Order, sweep
from worker.model.clock import SystemClock
from worker.model.errors import TenureError
from worker.model.thread import Kind
from worker.policy.document import Bundle
from worker.policy.load import load_texts
from worker.store import bundles, log, migrate, protections
from worker.store.engine import Database, open_database

POLICY = "bench-30d"
AGE = timedelta(days=40)
_ACTOR = "bench tenure/0"
_POLICY = f"""
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {{name: {POLICY}, owner: bench}}
spec:
  mode: enforce
  match: {{all: true}}
  delete: {{after: 30d}}
  guards: {{max_deletes: 1000000, max_percent: 100, min_population: 0, window: 24h}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One project with a credential of its own: its rate, how many at once, and its key's variable."""

    name: str
    key: str
    per_second: int
    burst: int = 1
    concurrency: int = 16

    def document(self, base_url: str) -> str:
        return f"""
apiVersion: retention/v1
kind: Project
metadata: {{name: {self.name}, owner: bench}}
spec:
  provider: openai
  base_url: {base_url}
  api_key: {{env: {self.key}}}
  rate: {{limit: {self.per_second}/s, burst: {self.burst}, share: 1.0}}
  concurrency: {self.concurrency}
"""


def documents(accounts: Iterable[Account], base_url: str) -> str:
    """Return the policy that deletes after 30 days, and these projects."""
    return "\n---\n".join([_POLICY, *(one.document(base_url) for one in accounts)])


def load(text: str) -> Bundle:
    """Read documents as a folder would be read."""
    loaded = load_texts({"bench.yaml": text}, key_globs=["TENURE_KEY_*"])
    assert loaded.bundle is not None, "\n".join(map(str, loaded.findings))
    return loaded.bundle


def put_in_force(url: str, bundle: Bundle) -> Database:
    """Migrate the database and put the bundle in force, as recomputed: there is nothing to recompute."""
    database = open_database(url)
    migrate.upgrade(database)
    with database.write() as db:
        log.create_head(db)
        protections.ensure_rows(db, [protections.EVERYTHING, *bundle.projects])
        now = SystemClock().now()
        bundles.activate(db, digest=bundle.digest, canonical=bundle.canonical, origin={}, now=now)
        bundles.advance_recompute(db, digest=bundle.digest, after=None)
    return database


def register_due(
    database: Database, objects: Iterable[tuple[str, str]], *, created_at: datetime | None = None
) -> None:
    """Register files (project, external id) of an age that is due, unless another one is given."""
    clock = SystemClock()
    at = created_at or clock.now() - AGE
    wanted = [
        Registration(external_id=external_id, project=project, owner="bench", kind=Kind.FILE, created_at=at)
        for project, external_id in objects
    ]
    for start in range(0, len(wanted), MOST_AT_ONCE):
        with database.write() as db:
            part = wanted[start : start + MOST_AT_ONCE]
            register_many(db, part, actor=_ACTOR, now=clock.now(), refused=_fail)


def _fail(number: int, problem: TenureError) -> None:
    msg = f"registration {number} was refused"
    raise AssertionError(msg) from problem


def release(database: Database) -> int:
    """Sweep: every due thread becomes a work item; returns how many."""
    made = sweep(database, Order(policy=POLICY, slot=None, dry_run=False), actor=_ACTOR, clock=SystemClock())
    assert made is not None
    return made.planned
