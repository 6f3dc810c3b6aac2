"""The tick task: plan what is due, wake workers."""

from __future__ import annotations

from celery import shared_task

from worker.flows.tick import is_superfluous, tick
from worker.jobs.carried import Carried
from worker.jobs.cover import look_at
from worker.jobs.drain import wake
from worker.jobs.process import this_process


@shared_task(base=Carried, name="tenure.tick", ignore_result=True)
def tick_now() -> None:
    """Run one tick; the unique (policy, slot) makes a doubled message harmless."""
    ticker = this_process().tenure.ticker(wake, look_at)
    if not is_superfluous(ticker):
        tick(ticker)
