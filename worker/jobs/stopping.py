"""Stopping a worker of several processes: what it is told, and how it knows that nothing runs any more.

SIGTERM reaches Celery's main process only, and Celery then sleeps out its whole grace beside children that
know of nothing. So one page of memory is shared with them, made before the first fork: a child reads there
that it is to stop, and the main process reads there who still works.
"""

from __future__ import annotations

import mmap
from typing import Any

from billiard import current_process, get_start_method
from celery import signals
from celery.apps.worker import Worker as CeleryWorker

from worker.model.clock import SystemClock
from worker.telemetry import log

_LOOK_EVERY = 0.05
_STOP = 0
_PAGE = mmap.PAGESIZE
_board = mmap.mmap(-1, _PAGE)


def told_to_stop() -> bool:
    """Whether the main process of this worker was told to stop."""
    return _board[_STOP] == 1


def tell_to_stop() -> None:
    """Tell every child of this process; there is no way back."""
    _board[_STOP] = 1


def anybody_works() -> bool:
    """Whether a child runs a task. A byte is written by one process only, so that no lock is needed."""
    return any(_board[_STOP + 1 :])


def _note(state: int) -> None:
    place = getattr(current_process(), "index", None)
    # The one-process service has threads instead of children, and stops in its own way.
    if isinstance(place, int) and place + 1 < _PAGE:
        _board[place + 1] = state


@signals.worker_process_init.connect
def _begin(**_: object) -> None:
    # The child that had this place before may have been killed in the middle of a task.
    _note(0)


@signals.task_prerun.connect
def _works(**_: object) -> None:
    _note(1)


@signals.task_postrun.connect
def _rests(**_: object) -> None:
    _note(0)


class StoppingWorker(CeleryWorker):
    """Celery's worker, which tells its children to stop and waits no longer than they work."""

    def wait_for_soft_shutdown(self) -> None:
        """Wait until no task runs, at most `worker_soft_shutdown_timeout` seconds; a signal handler calls it.

        What is cut off then keeps its lease until that runs out, and is read first by whoever claims it.
        """
        tell_to_stop()
        if get_start_method() != "fork":
            # Children that were not forked share no memory with us.
            super().wait_for_soft_shutdown()
            return
        clock, grace = SystemClock(), _grace(self)
        until = clock.monotonic() + grace
        while anybody_works() and clock.monotonic() < until:
            clock.wait(_LOOK_EVERY)
        log().info("worker.stopped", finished=not anybody_works())


def _grace(worker: Any) -> float:  # noqa: ANN401 - celery is untyped
    return float(worker.app.conf.worker_soft_shutdown_timeout)
