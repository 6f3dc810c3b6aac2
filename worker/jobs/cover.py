"""The cover task: one slice of a project's coverage sweep."""

from __future__ import annotations

from celery import shared_task
from kombu.exceptions import OperationalError

from worker.flows.cover import cover
from worker.jobs.carried import Carried, sending
from worker.jobs.process import this_process
from worker.telemetry import ERROR_TYPE, log

QUEUE = "drain"


@shared_task(base=Carried, name="tenure.cover", ignore_result=True)
def cover_now(project: str) -> None:
    """Look on; a doubled or an old message finds the look taken, or not due."""
    process = this_process()
    if not process.is_stopping():
        process.run(cover(process.tools, project))


def look_at(project: str) -> None:
    """Wake a worker for a project's coverage; a broker that is gone costs one tick."""
    try:
        with sending(QUEUE):
            cover_now.apply_async((project,), queue=QUEUE)
    except OperationalError as e:
        log().warning("wake.failed", project=project, **{ERROR_TYPE: type(e.__cause__ or e).__name__})
