"""Whether requests can be served, asked in a bounded time: what hangs is named, and nobody waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from worker.flows.tick import LAST_TICK
from worker.model.errors import TenureError
from worker.store import bundles, keys
from worker.store.engine import Database
from worker.store.migrate import SchemaOutdated, require_current

SECONDS = 2.0
OK, FAILED, SILENT, UNKNOWN = "ok", "failed", "silent", "unknown"
T = TypeVar("T")


class Probe(Generic[T]):
    """One question that may hang, in a thread of its own.

    While an earlier one hangs no other is begun: however often somebody asks, at most one thread and one
    connection wait for a server that does not answer.
    """

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._asked: Future[T] | None = None

    async def answer(self, seconds: float) -> T:
        """Return what the question gives; raises TimeoutError, and whatever the question raises."""
        if self._asked is None or self._asked.done():
            self._asked = Future()
            threading.Thread(target=self._run, args=(self._asked,), name="readyz", daemon=True).start()
        # Shielded: giving up must not cancel what the next one waits for.
        return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._asked)), seconds)

    def _run(self, asked: Future[T]) -> None:
        try:
            asked.set_result(self._ask())
        except Exception as e:  # noqa: BLE001 - it is raised again by whoever waits
            asked.set_exception(e)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What each part said; ``code`` names the first that fails, and is None where all is well."""

    checks: dict[str, str]
    code: str | None = None
    detail: str = ""
    bundle: str | None = None
    ticked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    schema: str | None
    bundle: str | None
    ticked_at: datetime | None


class Watch:
    """Asks the database and Redis."""

    def __init__(
        self, database: Database, redis: Callable[[], None] | None, *, seconds: float = SECONDS
    ) -> None:
        self._database = database
        self._seconds = seconds
        self._held = Probe(self._look)
        self._redis = None if redis is None else Probe(redis)

    async def look(self) -> Found:
        """Ask both at once."""
        held, redis = await asyncio.gather(self._ask_database(), self._ask_redis())
        told = {**held.checks, **({} if redis is None else {"redis": redis})}
        if held.code is None and redis not in {None, OK}:
            detail = f"Redis: {redis}. Holds can be placed all the same."
            return Found(checks=told, code="unavailable", detail=detail)
        return Found(
            checks=told,
            code=held.code,
            detail=held.detail,
            bundle=held.bundle,
            ticked_at=held.ticked_at,
        )

    async def _ask_database(self) -> Found:
        try:
            held = await self._held.answer(self._seconds)
        except TimeoutError:
            return _without_database(SILENT)
        except (SQLAlchemyError, TenureError):
            return _without_database(FAILED)
        if held.schema is not None:
            checks = {"database": OK, "schema": FAILED, "bundle": UNKNOWN}
            return Found(checks=checks, code="schema_outdated", detail=held.schema)
        if held.bundle is None:
            checks = {"database": OK, "schema": OK, "bundle": FAILED}
            detail = "No policies are in force yet. Put them into TENURE_POLICIES and start beat."
            return Found(checks=checks, code="no_bundle", detail=detail)
        checks = {"database": OK, "schema": OK, "bundle": OK}
        return Found(checks=checks, bundle=held.bundle, ticked_at=held.ticked_at)

    async def _ask_redis(self) -> str | None:
        if self._redis is None:
            return None
        try:
            await self._redis.answer(self._seconds)
        except TimeoutError:
            return SILENT
        except (TenureError, OSError):
            return FAILED
        return OK

    def _look(self) -> _Held:
        try:
            require_current(self._database)
        except SchemaOutdated as e:
            return _Held(schema=f"{e.problem} {e.repair}".strip(), bundle=None, ticked_at=None)
        with self._database.read() as db:
            digest, ticked = bundles.digest_in_force(db), keys.read_fact(db, LAST_TICK)
        return _Held(schema=None, bundle=digest, ticked_at=ticked[1] if ticked else None)


def _without_database(said: str) -> Found:
    checks = {"database": said, "schema": UNKNOWN, "bundle": UNKNOWN}
    return Found(checks=checks, code="unavailable", detail=f"The database: {said}.")
