"""One scenario's world. Everything in it is real but the clock's offset and the provider's account."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, select

from tests.world.approving import let_in
from tests.world.stepping import AfterDelete, BeforeChild
from worker.audit.actors import system_actor
from worker.audit.note import Ed25519Signer
from worker.flows.activate import Activated, Source, activate, recompute, refresh
from worker.flows.claim import anything_ready
from worker.flows.decide import bundle_in_force
from worker.flows.hold import place_hold
from worker.flows.register import Registration, register
from worker.flows.seal import Sealer
from worker.flows.sweep import Order, sweep
from worker.flows.tick import Ticker, tick
from worker.flows.tools import Tools
from worker.flows.turn import turn
from worker.flows.withdraw import withdraw
from worker.model.clock import SystemClock
from worker.model.decision import HoldScope
from worker.model.thread import Kind, ThreadState
from worker.model.work import Lease
from worker.pacing.base import Pacer, buckets
from worker.pacing.lane import Lane
from worker.pacing.memory import MemoryPacer
from worker.policy.document import Bundle, Project
from worker.providers.base import Provider
from worker.providers.openai import OpenAIProvider
from worker.providers.profiles import profile
from worker.sandbox.control import make_sample
from worker.sandbox.faults import parse_faults
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.options import SandboxOptions
from worker.sandbox.server import SandboxServer
from worker.store import log, migrate, protections, threads
from worker.store.engine import Database, lease_clock, open_database
from worker.store.protections import StoredHold
from worker.store.sweeps import Sweep
from worker.store.tables import work_item
from worker.store.threads import StoredThread

PROJECT = "demo-support"
POLICY = "all-30d"
ACTOR = "test tenure/0"
ORIGIN = "test.local/retention"

POLICIES = """
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: all-30d, owner: tests}
spec:
  mode: enforce
  match: {all: true}
  delete: {after: 30d}
  schedule: {cron: "* * * * *"}
  guards: {max_deletes: 1000, max_percent: 100, min_population: 0, window: 24h}
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: keep, owner: tests}
spec:
  mode: enforce
  match: {tags: [{key: keep, operator: Exists}]}
  retain: {for: forever}
"""


def project_document(base_url: str, name: str = PROJECT, extra: str = "") -> str:
    """Return a Project document that points at the sandbox."""
    return f"""
---
apiVersion: retention/v1
kind: Project
metadata: {{name: {name}, owner: tests}}
spec:
  provider: openai
  base_url: {base_url}
  api_key: {{env: TENURE_KEY_TEST}}
  rate: {{limit: 1000/s, burst: 50, share: 1.0}}
  concurrency: 16
  {extra}
"""


class MovableClock(SystemClock):
    """The machine's clock, moved: waiting times pass without waiting."""

    def __init__(self) -> None:
        self.offset = timedelta()
        self.stepped = timedelta()
        self._ahead = 0.0
        self._hurrying = False

    def now(self) -> datetime:
        """Return the machine's time plus the offset."""
        return super().now() + self.offset + self.stepped

    def move(self, by: timedelta) -> None:
        """Let that much time pass for everybody, the database too."""
        self.offset += by

    def jump(self, by: timedelta) -> None:
        """Let that much time pass for everybody, monotonic seconds too."""
        self.offset += by
        self._ahead += by.total_seconds()

    def step(self, by: timedelta) -> None:
        """Set the application's clock wrong by that much; no time passes, and the database stays right."""
        self.stepped += by

    def hurry(self) -> None:
        """From now on whoever blocks and waits is told at once that the time has passed."""
        self._hurrying = True

    def monotonic(self) -> float:
        """Return monotonic seconds, with the waits that were hurried through."""
        return super().monotonic() + self._ahead

    def wait(self, seconds: float) -> None:
        """Wait, or hurry."""
        if self._hurrying:
            self._ahead += seconds
        else:
            super().wait(seconds)

    def lease_clock(self, db: Connection, now: datetime) -> datetime:
        """Return the time that leases run on, moved likewise."""
        told = lease_clock(db, now)
        return told if told is now else told + self.offset


@dataclass(slots=True, kw_only=True)
class World:
    """A database, a sandbox, policies in force, and one worker's tools."""

    database: Database
    sandbox: SandboxServer
    clock: MovableClock
    folder: Path
    lease: Lease = field(default_factory=lambda: Lease(length=timedelta(seconds=60)))
    pacer: Pacer = field(default_factory=MemoryPacer)
    woken: list[str] = field(default_factory=list)
    wrap: Callable[[Provider], Provider] = field(default=lambda provider: provider)

    def policies(self, text: str) -> None:
        """Write the policies folder anew and put it in force, approved where it loosens."""
        done = self.look_at(text)
        assert done.loaded.bundle is not None, "\n".join(map(str, done.loaded.findings))
        if done.awaiting:
            let_in(self.database, self.source, text, clock=self.clock)
            assert self.look_at(text).changed
        recompute(self.database, clock=self.clock)

    def without_canaries(self) -> None:
        """Let the project permit siblings alone as controls."""
        self.policies(POLICIES + project_document(self.sandbox.base_url, extra="controls: [sibling]"))

    def look_at(self, text: str) -> Activated:
        """Write the policies folder anew and let beat look at it; nothing is recomputed yet."""
        (self.folder / "policies.yaml").write_text(text, encoding="utf-8")
        return activate(self.database, self.source, actor=ACTOR, clock=self.clock)

    def rules(self, text: str, extra: str = "") -> None:
        """Put these policies in force beside the project that points at the sandbox."""
        self.policies(text + project_document(self.sandbox.base_url, extra=extra))

    @property
    def source(self) -> Source:
        return Source(folder=self.folder, key_globs=("TENURE_KEY_*",))

    @property
    def sealer(self) -> Sealer:
        return Sealer(origin=ORIGIN, signer=lambda: Ed25519Signer.from_seed(ORIGIN, b"\7" * 32), actor=ACTOR)

    def make(
        self, kind: Kind = Kind.CONVERSATION, *, age: timedelta = timedelta(days=40), children: int = 0
    ) -> str:
        """Make an object at the sandbox; returns its external id."""
        at = int((self.clock.now() - age).timestamp())
        return make_sample(self.sandbox.store, ObjectKind(kind.value), created_at=at, children=children)

    def register(
        self,
        external_id: str | None = None,
        *,
        kind: Kind = Kind.CONVERSATION,
        age: timedelta = timedelta(days=40),
        children: int = 0,
        owner: str = "team",
        tags: Mapping[str, str] | None = None,
        project: str = PROJECT,
        ttl: str | None = None,
        chosen: Sequence[str] = (),
    ) -> StoredThread:
        """Make an object (unless one is named) and register it, with the children that are to go with it."""
        named = external_id or self.make(kind, age=age, children=children)
        wanted = Registration(
            external_id=named,
            project=project,
            owner=owner,
            kind=kind,
            tags=tags or {},
            ttl=ttl,
            created_at=self.clock.now() - age,
            children=tuple(chosen),
        )
        with self.database.write() as db:
            return register(db, wanted, actor=ACTOR, now=self.clock.now()).stored

    def hold(self, scope: HoldScope, matter: str = "case-7") -> StoredHold:
        return place_hold(
            self.database,
            matter=matter,
            reason="litigation",
            scope=scope,
            actor=ACTOR,
            clock=self.clock,
            lease=self.lease,
        )

    def withdraw(self, stored: StoredThread) -> StoredThread:
        """Take back a registration."""
        database, clock, lease, id_ = self.database, self.clock, self.lease, stored.thread.id
        return withdraw(database, id_, reason="by mistake", actor=ACTOR, clock=clock, lease=lease)

    def faults(self, *names: str) -> None:
        """Put these faults of the provider in force, and no others."""
        self.sandbox.set_faults(parse_faults(names))

    def after_first_delete(self, *names: str) -> None:
        """Let these faults begin when the first DELETE has been answered."""
        inner = self.wrap
        self.wrap = lambda provider: AfterDelete(inner(provider), lambda: self.faults(*names)).provider

    def before_first_child_delete(self, then: Callable[[], object]) -> None:
        """Do something just before the first DELETE of a child is sent."""
        inner = self.wrap
        self.wrap = lambda provider: BeforeChild(inner(provider), then).provider

    def forget_cooldown(self) -> None:
        """Start with a pacer that knows of no pause."""
        self.pacer = MemoryPacer()

    def tick(self) -> list[str]:
        """Do what beat does every few seconds; returns the credentials that were woken."""
        ticker = Ticker(
            database=self.database,
            clock=self.clock,
            every=timedelta(seconds=15),
            actor=ACTOR,
            wake=self.woken.append,
        )
        return tick(ticker)

    @property
    def bundle(self) -> Bundle:
        """The bundle in force."""
        with self.database.read() as db:
            return bundle_in_force(db)

    @property
    def credential(self) -> str:
        """The credential of the project."""
        return self.bundle.projects[PROJECT].credential

    def sweep(self, policy: str = POLICY, *, dry_run: bool = False) -> Sweep:
        refresh(self.database, clock=self.clock)
        made = sweep(
            self.database, Order(policy=policy, slot=None, dry_run=dry_run), actor=ACTOR, clock=self.clock
        )
        assert made is not None
        return made

    def tools(self, worker: str = "worker-1") -> Tools:
        """Return one worker's tools, to be used on one loop."""
        providers: dict[str, Provider] = {}
        lanes: dict[str, Lane] = {}

        def provider_for(project: Project) -> Provider:
            if project.credential not in providers:
                providers[project.credential] = self.wrap(
                    OpenAIProvider(project.account, "key", profile(project.profile), self.clock)
                )
            return providers[project.credential]

        def lanes_for(project: Project) -> tuple[Lane, Lane]:
            made = buckets(project.rate, project.credential)
            return (
                lanes.setdefault(made.reads.key, Lane(self.pacer, made.reads, self.clock)),
                lanes.setdefault(made.writes.key, Lane(self.pacer, made.writes, self.clock)),
            )

        async def close() -> None:
            for provider in providers.values():
                await provider.aclose()

        return Tools(
            database=self.database,
            clock=self.clock,
            lease=self.lease,
            actor=system_actor(worker, "0"),
            provider_for=provider_for,
            lanes_for=lanes_for,
            close=close,
        )

    def drain(self, *, most: int = 50) -> Counter[str]:
        """Work off everything that is ready now."""
        return asyncio.run(self._drain(most))

    async def _drain(self, most: int) -> Counter[str]:
        told: Counter[str] = Counter()
        tools = self.tools()
        try:
            for _ in range(most):
                ready = anything_ready(self.database, self.clock)
                for credential in ready:
                    told += await turn(tools, credential)
                if not ready:
                    break
        finally:
            await tools.close()
        return told

    def thread(self, stored: StoredThread) -> StoredThread:
        """Read a thread as it stands."""
        with self.database.read() as db:
            found = threads.get(db, stored.thread.id)
        assert found is not None
        return found

    def item(self, stored: StoredThread) -> Row[Any]:
        """Read the newest work item of a thread as its row."""
        query = select(work_item).where(work_item.c.thread_id == stored.thread.id)
        with self.database.read() as db:
            found = db.execute(query.order_by(work_item.c.id.desc()).limit(1)).first()
        assert found is not None
        return found

    def state(self, stored: StoredThread) -> ThreadState:
        return self.thread(stored).thread.state

    def grade(self, stored: StoredThread) -> str | None:
        found = self.thread(stored).grade
        return found.value if found else None

    def entries(self, type_: str | None = None, subject: StoredThread | None = None) -> list[dict[str, Any]]:
        """Return the bodies of the log's entries, oldest first."""
        with self.database.read() as db:
            found = log.entries_after(
                db, limit=10_000, type_=type_, subject=subject.thread.id if subject else None
            )
        return [{"type": one.type, **json.loads(one.body or b"{}")} for one in found]

    def deletes(self, external_id: str | None = None) -> Sequence[str]:
        """Return the paths of the DELETEs that reached the sandbox."""
        return [
            one.path
            for one in self.sandbox.requests()
            if one.method == "DELETE" and (external_id is None or one.path.endswith(external_id))
        ]

    def reads(self, external_id: str) -> int:
        """Count the GETs of one object that reached the sandbox."""
        return sum(one.method == "GET" and one.path.endswith(external_id) for one in self.sandbox.requests())

    def vanish(self, stored: StoredThread) -> None:
        """Let somebody else delete the object at the provider."""
        kind = ObjectKind(stored.thread.kind.value)
        assert self.sandbox.store.delete(kind, stored.thread.external_id)

    def exists(self, stored: StoredThread) -> bool:
        """Ask the sandbox's own truth."""
        thread = stored.thread
        return self.sandbox.store.exists(ObjectKind(thread.kind.value), thread.external_id)


@contextmanager
def make_world(url: str, folder: Path, options: SandboxOptions | None = None) -> Iterator[World]:
    """Make a world on a fresh database, which may be migrated already."""
    database = open_database(url)
    migrate.upgrade(database)
    with database.write() as db:
        log.create_head(db)
        protections.ensure_rows(db, [protections.EVERYTHING])
    folder.mkdir(exist_ok=True)
    try:
        with SandboxServer(options) as sandbox:
            made = World(database=database, sandbox=sandbox, clock=MovableClock(), folder=folder)
            made.policies(POLICIES + project_document(sandbox.base_url))
            yield made
    finally:
        database.dispose()
