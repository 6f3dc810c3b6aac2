"""The storm: over several processes on PostgreSQL and Redis, and over the one-process service on SQLite.

`TENURE_CHAOS_SECONDS` makes it longer, `TENURE_CHAOS_SEED` repeats the draws of an earlier one.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.chaos.afterwards import ORIGIN, SEED, check, settle
from tests.chaos.fleet import Fleet
from tests.chaos.people import People, documents
from tests.chaos.proxy import Proxy
from tests.chaos.shown import SUMMARY
from tests.chaos.storm import ALWAYS, IN_ONE, ON_SEVERAL, Act, Storm
from tests.chaos.summary import summarise
from tests.servers.plugin import Eventually
from tests.servers.postgres import own_postgres
from tests.servers.valkey import own_valkey
from worker.sandbox.faults import parse_faults
from worker.sandbox.options import SandboxOptions
from worker.sandbox.server import SandboxServer
from worker.store import migrate
from worker.store.engine import Database, open_database

_SECONDS = float(os.environ.get("TENURE_CHAOS_SECONDS", "0"))
_SETTLE_SECONDS = 150.0 + _SECONDS / 2
# Bounds for a machine that others use too; a quiet one needs two to three minutes.
_LIMIT = pytest.mark.timeout(int(900 + 2 * _SECONDS))

Recorder = Callable[[str, object], None]


def _seed() -> int:
    return int(os.environ.get("TENURE_CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))


@contextmanager
def _sandbox(seed: int) -> Iterator[SandboxServer]:
    options = SandboxOptions(
        latency=timedelta(milliseconds=40),
        seed=seed,
        slow_by=timedelta(seconds=2),
        keep_requests=1_000_000,
        faults=parse_faults(ALWAYS),
    )
    with SandboxServer(options) as server:
        yield server


def _environment(folder: Path, base_url: str) -> dict[str, str]:
    policies = folder / "policies"
    policies.mkdir()
    (policies / "policies.yaml").write_text(documents(base_url))
    key = folder / "signing.key"
    key.write_text(SEED)
    ambient = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    return {
        **ambient,
        "TENURE_DATA_DIR": str(folder / "data"),
        "TENURE_POLICIES": str(policies),
        "TENURE_LISTEN": "127.0.0.1:0",
        "TENURE_TICK_SECONDS": "1",
        "TENURE_LEASE_SECONDS": "20",
        "TENURE_STALL_SECONDS": "60",
        "TENURE_AUDIT_ORIGIN": ORIGIN,
        "TENURE_SIGNING_KEY_FILE": str(key),
        "TENURE_LOG_FORMAT": "json",
        "TENURE_KEY_MAIN": "key-main",
        "TENURE_KEY_SIDE": "key-side",
        "TENURE_KEY_ASTRAY": "key-astray",
    }


def _blow(storm: Storm, people: People, acts: dict[str, Act], *, seconds: float, database: Database) -> None:
    people.begin(every=0.25)
    try:
        storm.blow(acts, seconds=seconds)
    finally:
        storm.calm()
        people.end()
    if not settle(database, people, within=_SETTLE_SECONDS):
        storm.counts["not settled in time"] += 1


@_LIMIT
def test_several_processes_on_postgresql_come_through_a_storm(
    tmp_path: Path, eventually: Eventually, record_property: Recorder
) -> None:
    seed = _seed()
    with ExitStack() as stack:
        sandbox = stack.enter_context(_sandbox(seed))
        postgres, valkey = stack.enter_context(own_postgres()), stack.enter_context(own_valkey())
        to_postgres = stack.enter_context(Proxy(postgres.databases.admin.port or 0))
        to_valkey = stack.enter_context(Proxy(valkey.port))
        name = postgres.databases.create()
        url = postgres.databases.admin.set(database=name)
        database = open_database(url.render_as_string(hide_password=False))
        migrate.upgrade(database)
        database.dispose()
        environment = {
            **_environment(tmp_path, sandbox.base_url),
            "TENURE_DATABASE_URL": url.set(port=to_postgres.port).render_as_string(hide_password=False),
            "TENURE_BROKER_URL": f"redis://:{valkey.password}@127.0.0.1:{to_valkey.port}/0",
        }
        fleet = Fleet(folder=tmp_path, environment=environment)
        stack.callback(fleet.stop)
        for one, command in (
            ("api", "api"),
            ("beat-1", "beat"),
            ("beat-2", "beat"),
            ("worker-1", "worker"),
            ("worker-2", "worker"),
        ):
            fleet.start(one, command)
        storm = Storm(
            fleet=fleet,
            sandbox=sandbox,
            dice=random.Random(seed),
            postgres=postgres,
            valkey=valkey,
            to_postgres=to_postgres,
            to_valkey=to_valkey,
        )
        people = People(fleet=fleet, sandbox=sandbox, seed=seed, nearly=timedelta(minutes=50))
        through = stack.enter_context(_disposed(environment["TENURE_DATABASE_URL"]))
        _finish(
            storm,
            people,
            ON_SEVERAL,
            seconds=_SECONDS or 75.0,
            database=through,
            eventually=eventually,
            seed=seed,
            record_property=record_property,
        )


@_LIMIT
def test_the_one_process_service_on_sqlite_comes_through_a_storm(
    tmp_path: Path, eventually: Eventually, record_property: Recorder
) -> None:
    seed = _seed()
    with ExitStack() as stack:
        sandbox = stack.enter_context(_sandbox(seed))
        fleet = Fleet(folder=tmp_path, environment=_environment(tmp_path, sandbox.base_url))
        stack.callback(fleet.stop)
        fleet.start("service", "up")
        storm = Storm(fleet=fleet, sandbox=sandbox, dice=random.Random(seed))
        # The service has no clock but its own: what is due within the hour by which it is set wrong, is due.
        people = People(fleet=fleet, sandbox=sandbox, seed=seed, nearly=timedelta(hours=2))
        database = stack.enter_context(_disposed(f"sqlite:///{tmp_path / 'data' / 'tenure.db'}"))
        _finish(
            storm,
            people,
            IN_ONE,
            seconds=_SECONDS or 45.0,
            database=database,
            eventually=eventually,
            seed=seed,
            record_property=record_property,
        )


@contextmanager
def _disposed(url: str) -> Iterator[Database]:
    database = open_database(url)
    try:
        yield database
    finally:
        database.dispose()


def _finish(
    storm: Storm,
    people: People,
    acts: dict[str, Act],
    *,
    seconds: float,
    database: Database,
    eventually: Eventually,
    seed: int,
    record_property: Recorder,
) -> None:
    """Blow, settle, stop, compare, and tell; what was told is shown also when it fails."""
    fleet, sandbox = storm.fleet, storm.sandbox
    told = f"TENURE_CHAOS_SEED={seed}"
    try:
        eventually(lambda: fleet.url and fleet.key, within=180)
        eventually(lambda: people.ask("GET", "/v1/policies").get("digest"), within=180)
        _blow(storm, people, acts, seconds=seconds, database=database)
        fleet.stop()
        told = summarise(seed=seed, storm=storm, people=people, sandbox=sandbox, database=database)
        check(database, people, sandbox, fleet.folder)
    except BaseException:
        told += "\n" + fleet.logs()
        raise
    finally:
        record_property(SUMMARY, told)
