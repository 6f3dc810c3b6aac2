"""The drain task: one claimed batch of one credential."""

from __future__ import annotations

from celery import shared_task
from kombu.exceptions import OperationalError

from worker.flows.claim import anything_ready
from worker.flows.decide import BundleUnreadable
from worker.flows.turn import turn
from worker.jobs.carried import Carried, sending
from worker.jobs.process import this_process
from worker.telemetry import ERROR_TYPE, log, raise_alert, traces

QUEUE = "drain"


@shared_task(base=Carried, name="tenure.drain", ignore_result=True)
def drain_now(credential: str) -> None:
    """Work off one batch, and wake the next one if more is ready."""
    process = this_process()
    with process.place_of(credential) as entered:
        try:
            told = process.run(turn(process.tools, credential)) if entered else None
        except BundleUnreadable as e:
            # Nothing was claimed; it waits for a worker of the version that wrote the bundle.
            raise_alert("bundle.unreadable", problem=e.problem, repair=e.repair)
            return
    if (
        told
        and not process.is_stopping()
        and credential in anything_ready(process.tenure.database, process.tenure.clock)
    ):
        # A backlog is one turn after the other, for days: each is a trace of its own, and its threads lead
        # back to the sweep that planned them.
        with traces.apart():
            wake(credential)


def wake(credential: str) -> None:
    """Send a wake-up for a credential; it carries no work, only a name.

    A broker that does not answer costs nothing but time: what was planned is in the database, and the next
    tick wakes again. So whoever planned it is told that it is planned.
    """
    try:
        with sending(QUEUE):
            drain_now.apply_async((credential,), queue=QUEUE)
    except OperationalError as e:
        log().warning("wake.failed", credential=credential, **{ERROR_TYPE: type(e.__cause__ or e).__name__})
