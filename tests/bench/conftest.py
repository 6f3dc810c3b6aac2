"""What the measurements share: a stage with real servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.report import describe_packages, describe_postgres, describe_redis
from tests.bench.stage import Stage
from tests.servers.postgres import Postgres


@pytest.fixture
def stage(postgres_server: Postgres, redis_url: str, tmp_path: Path) -> Stage:
    """Where contenders run."""
    return Stage(server=postgres_server, redis_url=redis_url, folder=tmp_path)


@pytest.fixture
def servers(postgres_url: str, redis_url: str) -> list[str]:
    """The versions of what is measured beside Tenure's own code."""
    packages = describe_packages("openai", "aiohttp", "celery", "sqlalchemy", "psycopg")
    return [describe_postgres(postgres_url), describe_redis(redis_url), packages]
