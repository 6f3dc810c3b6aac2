"""Wiring: the one place where Settings become real objects.

Everything here is lazy: making a Tenure opens no connection, reads no key and starts no thread.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile

from worker import __version__
from worker.anchors.base import Anchor
from worker.anchors.folder import FolderAnchor
from worker.anchors.git import GitAnchor
from worker.audit.actors import system_actor
from worker.audit.note import Ed25519Signer, Signer
from worker.flows.activate import Activated, Source, activate, recompute
from worker.flows.compare import FRESH
from worker.flows.decide import read_bundle
from worker.flows.seal import Sealer
from worker.flows.tick import Beat, Ticker
from worker.flows.tools import Tools
from worker.model.clock import Clock, SystemClock
from worker.model.errors import TenureError, Unavailable
from worker.model.ids import random_bytes
from worker.model.work import Lease
from worker.pacing.base import Bucket, Pacer, buckets
from worker.pacing.lane import Lane
from worker.pacing.memory import MemoryPacer
from worker.pacing.redis import RedisPacer, require_redis
from worker.policy.document import Project
from worker.providers.clients import Clients
from worker.providers.keys import resolve_key
from worker.providers.profiles import profile
from worker.settings import Settings, SettingsInvalid
from worker.store import bundles, log, migrate, protections
from worker.store.engine import Database, open_database, reachable
from worker.telemetry import meters

_SEED_BYTES = 32
# Beat compares at each of its rounds, and may miss some.
_TICKS = 4
_HOST_NAME = 64
SANDBOX_PROJECTS = "sandbox.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenure:
    """The objects of one process. Connections are made on first use, so it may be wired before a fork."""

    settings: Settings
    database: Database
    clock: Clock
    pacer: Pacer
    actor: str

    @property
    def lease(self) -> Lease:
        """How long a claim lasts."""
        return self.settings.lease

    @property
    def source(self) -> Source:
        """Where policies come from; the sandbox's projects lie in the data folder while it runs."""
        return source_of(self.settings)

    @property
    def sealer(self) -> Sealer:
        """Who signs checkpoints."""
        settings = self.settings
        return Sealer(
            origin=settings.audit_origin,
            signer=lambda: read_signer(settings),
            others=lambda: read_signers(settings)[1:],
            actor=self.actor,
            anchors=read_anchors(settings),
            fresh=max(FRESH, _TICKS * timedelta(seconds=settings.tick_seconds)),
        )

    @property
    def beat(self) -> Beat:
        """What beat's own process does between its ticks."""
        return Beat(
            database=self.database, clock=self.clock, source=self.source, sealer=self.sealer, actor=self.actor
        )

    def ticker(self, wake: Callable[[str], None], look: Callable[[str], None] | None = None) -> Ticker:
        """What a tick does."""
        return Ticker(
            database=self.database,
            clock=self.clock,
            every=timedelta(seconds=self.settings.tick_seconds),
            actor=self.actor,
            wake=wake,
            look=look if self.settings.coverage_hours else None,
            look_every=timedelta(hours=self.settings.coverage_hours),
            reverify_after=timedelta(hours=self.settings.reverify_hours),
        )

    def tools(self, stopping: Callable[[], bool] = lambda: False) -> Tools:
        """Make what a worker works with. Its clients and lanes belong to the loop that first uses them."""
        # The SDK takes seconds to import, and most processes never delete. What else a first request would
        # load is loaded here as well: while the loop stands still for it, slots begin, and all are late.
        from worker.providers import transport
        from worker.providers.openai import OpenAIProvider

        transport.warm_up()
        meters.warm_up()

        clients = Clients(
            make=lambda project, key: OpenAIProvider(
                project.account, key, profile(project.profile), self.clock
            ),
            key_of=lambda ref: resolve_key(ref, allowed=self.settings.provider_keys),
            longest_use=self.lease.length.total_seconds(),
            clock=self.clock,
        )
        lanes: dict[Bucket, Lane] = {}

        def lane(bucket: Bucket) -> Lane:
            # A changed rate is another lane; the pacer's state goes on under the same key.
            if bucket not in lanes:
                lanes[bucket] = Lane(self.pacer, bucket, self.clock)
            return lanes[bucket]

        def lanes_for(project: Project) -> tuple[Lane, Lane]:
            made = buckets(project.rate, project.credential)
            return lane(made.reads), lane(made.writes)

        async def close() -> None:
            await clients.aclose()
            await self.pacer.aclose()

        return Tools(
            database=self.database,
            clock=self.clock,
            lease=self.lease,
            actor=self.actor,
            provider_for=clients.client_for,
            lanes_for=lanes_for,
            close=close,
            stopping=stopping,
            drains=self.settings.drains_per_credential,
            reverify_after=timedelta(hours=self.settings.reverify_hours),
            look_every=timedelta(hours=self.settings.coverage_hours),
        )


def source_of(settings: Settings) -> Source:
    """Return where these settings have their policies; needs no database."""
    sandbox = settings.data_dir / SANDBOX_PROJECTS
    return Source(
        folder=settings.policies,
        extra=[sandbox] if sandbox.is_file() else [],
        key_globs=settings.provider_keys,
        must_be_clean=settings.policies_clean,
    )


def wire(settings: Settings, *, role: str) -> Tenure:
    """Make the objects of one process; ``role`` is part of the name that entries give as actor."""
    pacer: Pacer = RedisPacer(settings.redis, settings.redis_prefix) if settings.redis else MemoryPacer()
    return Tenure(
        settings=settings,
        database=open_database(settings.database),
        clock=SystemClock(),
        pacer=pacer,
        actor=_actor(role),
    )


def _actor(role: str) -> str:
    """Name this process: role, host and process id, and the version. A host may call itself anything."""
    host = "".join(char if char.isalnum() or char in "._-" else "-" for char in socket.gethostname())
    return system_actor(f"{role}:{host[:_HOST_NAME] or 'unnamed'}:{os.getpid()}", __version__)


def check_roles(settings: Settings, role: str) -> None:
    """Refuse what cannot work with one process per role: SQLite and `memory://` belong to one process."""
    if settings.is_sqlite:
        problem = f"`tenure {role}` is one of several processes, and SQLite serves only one."
        raise SettingsInvalid(problem, repair="Set TENURE_DATABASE_URL to PostgreSQL, or run `tenure up`.")
    if settings.is_embedded:
        problem = f"`tenure {role}` cannot hear the others over memory://."
        raise SettingsInvalid(problem, repair="Set TENURE_BROKER_URL to redis://…, or run `tenure up`.")
    if not settings.redis:
        problem = f"`tenure {role}` shares the providers' limits with other processes through Redis."
        raise SettingsInvalid(problem, repair="Set TENURE_REDIS_URL.")


def prepare(tenure: Tenure) -> None:
    """Bring the database of the one-process service to this code's version, with an empty log in it."""
    with reachable(tenure.database):
        migrate.upgrade(tenure.database)
        with tenure.database.write() as db:
            log.create_head(db)
            protections.ensure_rows(db, [protections.EVERYTHING])


def require_ready(tenure: Tenure) -> None:
    """Raise unless database and Redis answer, at this code's version.

    Unavailable, SchemaOutdated (the database is older or newer), or BundleUnreadable: what beat put in force
    has a form that this code does not know. So processes of two versions never decide by two bundles.
    """
    if tenure.settings.redis:
        require_redis(tenure.settings.redis)
    with reachable(tenure.database):
        migrate.require_current(tenure.database)
        with tenure.database.write() as db:
            log.create_head(db)
            found = bundles.in_force(db)
        if found is not None:
            read_bundle(found)


def put_in_force(tenure: Tenure) -> Activated:
    """Activate the policies folder now, and recompute; raises when no bundle is in force afterwards."""
    done = activate(tenure.database, tenure.source, actor=tenure.actor, clock=tenure.clock)
    recompute(tenure.database, clock=tenure.clock)
    with tenure.database.read() as db:
        if bundles.digest_in_force(db) is None:
            lines = "\n".join(done.problems)
            raise PoliciesRefused(f"The policies are refused:\n{lines}", repair="Mend them and start again.")
    return done


class PoliciesRefused(TenureError):
    """There is no last good bundle, and this one is refused."""

    code = "policies_refused"


def read_signer(settings: Settings) -> Signer:
    """Return the first signer of the key's file; raises Unavailable."""
    return read_signers(settings)[0]


def read_signers(settings: Settings) -> list[Signer]:
    """Read the seeds of the log's keys, one a line; the data folder's own file is made on first use.

    More than one stands there while keys are rotated; which of them sign is the log's to say. Raises
    Unavailable for a missing or malformed file: a second key would look like a second log.
    """
    path = settings.signing_key
    if settings.signing_key_file is None:
        _make_seed(path)
    try:
        seeds = [bytes.fromhex(line) for line in path.read_text(encoding="ascii").split()]
    except (OSError, ValueError) as e:
        problem = f"The signing key {path} cannot be read."
        raise Unavailable(problem, repair="It holds 64 hex digits; `openssl rand -hex 32` makes one.") from e
    if not seeds or any(len(seed) != _SEED_BYTES for seed in seeds):
        problem = f"The signing key {path} does not hold 64 hex digits."
        raise Unavailable(problem, repair="`openssl rand -hex 32` makes one.")
    return [Ed25519Signer.from_seed(settings.audit_origin, seed) for seed in seeds]


def add_seed(settings: Settings) -> Signer:
    """Add a new seed to the key's file, behind those that are there, and return its signer.

    It signs nothing until the log announces it. Raises Unavailable where the file cannot be written.
    """
    path = settings.signing_key.resolve()
    before = path.read_text(encoding="ascii").split()
    seed = random_bytes(_SEED_BYTES)
    beside = path.parent / f".{path.name}.new"
    try:
        # Whole beside its place, then moved there: nobody ever reads a file that lacks the old seed.
        beside.touch(mode=0o600)
        with beside.open("w", encoding="ascii") as file:
            file.write("".join(f"{line}\n" for line in (*before, seed.hex())))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as e:
        problem = f"The signing key {path} cannot be written: {e.strerror}."
        repair = "Add a line made by `openssl rand -hex 32` below the old one yourself, and run this again."
        raise Unavailable(problem, repair=repair) from e
    return Ed25519Signer.from_seed(settings.audit_origin, seed)


def read_anchors(settings: Settings) -> list[Anchor]:
    """Return where copies of checkpoints are kept: a folder, and the git clone where one is named."""
    anchors: list[Anchor] = [FolderAnchor(settings.anchors_folder)]
    if settings.anchor_git is not None:
        anchors.append(GitAnchor(settings.anchor_git))
    return anchors


def _make_seed(path: Path) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Made whole beside its place, readable for the owner only (NamedTemporaryFile's mode), then linked
    # there: nobody ever reads half a key, and whoever comes second keeps the first one's.
    with NamedTemporaryFile("w", dir=path.parent, prefix=".signing.", encoding="ascii") as file:
        file.write(random_bytes(_SEED_BYTES).hex() + "\n")
        file.flush()
        with suppress(FileExistsError):
            os.link(file.name, path)
