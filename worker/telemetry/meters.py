"""Meters: what a process counts while it works, for Prometheus. Base units, few labels, never an id.

A worker has several processes, and its main one answers for all of them: they count into files of one folder
(prometheus-client's multiprocess mode). The library chooses that when it is imported, so nothing here imports
it before the first count, and `share` comes before that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import structlog

from worker.model.evidence import Grade
from worker.model.thread import Kind

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Histogram

# Every alert that Tenure raises.
Alert = Literal[
    "anchor.failed",
    "anchor.forked",
    "anchor.lagging",
    "anchor.lost",
    "bundle.awaiting_approval",
    "bundle.refused",
    "bundle.unreadable",
    "control.failed",
    "coverage.unregistered",
    "credential.unusable",
    "erasure.overdue",
    "house.failed",
    "log.refused",
    "notice.undeliverable",
    "sweep.blocked",
    "thread.parked",
    "thread.reappeared",
    "turn.cut_short",
    "worker.stalled",
]
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60)
# From a minute to a week: the promise is a day.
_LAG = (60, 300, 900, 3600, 4 * 3600, 12 * 3600, 86_400, 2 * 86_400, 7 * 86_400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters:
    """Every counter and histogram of a process, by what is counted."""

    registrations: Counter
    decisions: Counter
    grades: Counter
    due_to_proven: Histogram
    provider_requests: Counter
    provider_seconds: Histogram
    throttles: Counter
    cooldown_seconds: Counter
    permit_wait: Histogram
    http_requests: Counter
    http_seconds: Histogram
    alerts: Counter


@cache
def meters() -> Meters:
    """Return the meters of this process; made on the first call."""
    from prometheus_client import (  # noqa: PLC0415 - see above: `share` comes first
        Counter,
        Histogram,
        disable_created_metrics,
    )

    disable_created_metrics()  # type: ignore[no-untyped-call]
    made = Meters(
        registrations=Counter(
            "tenure_registrations", "Registrations by what came of them.", ["kind", "result"]
        ),
        decisions=Counter("tenure_decisions", "Decisions under the claim, before a DELETE.", ["outcome"]),
        grades=Counter("tenure_grades", "Threads graded, by kind and grade.", ["kind", "grade"]),
        due_to_proven=Histogram(
            "tenure_due_to_proven_seconds", "From a thread's date to its proven deletion.", buckets=_LAG
        ),
        provider_requests=Counter(
            "tenure_provider_requests", "Requests to providers, by what came back.", ["step", "seen"]
        ),
        provider_seconds=Histogram(
            "tenure_provider_request_seconds", "How long answers took.", ["method"], buckets=_QUICK
        ),
        throttles=Counter("tenure_throttles", "Answers that asked for a pause."),
        cooldown_seconds=Counter("tenure_cooldown_seconds", "Pauses that were asked for, added up."),
        permit_wait=Histogram(
            "tenure_permit_wait_seconds", "How long requests waited for their slot.", buckets=_QUICK
        ),
        http_requests=Counter(
            "tenure_http_requests", "Requests that the API served.", ["method", "route", "status"]
        ),
        http_seconds=Histogram(
            "tenure_http_request_seconds", "How long the API took.", ["method", "route"], buckets=_QUICK
        ),
        alerts=Counter("tenure_alerts", "Alerts that were raised.", ["alert"]),
    )
    # A counter that begins with its first event shows no increase by it, and that event may be the only one.
    for alert in get_args(Alert):
        made.alerts.labels(alert=alert)
    for kind, grade in product(Kind, Grade):
        made.grades.labels(kind=kind.value, grade=grade.value)
    return made


def count(tell: Callable[[Meters], object]) -> None:
    """Let the meters count, and go on whatever becomes of it.

    What is counted has happened already, or is part of a transaction: a full disk, or a folder of meters that
    somebody removed, must not lose the answer to a DELETE or keep a thread from being armed.
    """
    try:
        tell(meters())
    except Exception as e:  # noqa: BLE001 - see above: there is nothing that may pass
        _complain(type(e).__name__)


def warm_up() -> None:
    """Make the meters now: the library takes a tenth of a second to import."""
    count(lambda _: None)


@cache
def _complain(reason: str) -> None:
    """Say it once in a process: it would be said with every request."""
    structlog.get_logger().warning("meters.failed", **{"error.type": reason})


def share(folder: Path, place: Callable[[], str]) -> None:
    """Let the processes that are forked from here on count into one folder, which is new.

    ``place`` names the place of the calling process in its pool. A child that follows another in its place
    goes on with its file; a file for each process id would stay for ever.
    """
    os.environ[_FOLDER] = str(folder)
    from prometheus_client import values  # noqa: PLC0415 - only now: it looks at the variable

    values.ValueClass = values.MultiProcessValue(place)  # type: ignore[no-untyped-call]


def collected() -> CollectorRegistry:
    """Return what is to be told: of all processes that share a folder, or of this one."""
    from prometheus_client import REGISTRY, CollectorRegistry  # noqa: PLC0415 - see above

    meters()
    if _FOLDER not in os.environ:
        return REGISTRY
    from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415 - see above

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
