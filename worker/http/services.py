"""What the HTTP edge works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from worker import __version__
from worker.flows.activate import Source
from worker.flows.seal import Sealer
from worker.http.throttle import Throttle
from worker.model.clock import Clock
from worker.model.work import Lease
from worker.store.engine import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The objects that routes use; ``wake`` tells a worker that a credential has something to claim.

    Of ``source`` no folder is read here: only which keys a project may name, and the service's own documents.
    """

    database: Database
    clock: Clock
    lease: Lease
    sealer: Sealer
    wake: Callable[[str], None]
    source: Source
    # None where nobody is throttled: in tests, and for commands that work beside the database.
    throttle: Throttle | None = None
    # Raises where Redis does not answer; None where there is no Redis.
    ask_redis: Callable[[], None] | None = None
    # How long a client may leave a body unfinished without sending any of it.
    body_seconds: float = 20.0
    # How often a request with an Idempotency-Key holds its claim for longer: a third of the lease.
    renew_seconds: float = 20.0
    version: str = __version__


async def _given(request: Request) -> Services:
    # Asynchronous, so that reading an attribute does not take a thread of the pool.
    found: Services = request.app.state.services
    return found


Given = Annotated[Services, Depends(_given)]
