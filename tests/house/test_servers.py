"""The servers that tests run on: real ones, apart from each other, and gone when the tests are gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from sqlalchemy import create_engine, make_url, text

from tests.servers.plugin import Eventually
from tests.servers.postgres import Postgres
from tests.servers.process import free_port
from tests.servers.valkey import delete_keys

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = """
import sys
from tests.servers.postgres import postgres
from tests.servers.valkey import valkey
with postgres() as database, valkey() as cache:
    print(database.admin.port, cache.rpartition(":")[2].partition("/")[0], flush=True)
    sys.stdin.read()
"""


def test_a_fresh_database_is_empty_and_speaks_utf8(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    with engine.connect() as connection:
        tables = connection.scalar(text("select count(*) from pg_tables where schemaname = 'public'"))
        encoding = connection.scalar(text("show server_encoding"))
    engine.dispose()
    assert (tables, encoding) == (0, "UTF8")


def test_a_database_can_copy_another_and_goes_although_somebody_is_connected(
    postgres_server: Postgres,
) -> None:
    template = postgres_server.create()
    with psycopg.connect(_plain(postgres_server, template), autocommit=True) as connection:
        connection.execute("create table marked (id int)")
    copy = postgres_server.create(template=template)
    with psycopg.connect(_plain(postgres_server, copy), autocommit=True) as connection:
        connection.execute("select id from marked")
        postgres_server.drop(copy)
    postgres_server.drop(template)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(_plain(postgres_server, copy))


def _plain(server: Postgres, name: str) -> str:
    return make_url(server.url(name)).set(drivername="postgresql").render_as_string(hide_password=False)


def test_the_redis_server_runs_lua_with_its_own_clock(redis_url: str, redis_prefix: str) -> None:
    script = "redis.call('SET', KEYS[1], ARGV[1]); return redis.call('TIME')[1]"
    with redis.Redis.from_url(redis_url) as client:
        seconds = client.eval(script, 1, f"{redis_prefix}key", "1")
        assert isinstance(seconds, bytes)
        assert int(seconds) > 0


def test_only_the_keys_under_the_prefix_are_deleted(redis_url: str, redis_prefix: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.mset({f"{redis_prefix}mine:1": 1, f"{redis_prefix}mine:2": 2, f"{redis_prefix}other": 3})
        delete_keys(redis_url, prefix=f"{redis_prefix}mine:")
        assert client.keys(f"{redis_prefix}*") == [f"{redis_prefix}other".encode()]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A temporary folder that the account of a server may enter too."""
    with tempfile.TemporaryDirectory(prefix="tenure-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_killed_tests_leave_no_server_behind(eventually: Eventually, open_folder: Path) -> None:
    tests = subprocess.Popen(
        [sys.executable, "-c", LAUNCH],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(open_folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with tests:
        assert tests.stdout is not None
        ports = [int(port) for port in tests.stdout.readline().split()]
        assert len(ports) == 2
        assert not any(map(_refuses, ports))
        os.kill(tests.pid, signal.SIGKILL)
    eventually(lambda: all(map(_refuses, ports)))


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_free_port_is_above_the_standard_ones() -> None:
    assert free_port() > 1023


def test_the_environment_of_whoever_runs_the_tests_names_no_target() -> None:
    own = [n for n in os.environ if n.startswith(("TENURE_", "OPENAI_")) and not n.startswith("TENURE_TEST_")]
    assert own == []
