"""An application over a real database, its bundle in force, and keys of every sort."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.servers.postgres import Postgres
from tests.world.databases import without_triggers
from worker.audit.note import Ed25519Signer
from worker.flows.activate import Source
from worker.flows.key import ADMIN_SCOPES, create_key
from worker.flows.seal import Sealer
from worker.http.app import create_app
from worker.http.services import Services
from worker.model.work import Lease
from worker.policy.load import load_texts
from worker.store import bundles, log, migrate, protections
from worker.store.engine import Database, open_database
from worker.store.tables import metadata

START = datetime(2026, 11, 22, 8, tzinfo=UTC)
ORIGIN = "tests.example/http"

POLICIES = """
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: support-30d, owner: team-support}
spec:
  mode: enforce
  match: {projects: ["support-eu", "sales-us"]}
  delete: {after: 30d}
  guards: {max_deletes: 500, max_percent: 100, min_population: 100, window: 24h, require_approval_over: 2}
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: keep-tagged, owner: platform}
spec:
  mode: enforce
  match: {tags: [{key: keep, operator: Exists}]}
  retain: {for: forever, basis: legal}
---
apiVersion: retention/v1
kind: Project
metadata: {name: support-eu, owner: team-support}
spec:
  provider: openai_compatible
  base_url: http://127.0.0.1:9/v1
  api_key: {env: TENURE_KEY_SUPPORT}
---
apiVersion: retention/v1
kind: Project
metadata: {name: sales-us, owner: team-sales}
spec:
  provider: openai_compatible
  base_url: http://127.0.0.1:9/v1
  provider_project: proj_sales
  api_key: {env: TENURE_KEY_SALES}
---
apiVersion: retention/v1
kind: Project
metadata: {name: support-twin, owner: team-support}
spec:
  provider: openai_compatible
  base_url: http://127.0.0.1:9/v1
  api_key: {env: TENURE_KEY_SUPPORT}
"""


class HandClock:
    """Moves a millisecond at each look, so that ids sort as they were made, and further when told to."""

    def __init__(self) -> None:
        self._now = START
        self._seconds = 0.0

    def now(self) -> datetime:
        self._now += timedelta(milliseconds=1)
        return self._now

    def monotonic(self) -> float:
        self._seconds += 0.001
        return self._seconds

    def wait(self, seconds: float) -> None:
        self._seconds += seconds
        self._now += timedelta(seconds=seconds)

    def move(self, **delta: float) -> None:
        self._now += timedelta(**delta)


class Client(Protocol):
    """Makes a client whose key has these scopes and projects."""

    def __call__(self, *scopes: str, projects: Sequence[str] = ("*",)) -> TestClient: ...


@dataclass
class House:
    """What one test works with."""

    database: Database
    clock: HandClock
    woken: list[str] = field(default_factory=list)

    @property
    def services(self) -> Services:
        signer = Ed25519Signer.from_seed(ORIGIN, bytes(32))
        return Services(
            database=self.database,
            clock=self.clock,
            lease=Lease(length=timedelta(seconds=300)),
            sealer=Sealer(origin=ORIGIN, signer=lambda: signer, actor="tests tenure/0"),
            wake=self.woken.append,
            source=Source(folder=Path(), key_globs=("TENURE_KEY_*",)),
        )

    def key(self, *scopes: str, projects: Sequence[str] = ("*",)) -> str:
        made = create_key(
            self.database,
            label="tests",
            scopes=scopes,
            projects=projects,
            actor="tests tenure/0",
            clock=self.clock,
        )
        return made.text


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    database = open_database(url)
    try:
        yield database
    finally:
        database.dispose()


def _migrate(database: Database) -> None:
    migrate.upgrade(database)
    with database.write() as db:
        log.create_head(db)


@pytest.fixture(scope="session")
def postgres_tables(postgres_server: Postgres) -> Iterator[Database]:
    """One database for the whole folder: emptying it is much cheaper than making another."""
    name = postgres_server.create()
    try:
        with _opened(postgres_server.url(name)) as database:
            migrate.upgrade(database)
            yield database
    finally:
        postgres_server.drop(name)


def _empty(database: Database) -> None:
    with database.write() as db:
        with without_triggers(db):
            for table in reversed(metadata.sorted_tables):
                db.execute(table.delete())
        log.create_head(db)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("sqlite") / "tenure.db"
    with _opened(f"sqlite:///{file}") as database:
        _migrate(database)
    return file


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path, sqlite_template: Path) -> Iterator[Database]:
    if request.param == "postgres":
        database = request.getfixturevalue("postgres_tables")
        _empty(database)
        yield database
        return
    shutil.copyfile(sqlite_template, tmp_path / "tenure.db")
    with _opened(f"sqlite:///{tmp_path}/tenure.db") as database:
        yield database


@pytest.fixture
def bare(database: Database) -> House:
    """Without a bundle."""
    return House(database=database, clock=HandClock())


@pytest.fixture
def house(bare: House) -> House:
    bundle = load_texts({"retention.yaml": POLICIES}).bundle
    assert bundle is not None
    with bare.database.write() as db:
        bundles.activate(
            db, digest=bundle.digest, canonical=bundle.canonical, origin={}, now=bare.clock.now()
        )
        bundles.advance_recompute(db, digest=bundle.digest, after=None)
        protections.ensure_rows(db, [protections.EVERYTHING])
    return bare


@pytest.fixture
def app(house: House) -> FastAPI:
    return create_app(house.services)


@pytest.fixture
def client(app: FastAPI, house: House) -> Client:
    def make(*scopes: str, projects: Sequence[str] = ("*",)) -> TestClient:
        text = house.key(*(scopes or ADMIN_SCOPES), projects=projects)
        return TestClient(app, headers={"Authorization": f"Bearer {text}"})

    return make


@pytest.fixture
def admin(client: Client) -> TestClient:
    return client()


@pytest.fixture
def registered(admin: TestClient) -> Callable[..., dict[str, Any]]:
    """Register a conversation; what is not given is plain."""

    def register(external_id: str, **fields: Any) -> dict[str, Any]:
        body = {"external_id": external_id, "project": "support-eu", "owner": "team-support", **fields}
        answer = admin.post("/v1/threads", json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    return register


@pytest.fixture
def assert_problem() -> Callable[..., dict[str, Any]]:
    """Check the shape of a problem and return it."""

    def check(answer: Any, status: int, code: str) -> dict[str, Any]:
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        body: dict[str, Any] = answer.json()
        assert body["status"] == status
        assert body["code"] == code
        assert body["type"] == f"/docs/problems/{code}"
        assert body["request_id"] == answer.headers["x-request-id"]
        assert {"title", "detail", "instance", "errors"} <= body.keys()
        assert body["title"]
        assert body["detail"]
        assert isinstance(body["errors"], list)
        return body

    return check
