"""PostgreSQL behind a pooler of transactions: nothing of Tenure lives in a session."""

from __future__ import annotations

import gc
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url, text

from tests.servers.pooler import Pooler, pooler
from tests.world.crash import in_background
from tests.world.world import make_world
from worker.model.decision import HoldScope
from worker.model.thread import Kind, ThreadState
from worker.store import migrate, work
from worker.store.engine import open_database

_SESSIONS = 4
UPGRADE = """
import sys
from worker.store import engine, migrate
migrate.upgrade(engine.open_database(sys.argv[1]))
"""


@pytest.fixture
def pooled(postgres_url: str) -> Iterator[tuple[Pooler, str]]:
    """A pooler with some sessions, and the URL of a fresh database behind it."""
    url = make_url(postgres_url)
    with pooler(url.host or "127.0.0.1", url.port or 5432) as made:
        behind = url.set(host="127.0.0.1", port=made.address)
        plain = behind.set(drivername="postgresql").render_as_string(hide_password=False)
        for _ in range(_SESSIONS):
            psycopg.connect(plain).close()
        yield made, behind.render_as_string(hide_password=False)


def test_this_pooler_gives_each_transaction_another_session(pooled: tuple[Pooler, str]) -> None:
    database = open_database(pooled[1])
    with database.engine.connect() as connection:
        seen = []
        for _ in range(3):
            seen.append(connection.execute(text("select pg_backend_pid()")).scalar_one())
            connection.commit()
    database.dispose()
    assert len(set(seen)) == 3


def test_this_pooler_leaves_nothing_open(postgres_url: str) -> None:
    """What it left open broke whichever test came next: clients that go just before it stops."""
    url = make_url(postgres_url)
    gc.collect()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(20):
            with pooler(url.host or "127.0.0.1", url.port or 5432) as made:
                behind = url.set(drivername="postgresql", host="127.0.0.1", port=made.address)
                plain = behind.render_as_string(hide_password=False)
                for client in [psycopg.connect(plain) for _ in range(2)]:
                    client.close()
        gc.collect()
    assert [str(one.message) for one in told if issubclass(one.category, ResourceWarning)] == []


def test_two_upgrades_at_once_behind_a_pooler_leave_no_lock_behind(pooled: tuple[Pooler, str]) -> None:
    children = [subprocess.Popen([sys.executable, "-c", UPGRADE, pooled[1]]) for _ in range(2)]
    assert [one.wait(60) for one in children] == [0, 0]
    database = open_database(pooled[1])
    migrate.require_current(database)
    locks = "select count(*) from pg_locks where locktype = 'advisory' and database = "
    locks += "(select oid from pg_database where datname = current_database())"
    with database.read() as db:
        assert db.execute(text(locks)).scalar_one() == 0
        assert db.execute(text("show lock_timeout")).scalar_one() == "0"
    database.dispose()


def test_the_whole_way_works_behind_a_pooler_beside_a_hold(
    pooled: tuple[Pooler, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_world(pooled[1], tmp_path / "policies") as world:
        monkeypatch.setattr(work, "lease_clock", world.clock.lease_clock)
        due = [world.register(kind=kind) for kind in (Kind.FILE, Kind.CONVERSATION) for _ in range(6)]
        held = world.register(kind=Kind.FILE)
        for kind in (Kind.FILE, Kind.CONVERSATION):
            world.register(kind=kind, age=timedelta(days=3))
        world.sweep()
        with in_background(world, workers=2) as workers:
            world.hold(HoldScope(ids=(held.thread.id,)), matter="case-9")
            for worker in workers:
                worker.result(60)
        world.clock.move(timedelta(minutes=2))
        world.drain()
        assert {world.grade(one) for one in due} == {"confirmed"}
        # The hold came when it came: what it did not keep had been sent before.
        assert world.exists(held) is (world.state(held) is ThreadState.LIVE)
    assert pooled[0].taken > 100
