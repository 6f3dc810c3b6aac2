"""`/readyz` answers in a bounded time and names what fails, whoever hangs."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from worker.http.app import create_app
from worker.http.readiness import SECONDS, Probe, Watch
from worker.pacing.redis import require_redis
from worker.store.engine import open_database

Check = Callable[..., dict[str, Any]]
LIMIT = 0.2


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


def _look(watch: Watch) -> tuple[str | None, dict[str, str]]:
    found = asyncio.run(watch.look())
    return found.code, found.checks


def test_all_is_well(house: Any, redis_url: str) -> None:
    app = create_app(replace(house.services, ask_redis=partial(require_redis, redis_url)))

    shown = TestClient(app).get("/readyz").json()

    assert shown["status"] == "ready"
    assert shown["checks"] == {"database": "ok", "schema": "ok", "bundle": "ok", "redis": "ok"}


def test_redis_that_hangs_is_named_in_time(house: Any, black_hole: int) -> None:
    ask = partial(require_redis, f"redis://127.0.0.1:{black_hole}/0")
    began = time.monotonic()

    # Long enough for the database, which answers, on a machine that is busy.
    code, checks = _look(Watch(house.database, ask, seconds=5 * LIMIT))

    assert time.monotonic() - began < 4  # the client itself would wait for five seconds
    assert code == "unavailable"
    assert checks["redis"] == "silent"
    assert checks["database"] == "ok"


def test_redis_that_refuses_is_named_by_the_route(house: Any, assert_problem: Check) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ask = partial(require_redis, f"redis://127.0.0.1:{port}/0")
    answer = TestClient(create_app(replace(house.services, ask_redis=ask))).get("/readyz")

    problem = assert_problem(answer, 503, "unavailable")

    assert problem["checks"]["redis"] == "failed"
    assert "Redis" in problem["detail"]
    assert "retry-after" in answer.headers


def test_a_database_that_hangs_is_named_in_time(black_hole: int) -> None:
    database = open_database(f"postgresql+psycopg://nobody@127.0.0.1:{black_hole}/none")
    began = time.monotonic()
    try:
        code, checks = _look(Watch(database, None, seconds=LIMIT))
    finally:
        database.dispose()

    assert time.monotonic() - began < 4  # connecting would wait for ten seconds
    assert code == "unavailable"
    assert checks == {"database": "silent", "schema": "unknown", "bundle": "unknown"}


def test_a_database_that_refuses_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    database = open_database(f"postgresql+psycopg://nobody@127.0.0.1:{port}/none")

    code, checks = _look(Watch(database, None))

    assert (code, checks["database"]) == ("unavailable", "failed")


def test_another_schema_and_no_bundle_are_named(bare: Any, assert_problem: Check) -> None:
    client = TestClient(create_app(bare.services))
    none = assert_problem(client.get("/readyz"), 503, "no_bundle")
    assert none["checks"] == {"database": "ok", "schema": "ok", "bundle": "failed"}
    with bare.database.write() as db:
        (before,) = db.execute(text("SELECT version_num FROM alembic_version")).one()
        db.execute(text("UPDATE alembic_version SET version_num = '0001'"))

    try:
        old = assert_problem(client.get("/readyz"), 503, "schema_outdated")
        assert old["checks"] == {"database": "ok", "schema": "failed", "bundle": "unknown"}
    finally:
        with bare.database.write() as db:
            db.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": before})


def test_however_often_somebody_asks_one_thread_waits_for_what_hangs() -> None:
    go, begun = threading.Event(), []

    def hang() -> str:
        begun.append(1)
        go.wait(10)
        return "late"

    probe = Probe(hang)

    async def ask() -> str:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await probe.answer(0.01)
        waiting = asyncio.ensure_future(probe.answer(10))
        await asyncio.sleep(0)
        go.set()
        return await waiting

    assert asyncio.run(ask()) == "late"
    assert len(begun) == 1


def test_both_that_hang_are_named_by_the_route_in_the_time_of_one(
    house: Any, black_hole: int, assert_problem: Check
) -> None:
    database = open_database(f"postgresql+psycopg://nobody@127.0.0.1:{black_hole}/none")
    ask = partial(require_redis, f"redis://127.0.0.1:{black_hole}/0")
    app = create_app(replace(house.services, database=database, ask_redis=ask))
    began = time.monotonic()
    try:
        alive = TestClient(app).get("/healthz")
        problem = assert_problem(TestClient(app).get("/readyz"), 503, "unavailable")
    finally:
        database.dispose()

    assert time.monotonic() - began < 2 * SECONDS
    assert alive.json()["status"] == "ok"
    assert problem["checks"]["database"] == problem["checks"]["redis"] == "silent"


def test_alive_is_answered_while_the_database_hangs(house: Any, black_hole: int) -> None:
    database = open_database(f"postgresql+psycopg://nobody@127.0.0.1:{black_hole}/none")

    answer = TestClient(create_app(replace(house.services, database=database))).get("/healthz")

    assert answer.json()["status"] == "ok"
