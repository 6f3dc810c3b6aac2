"""What `tenure doctor` looks at of the machine and the servers beside it: disk, Redis, clock, trust store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import Connection

from worker.cli.check import Check, Status, problem_of
from worker.cli.surroundings import trust
from worker.model.clock import Clock
from worker.model.errors import TenureError
from worker.pacing.redis import require_redis
from worker.settings import Settings
from worker.store.engine import lease_clock

_LITTLE, _TOO_LITTLE = 1024**3, 100 * 1024**2
_MOST_APART = timedelta(seconds=5)


def machine_checks(settings: Settings) -> Iterator[Check]:
    """Look at what every role on this machine needs; asks no provider."""
    yield from _disk(settings)
    yield from _redis(settings)
    yield trust()


def _disk(settings: Settings) -> Iterator[Check]:
    """Tell how much room is left where this process writes: a full disk stops writes, and so deletions."""
    folder = settings.data_dir
    if not folder.is_dir():
        return
    free = shutil.disk_usage(folder).free
    what = f"{free / 1024**3:.1f} GiB are free at {folder}"
    if free < _TOO_LITTLE:
        yield problem_of("disk", what, "Make room: a database that cannot write deletes nothing.")
    else:
        status = Status.WARNING if free < _LITTLE else Status.OK
        repair = "Make room soon." if status is Status.WARNING else ""
        yield Check(check="disk", status=status, what=what, repair=repair)


def _redis(settings: Settings) -> Iterator[Check]:
    """Tell whether each Redis answers and may be relied on; nothing in it needs to be kept."""
    named = {settings.redis: "redis"} if settings.redis else {}
    if not settings.is_embedded and settings.broker_url.startswith(("redis://", "rediss://", "unix://")):
        named.setdefault(settings.broker_url, "broker")
    if not named:
        yield Check(check="redis", status=Status.INFO, what="Not used: one process paces and wakes itself.")
    for url, name in named.items():
        try:
            require_redis(url)
        except TenureError as e:
            yield problem_of(name, e.problem, e.repair)
        else:
            both = " (broker and pacer)" if settings.broker_url == settings.redis else ""
            yield Check(check=name, status=Status.OK, what=f"answers, and evicts nothing{both}")


def clocks_agree(db: Connection, clock: Clock) -> Check:
    """Compare this machine's clock with the database's, on which leases run."""
    apart = clock.now() - lease_clock(db, clock.now())
    what = f"This machine and the database are {abs(apart).total_seconds():.1f} s apart."
    if abs(apart) <= _MOST_APART:
        return Check(check="clock", status=Status.OK, what=what)
    return problem_of("clock", what, "Set both by NTP: due dates follow one, leases the other.")
