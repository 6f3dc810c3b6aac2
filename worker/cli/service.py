"""Serve: the one-process service (`tenure up`) and the roles of production (`api`, `worker`, `beat`)."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from worker.flows.await_approval import HOW
from worker.flows.compare import LogRefused, compare
from worker.flows.key import first_admin_key
from worker.model.clock import SystemClock
from worker.model.errors import TenureError, Unavailable
from worker.pacing.redis import require_redis
from worker.settings import Settings, SettingsInvalid, load_settings
from worker.store import answers, exports, rests, work
from worker.telemetry import log, set_up_logging
from worker.telemetry.traces import end_tracing, set_up_tracing
from worker.wiring import SANDBOX_PROJECTS, Tenure, check_roles, prepare, put_in_force, require_ready, wire

if TYPE_CHECKING:
    import uvicorn
    from celery.worker import WorkController

    from worker.http.throttle import Throttle

_SANDBOX_KEY = "TENURE_KEY_SANDBOX"
_SANDBOX_NAMES = ("demo-support", "demo-research", "demo-finance")
# They wait for answers nearly all the time, and one credential has only a few of them.
_POOL_THREADS = 32
_STOP_SECONDS = 30
_BACKLOG = 512
_LAST_PORT = 65_535
# A command that looks at the policies folder holds the lock for a moment only.
_PATIENCE, _LOOK_EVERY = 10.0, 0.1
_GAVE_UP = "The worker could not go on; the line `Unrecoverable error` above says why."
_GAVE_UP_REPAIR = "Mend that and start it again. Its processes need a /dev/shm that this user may write."


class WorkerGaveUp(TenureError):
    """Celery's worker ended by an error, and not because it was asked to."""

    code = "worker_gave_up"


@contextmanager
def service_lock(settings: Settings, *, patience: float = 0) -> Iterator[bool]:
    """Hold the data folder's lock; False when another holds it for ``patience`` seconds.

    The lock ends with the process that holds it, however that ends.
    """
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (settings.data_dir / "service.lock").open("w", encoding="ascii")
    except OSError as e:
        problem = f"The data folder {settings.data_dir} cannot be written: {e.strerror}."
        raise Unavailable(problem, repair="Set TENURE_DATA_DIR to a folder that you may write.") from e
    with file:
        yield _locked(file, patience)


def _locked(file: IO[str], patience: float) -> bool:
    clock = SystemClock()
    until = clock.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock.monotonic() >= until:
                return False
            clock.wait(_LOOK_EVERY)
        else:
            return True


def up(*, sandbox: bool = False) -> None:
    """Serve API, worker and beat in this process until SIGTERM or SIGINT."""
    settings = load_settings()
    set_up_logging(settings.log_format, settings.log_level)
    if not settings.is_embedded:
        problem = "`tenure up` is one process and needs no broker."
        raise SettingsInvalid(
            problem, repair="Unset TENURE_BROKER_URL, or run `tenure api`, `worker` and `beat`."
        )
    if not settings.is_sqlite:
        # A second one on the same database would pace the providers a second time, and nobody could tell.
        problem = (
            "`tenure up` works on a SQLite file of its own: its messages and its pacer are in this process."
        )
        raise SettingsInvalid(
            problem, repair="Unset TENURE_DATABASE_URL, or run `tenure api`, `worker` and `beat` with Redis."
        )
    with ExitStack() as stack:
        if not stack.enter_context(service_lock(settings, patience=_PATIENCE)):
            problem = f"Another service works on the data folder {settings.data_dir}."
            raise Unavailable(problem, repair="Stop it, or set TENURE_DATA_DIR to another folder.")
        # Before wiring: whatever is opened afterwards is watched. Ended last of all.
        set_up_tracing("up")
        stack.callback(end_tracing)
        tenure = wire(settings, role="up")
        stack.callback(tenure.database.dispose)
        _sandbox(stack, settings, start=sandbox)
        prepare(tenure)
        _take_up(tenure)
        # Read now what sealing needs later, so that a missing key ends the start and not the evidence.
        tenure.sealer.signer()
        _compare(tenure)
        if put_in_force(tenure).awaiting:
            log().warning("bundle.awaiting_approval", repair=HOW)
        listening = stack.enter_context(_listen(settings))
        server = _server(tenure)
        _announce(tenure, listening)
        stack.enter_context(_workers(tenure))
        _serve(tenure, server, listening)


def _take_up(tenure: Tenure) -> None:
    """End the leases and places that a crash left, so that its work goes on at once.

    On SQLite whoever held one is gone, for the lock is ours; on PostgreSQL others may work elsewhere.
    """
    if tenure.database.is_sqlite:
        with tenure.database.write() as db:
            work.end_leases(db, tenure.clock.now())
            exports.end_leases(db, tenure.clock.now())
            answers.end_leases(db, tenure.clock.now())
            rests.end_places(db)


def _compare(tenure: Tenure) -> None:
    """Compare every leaf with the anchors before anything is signed or deleted here.

    A log that is refused is no reason to end: reading and placing holds go on, and are needed now.
    """
    try:
        compare(tenure.database, tenure.sealer.log, clock=tenure.clock, from_leaves=True)
    except LogRefused as e:
        _say(f"NOTHING IS SIGNED OR DELETED. {e.problem} {e.repair}")


def _sandbox(stack: ExitStack, settings: Settings, *, start: bool) -> None:
    """Run the local provider beside the service, with projects of its own; it is no real provider."""
    document = settings.data_dir / SANDBOX_PROJECTS
    if not start:
        document.unlink(missing_ok=True)
        return
    from worker.sandbox.options import SandboxOptions
    from worker.sandbox.server import SandboxServer

    os.environ.setdefault(_SANDBOX_KEY, "sandbox")
    port = settings.port + 1 if 0 < settings.port < _LAST_PORT else 0
    try:
        server = stack.enter_context(SandboxServer(SandboxOptions(), settings.host, port))
    except OSError as e:
        problem = f"The sandbox cannot listen on {settings.host}:{port}: {e.strerror}."
        raise Unavailable(problem, repair="Stop what uses that port, or set TENURE_LISTEN to another.") from e
    document.write_text(sandbox_projects(server.base_url), encoding="utf-8")
    _say(f"Sandbox provider (nothing real) on {server.base_url}, projects {', '.join(_SANDBOX_NAMES)}")


def sandbox_projects(base_url: str) -> str:
    """Return the Project documents that point at a sandbox."""
    return "\n---\n".join(
        f"""# Written by `tenure up --sandbox`: a local provider for trying Tenure.
apiVersion: retention/v1
kind: Project
metadata: {{name: {name}, owner: sandbox}}
spec:
  provider: openai
  base_url: {base_url}
  provider_project: proj_{name.replace("-", "_")}
  api_key: {{env: {_SANDBOX_KEY}}}
  rate: {{limit: 100/s, burst: 10, share: 1.0}}
  concurrency: 32"""
        for name in _SANDBOX_NAMES
    )


@contextmanager
def _listen(settings: Settings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # IPPROTO_TCP by name: asyncio switches Nagle's delay off only for a socket that says so.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((settings.host, settings.port))
            # From here on a client may connect: it waits until the API accepts, instead of being refused.
            listening.listen(_BACKLOG)
        except OSError as e:
            problem = f"{settings.listen} cannot be listened on: {e.strerror}."
            raise Unavailable(problem, repair="Stop what uses it, or set TENURE_LISTEN.") from e
        yield listening


def _announce(tenure: Tenure, listening: socket.socket) -> None:
    """Say where the service listens and, once in a database's life, show its first admin key."""
    made = first_admin_key(tenure.database, clock=tenure.clock)
    if made is not None:
        path = tenure.settings.data_dir / "admin.key"
        _write_private(path, made.text)
        _say(f"First admin key (shown once, also in {path}): {made.text}")
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    _say(f"Tenure listens on http://{shown}:{port}")


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text + "\n")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@contextmanager
def _workers(tenure: Tenure) -> Iterator[None]:
    """Run Celery's worker and beat as threads of this process; leaving waits for running batches."""
    from celery.apps.beat import Beat  # noqa: F401 - loads beat's parts before threads need them
    from celery.beat import EmbeddedService
    from celery.worker import WorkController

    from worker.celery import HouseKeeper, app, require_tasks
    from worker.jobs.every import SteadyScheduler
    from worker.jobs.process import adopt

    process = adopt(tenure)
    app.finalize()
    require_tasks(app)
    control = WorkController(
        app=app,
        pool_cls="threads",
        concurrency=tenure.settings.worker_concurrency or _POOL_THREADS,
        queues="control,drain",
        loglevel="WARNING",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        hostname="tenure@local",
    )
    beat = EmbeddedService(app, max_interval=1, thread=True, scheduler_cls=SteadyScheduler)
    keeper = HouseKeeper(tenure)
    thread = threading.Thread(target=control.start, name="tenure-worker", daemon=True)
    thread.start()
    beat.start()
    keeper.start()
    try:
        yield
    finally:
        # Nothing new is begun; batches that run are settled or released by their own lease.
        process.stop()
        beat.stop()
        keeper.stop()
        control.stop()
        thread.join(_STOP_SECONDS)
        process.close()


def _server(tenure: Tenure) -> uvicorn.Server:
    """Make the server of the HTTP API; from here on SIGTERM and SIGINT end it, whenever they come."""
    # The default app from here on: without it `wake` would send to a broker of Celery's own choice.
    import worker.celery  # noqa: F401
    from worker.http.app import create_app
    from worker.http.server import server_of
    from worker.http.services import Services
    from worker.jobs.drain import wake

    services = Services(
        database=tenure.database,
        clock=tenure.clock,
        lease=tenure.lease,
        sealer=tenure.sealer,
        wake=wake,
        source=tenure.source,
        throttle=_throttle(tenure),
        ask_redis=partial(require_redis, tenure.settings.redis) if tenure.settings.redis else None,
    )
    server = server_of(create_app(services))
    # Before uvicorn listens for signals itself, one would end us at once; and afterwards it raises what it
    # got again, which unanswered would end us before the rest. The server notes both, and ends when it runs.
    signal.signal(signal.SIGTERM, server.handle_exit)
    signal.signal(signal.SIGINT, server.handle_exit)
    return server


def _throttle(tenure: Tenure) -> Throttle:
    from worker.http.throttle import Limits, Throttle

    settings = tenure.settings
    limits = Limits(
        requests=settings.limit_requests,
        registrations=settings.limit_registrations,
        refused_keys=settings.limit_refused_keys,
    )
    return Throttle(limits, clock=tenure.clock, redis=settings.redis, prefix=settings.redis_prefix)


def _serve(tenure: Tenure, server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve HTTP until a signal; requests that were heard are answered."""
    log().info("service.started", listen=tenure.settings.listen)
    server.run(sockets=[listening])
    log().info("service.stopped")


def api() -> None:
    """Serve the HTTP API alone, beside workers and beats in other processes."""
    settings = load_settings()
    set_up_logging(settings.log_format, settings.log_level)
    check_roles(settings, "api")
    set_up_tracing("api")
    tenure = wire(settings, role="api")
    require_ready(tenure)
    with _listen(settings) as listening:
        server = _server(tenure)
        _announce(tenure, listening)
        _serve(tenure, server, listening)
        tenure.database.dispose()
        end_tracing()


def worker() -> None:
    """Run a Celery worker on both queues; SIGTERM finishes or releases what runs."""
    # Celery reads it when it is imported: SIGTERM then means the soft shutdown.
    os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")
    settings = load_settings()
    set_up_logging(settings.log_format, settings.log_level)
    check_roles(settings, "worker")
    require_ready(wire(settings, role="worker"))
    from celery.signals import worker_init

    from worker.celery import app, require_tasks, share_meters

    share_meters(settings)
    require_tasks(app)
    begun: list[WorkController] = []

    def note(sender: WorkController, **_: object) -> None:
        begun.append(sender)

    worker_init.connect(note)
    app.worker_main(
        [
            "worker",
            "--queues=control,drain",
            "--loglevel=WARNING",
            "--without-gossip",
            "--without-mingle",
            f"--concurrency={settings.worker_concurrency or max(2, os.cpu_count() or 2)}",
        ]
    )
    # Celery drops the exit code of a worker that gave up, and whoever supervises it would see a good end.
    if any(one.exitcode for one in begun):
        raise WorkerGaveUp(_GAVE_UP, repair=_GAVE_UP_REPAIR)


def beat() -> None:
    """Run Celery beat, and with it the house keeper; any number of beats may run."""
    settings = load_settings()
    set_up_logging(settings.log_format, settings.log_level)
    check_roles(settings, "beat")
    tenure = wire(settings, role="beat")
    require_ready(tenure)
    tenure.sealer.signer()
    _compare(tenure)
    from worker.celery import app
    from worker.jobs.every import SteadyScheduler

    app.Beat(loglevel="WARNING", quiet=True, scheduler_cls=SteadyScheduler, schedule="").run()
