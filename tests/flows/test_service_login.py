"""The whole work with a login that may only add to the log, as `deploy/database-roles.sh` makes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.servers.postgres import Postgres, connect
from tests.world.world import ACTOR, World, make_world
from worker.anchors.folder import FolderAnchor
from worker.flows.tick import Beat, keep_house
from worker.model.decision import HoldScope
from worker.model.ids import random_bytes
from worker.model.thread import Kind
from worker.sandbox.options import SandboxOptions
from worker.store import log, migrate, protections, rails, work
from worker.store.engine import open_database


@pytest.fixture
def service_url(postgres_url: str, postgres_server: Postgres) -> Iterator[str]:
    """A database that its owner has migrated, and a login of the service."""
    owner = open_database(postgres_url)
    migrate.upgrade(owner)
    with owner.write() as db:
        log.create_head(db)
        protections.ensure_rows(db, [protections.EVERYTHING])
    owner.dispose()
    name, password = f"tenure_test_{random_bytes(6).hex()}", random_bytes(8).hex()
    with connect(postgres_server.admin) as server:
        server.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}' IN ROLE {rails.APP}".encode())
    yield make_url(postgres_url).set(username=name, password=password).render_as_string(hide_password=False)
    with connect(postgres_server.admin) as server:
        server.execute(f"DROP ROLE {name}".encode())


@pytest.fixture
def world(service_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with make_world(service_url, tmp_path / "policies", SandboxOptions()) as made:
        monkeypatch.setattr(work, "lease_clock", made.clock.lease_clock)
        yield made


def test_threads_are_registered_held_deleted_sealed_and_anchored(world: World, tmp_path: Path) -> None:
    with world.database.read() as db:
        assert rails.look(db).open_to_us == []
    due, held = world.register(), world.register(kind=Kind.FILE, owner="witness")
    world.register(age=timedelta(days=3))
    world.hold(HoldScope(owners=("witness",)))
    folder = FolderAnchor(tmp_path / "anchors")
    sealer = replace(world.sealer, anchors=[folder])
    beat = Beat(database=world.database, clock=world.clock, source=world.source, sealer=sealer, actor=ACTOR)
    keep_house(beat)
    world.tick()
    world.sweep()
    world.drain()
    assert world.grade(due) == "confirmed"
    assert world.exists(held)
    world.clock.move(timedelta(minutes=2))
    keep_house(beat)
    with world.database.read() as db:
        newest = log.latest_seal(db)
    assert newest is not None
    assert [one.checkpoint.size for one in folder.newest()] == [newest.size]
