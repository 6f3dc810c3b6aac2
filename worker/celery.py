"""The Celery app and beat's schedule, where `celery -A worker` finds it.

Settings follow what was measured: acks late, no result backend, no ETA, no retry: the database drives
everything again, so Redis may lose or double any message.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from billiard import current_process
from celery import Celery
from celery.signals import (
    beat_init,
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutting_down,
)
from kombu.entity import Queue

from worker.flows.tick import keep_house, note_house
from worker.jobs.every import Every
from worker.jobs.exporting import ExportMaker
from worker.jobs.watchdog import Watchdog
from worker.model.errors import TenureError
from worker.settings import Settings, load_settings
from worker.store.engine import reachable
from worker.store.unwritable import Unwritable
from worker.telemetry import log, raise_alert, set_up_logging
from worker.telemetry.listener import Listener
from worker.telemetry.meters import share
from worker.telemetry.traces import end_tracing, set_up_tracing
from worker.wiring import Tenure, wire

CONTROL, DRAIN = "control", "drain"
_SOFT_SHUTDOWN_SECONDS = 25
# A round of the house that is late by so much does not come to its end any more.
_LATE_SECONDS, _LATE_TICKS = 300, 10


class _App(Celery):
    """Celery with a worker that can stop."""

    @cached_property
    def Worker(self) -> Any:  # noqa: ANN401, N802 - Celery's own name
        """What `celery worker` and `tenure worker` run."""
        return self.subclass_with_self("worker.jobs.stopping:StoppingWorker")


def make_app(settings: Settings) -> Celery:
    """Return the app for these settings."""
    # With a host in it kombu has nothing to warn of; in memory it means nothing.
    broker = "memory://localhost//" if settings.is_embedded else settings.broker_url
    made = _App(
        "tenure", broker=broker, include=["worker.jobs.tick", "worker.jobs.drain", "worker.jobs.cover"]
    )
    lease = settings.lease_seconds
    made.conf.update(
        task_ignore_result=True,
        result_backend=None,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_max_tasks_per_child=500,
        # Both before the lease ends, so that a stuck batch is cut off before somebody else claims it.
        task_soft_time_limit=int(lease * 0.8),
        task_time_limit=int(lease * 0.95),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_transport(settings),
        worker_soft_shutdown_timeout=_SOFT_SHUTDOWN_SECONDS,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        task_default_queue=DRAIN,
        task_queues=[Queue(CONTROL), Queue(DRAIN)],  # type: ignore[no-untyped-call]  # kombu is untyped
        task_routes={
            "tenure.tick": {"queue": CONTROL},
            "tenure.drain": {"queue": DRAIN},
            "tenure.cover": {"queue": DRAIN},
        },
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
        timezone="UTC",
        enable_utc=True,
        beat_scheduler="worker.jobs.every:SteadyScheduler",
        beat_max_loop_interval=min(5.0, settings.tick_seconds),
        beat_schedule={
            "tick": {
                "task": "tenure.tick",
                "schedule": Every(timedelta(seconds=settings.tick_seconds)),
                # It does not expire: Celery would ask the worker's clock about an instant of beat's. One that
                # waited in the queue is told from the others by the database, and then does nothing.
                "options": {"queue": CONTROL},
            }
        },
    )
    return made


class TaskMissing(TenureError):
    """A message would name a task that this code does not have."""

    code = "task_missing"


def require_tasks(checked: Celery) -> None:
    """Raise TaskMissing unless every task that is routed or scheduled is registered.

    Celery drops a message whose task it does not know, and says so in its log only.
    """
    checked.loader.import_default_modules()
    wanted = {*checked.conf.task_routes, *(one["task"] for one in checked.conf.beat_schedule.values())}
    if missing := sorted(wanted - set(checked.tasks)):
        problem = f"These tasks are routed and not registered: {', '.join(missing)}."
        raise TaskMissing(problem, repair="Name their module in make_app's `include`, or drop their route.")


def _transport(settings: Settings) -> dict[str, object]:
    if settings.is_embedded:
        return {"polling_interval": 0.1}
    return {
        "global_keyprefix": f"{settings.redis_prefix}:",
        # Longer than any batch, or Redis would hand a running one to a second worker.
        "visibility_timeout": 3 * settings.lease_seconds,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "retry_on_timeout": True,
    }


app = make_app(load_settings())
# Tasks are sent from threads of the API too, which know only the default app.
app.set_default()


@setup_logging.connect
def _own_logging(**_: object) -> None:
    """Celery leaves logging alone once this is connected."""
    settings = load_settings()
    set_up_logging(settings.log_format, settings.log_level)


class HouseKeeper:
    """Beat's own threads: one activates a changed policies folder and seals the log, one makes exports.

    No worker does any of it.
    """

    def __init__(self, tenure: Tenure) -> None:
        self._tenure = tenure
        self._exports = ExportMaker(tenure)
        self._stopping = threading.Event()
        self._said: str | None = None
        self._began = tenure.clock.monotonic()
        self._thread = threading.Thread(target=self._run, name="tenure-house", daemon=True)

    def start(self) -> None:
        """Begin; the first round is at once."""
        self._thread.start()
        self._exports.start()

    def stop(self) -> None:
        """End after the round that runs."""
        self._stopping.set()
        self._exports.stop()
        self._thread.join(timeout=_SOFT_SHUTDOWN_SECONDS)

    def late(self) -> str:
        """Return what is wrong where rounds take far too long or end no more, else nothing.

        A round that failed has ended: what it lacks is alerted, and starting beat anew would not bring it.
        """
        seconds = self._tenure.clock.monotonic() - self._began
        most = _LATE_SECONDS + _LATE_TICKS * self._tenure.settings.tick_seconds
        return f"the round of the house has lasted {int(seconds)} s" if seconds > most else ""

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._began = self._tenure.clock.monotonic()
            try:
                self._keep()
            except Exception:  # noqa: BLE001 - a thread that dies silently would leave beat half alive
                log().exception("house.failed")
            self._stopping.wait(self._tenure.settings.tick_seconds)

    def _keep(self) -> None:
        """Keep house once; what is missing outside (key, folder, database) is alerted once, and kept."""
        problem: TenureError | None = None
        try:
            with reachable(self._tenure.database):
                keep_house(self._tenure.beat)
        except TenureError as e:
            problem = e
        said = None if problem is None else problem.problem
        if problem is not None and said != self._said:
            raise_alert("house.failed", code=problem.code, problem=said, repair=problem.repair)
        self._said = said
        # What cannot be written cannot be noted there either.
        if not isinstance(problem, Unwritable):
            note_house(self._tenure.beat, problem)


@beat_init.connect
def _keep_house(**_: object) -> None:
    settings = load_settings()
    keeper = HouseKeeper(wire(settings, role="beat"))
    keeper.start()
    _listen(settings, keeper.late)


# beat_embedded_init is left alone: the one-process service starts a house keeper with its own wiring.


@worker_process_init.connect
def _trace(**_: object) -> None:
    """Trace in a child of the worker, after its fork: what sends spans is a thread of its own."""
    set_up_tracing("worker")


@worker_process_shutdown.connect
def _trace_no_more(**_: object) -> None:
    end_tracing()


_watching: list[Watchdog] = []


def _listen(settings: Settings, sick: Callable[[], str]) -> None:
    """Answer for this role where it is asked to, until the process ends."""
    if settings.metrics_listen:
        Listener(*settings.address_of(settings.metrics_listen), sick).start()


def share_meters(settings: Settings) -> None:
    """Let the children of a worker count into one folder; comes before the first count and the first fork."""
    if settings.metrics_listen:
        folder = Path(mkdtemp(prefix="tenure-meters-"))
        # Children end without what is registered here, so only the main process removes it.
        atexit.register(rmtree, folder, ignore_errors=True)
        share(folder, _place)


def _place() -> str:
    """Return which of the pool's places this process has; the main process has none."""
    index = getattr(current_process(), "index", None)
    return "main" if index is None else str(index)


@worker_ready.connect
def _watch(**_: object) -> None:
    settings = load_settings()
    # Whoever is alive and does nothing is ended by the watchdog; an answer from here says that we are alive.
    _listen(settings, lambda: "")
    # The one-process service has no broker that could hang.
    if settings.stall_seconds and not settings.is_embedded:
        _watching.append(Watchdog(wire(settings, role="worker"), timedelta(seconds=settings.stall_seconds)))
        _watching[-1].start()


@worker_shutting_down.connect
def _watch_no_more(**_: object) -> None:
    while _watching:
        _watching.pop().stop()
