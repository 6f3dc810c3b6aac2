"""Fixtures for real servers, started when the first test asks for one.

`TENURE_TEST_DATABASE_URL` and `TENURE_TEST_REDIS_URL` name running servers to use instead. There too each
test has a database and a key prefix of its own, which are removed afterwards; nothing else is touched.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import pytest

from tests.servers.postgres import Postgres, postgres
from tests.servers.valkey import delete_keys, new_prefix, valkey

T = TypeVar("T")


class Eventually(Protocol):
    """Call a condition until it is true and return what it said; fails the test after `within` seconds."""

    def __call__(self, condition: Callable[[], T], *, within: float = 10.0) -> T: ...


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """The server on which a test's databases are made."""
    with postgres(os.environ.get("TENURE_TEST_DATABASE_URL")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template() -> str | None:
    """The database that each new one copies; a folder's conftest may override it with a migrated one."""
    return None


@pytest.fixture
def postgres_database(postgres_server: Postgres, postgres_template: str | None) -> Iterator[str]:
    """The name of a fresh database of this test's own."""
    name = postgres_server.create(template=postgres_template)
    try:
        yield name
    finally:
        postgres_server.drop(name)


@pytest.fixture
def postgres_url(postgres_server: Postgres, postgres_database: str) -> str:
    """The SQLAlchemy URL of this test's fresh database, over TCP, so that other processes may use it."""
    return postgres_server.url(postgres_database)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A server that the whole run shares: keep to `redis_prefix`."""
    with valkey(os.environ.get("TENURE_TEST_REDIS_URL")) as url:
        yield url


@pytest.fixture
def redis_prefix(redis_url: str) -> Iterator[str]:
    """A key prefix of this test's own; Celery takes it as the broker option `global_keyprefix`."""
    prefix = new_prefix()
    try:
        yield prefix
    finally:
        delete_keys(redis_url, prefix=prefix)


@pytest.fixture
def eventually() -> Eventually:
    """Wait for a condition with a deadline, instead of sleeping and hoping."""
    return _eventually


def _eventually(condition: Callable[[], T], *, within: float = 10.0) -> T:
    deadline = time.monotonic() + within
    while not (seen := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within} s; last seen: {seen!r}")
        time.sleep(0.01)
    return seen
