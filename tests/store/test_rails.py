"""The log's guard rails in the database: what they refuse, to whom, and who may take them off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import DatabaseError, IntegrityError, ProgrammingError

from tests.servers.postgres import Postgres, connect, postgres
from tests.world.databases import without_triggers
from worker.audit import bodies
from worker.audit.entry import Entry
from worker.model.ids import random_bytes
from worker.store import epochs, gone, log, log_keys, migrate, rails, tiles
from worker.store.engine import Database, open_database
from worker.store.epochs import Epoch
from worker.store.log import Seal
from worker.store.tiles import Tile

AT = datetime(2026, 11, 22, tzinfo=UTC)
TILE = Tile(level=0, n=0, hashes=(bytes(32),) * 256)
# One change of each kind to each table; every one of them must be refused.
KEYS = {
    "audit_leaf": "idx",
    "audit_body": "idx",
    "audit_gone": "first",
    "audit_checkpoint": "size",
    "audit_epoch": "number",
    "audit_tile": "n",
    "audit_key": "since",
}
CHANGES = [
    *(f"UPDATE {table} SET {key} = {key} + 1" for table, key in KEYS.items()),  # noqa: S608
    *(f"DELETE FROM {table}" for table in (*KEYS, "audit_head")),  # noqa: S608
    "UPDATE audit_leaf SET envelope = envelope",
    "UPDATE audit_body SET body = body",
    "UPDATE audit_head SET size = size - 1",
    "UPDATE audit_head SET size = size + 1, pseudonym_key = frontier",
]
REPLACEMENTS = [
    "INSERT OR REPLACE INTO audit_leaf VALUES (0, x'00')",
    "REPLACE INTO audit_body (idx, type, body) VALUES (0, 'x', x'00')",
    "INSERT OR REPLACE INTO audit_gone VALUES (0, 1, 2)",
    "INSERT OR REPLACE INTO audit_checkpoint VALUES (1, 1, '2026-11-22', 'x')",
    "INSERT OR REPLACE INTO audit_epoch VALUES (2, 7, '2026-11-22')",
    "INSERT OR REPLACE INTO audit_tile VALUES (0, 0, x'00', x'00')",
    "REPLACE INTO audit_key VALUES ('example.org/log', 0, 'another', '2026-11-22')",
    "INSERT OR REPLACE INTO audit_head VALUES (1, 0, 0, x'00', x'00')",
]
UPSERT = (
    "INSERT INTO audit_leaf VALUES (0, '\\x00') ON CONFLICT (idx) DO UPDATE SET envelope = excluded.envelope"
)


@pytest.fixture
def filled(database: Database) -> Database:
    """A log with one row in every table of it."""
    fill(database)
    return database


def fill(database: Database) -> None:
    with database.write() as db:
        log.create_head(db)
        log.append(db, [bodies.key_revoked(key=one, at=AT, actor="test tenure/0") for one in ("k1", "k2")])
        gone.empty(db, [0], pruned)
        log.store_seal(db, Seal(size=1, news=1, sealed_at=AT, note="note"))
        epochs.open_next(db, Epoch(number=2, first=0), AT)
        tiles.store_tiles(db, [TILE])
        log_keys.add_key(db, "example.org/log", "vkey", since=0, at=AT)


def pruned(leaves: gone.Ranges) -> Entry:
    return bodies.log_pruned(leaves=leaves, reason="old", at=AT, actor="test tenure/0")


def dump(database: Database) -> list[list[tuple[object, ...]]]:
    with database.read() as db:
        return [[tuple(row) for row in db.execute(text(f"SELECT * FROM {one}"))] for one in rails.LOG]  # noqa: S608


def refuses(database: Database, statement: str) -> None:
    before = dump(database)
    with pytest.raises(DatabaseError) as told, database.write() as db:
        db.execute(text(statement))
    assert isinstance(told.value, IntegrityError | ProgrammingError)
    assert dump(database) == before


@pytest.mark.parametrize("statement", CHANGES)
def test_no_row_of_the_log_is_changed_or_removed(filled: Database, statement: str) -> None:
    refuses(filled, statement)


def test_a_row_is_not_replaced_by_way_of_an_insert(filled: Database) -> None:
    for statement in REPLACEMENTS if filled.is_sqlite else [UPSERT]:
        refuses(filled, statement)


def test_adding_goes_on_as_before(filled: Database) -> None:
    with filled.write() as db:
        log.append(db, [bodies.key_revoked(key="k2", at=AT, actor="test tenure/0")])
        assert log.store_seal(db, Seal(size=2, news=2, sealed_at=AT, note="note"))
        # Somebody else's checkpoint of this size is still told by the key and not by a rail.
        assert not log.store_seal(db, Seal(size=2, news=2, sealed_at=AT, note="note"))
        # A tile that another process stored first is no conflict either.
        tiles.store_tiles(db, [TILE, replace(TILE, n=1)])
    with filled.read() as db:
        assert log.read_head(db).size == 4
        assert rails.look(db).missing == []


def test_a_rail_that_was_taken_off_is_missed(filled: Database) -> None:
    with filled.write() as db:
        with without_triggers(db):
            assert len(rails.look(db).missing) > len(rails.LOG)
        assert rails.look(db).missing == []


@pytest.fixture
def old(postgres_url: str) -> Iterator[Database]:
    """A migrated PostgreSQL database of this test's own, with a row in every table of the log."""
    database = open_database(postgres_url)
    migrate.upgrade(database)
    fill(database)
    yield database
    database.dispose()


@pytest.mark.parametrize("table", rails.LOG)
def test_no_table_of_the_log_is_truncated(old: Database, table: str) -> None:
    refuses(old, f"TRUNCATE {table}")


def test_a_session_that_plays_the_replica_is_refused_too(old: Database) -> None:
    with pytest.raises(IntegrityError, match="append-only"):
        act_as_replica(old)


def act_as_replica(old: Database) -> None:
    with old.write() as db:
        db.execute(text("SET LOCAL session_replication_role = replica"))
        db.execute(text("DELETE FROM audit_leaf"))


def test_a_trigger_that_is_switched_off_or_no_longer_always_fires_is_missed(old: Database) -> None:
    for state in ("DISABLE TRIGGER", "ENABLE TRIGGER"):
        with old.write() as db:
            db.execute(text(f"ALTER TABLE audit_body {state} audit_body_no_change"))
        with old.read() as db:
            assert rails.look(db).missing == ["audit_body_no_change"]


@pytest.fixture
def login(old: Database, postgres_server: Postgres) -> Iterator[URL]:
    """A login of this test's own; what it is a member of, the test says."""
    name, password = f"tenure_test_{random_bytes(6).hex()}", random_bytes(8).hex()
    with connect(postgres_server.admin) as server:
        server.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'".encode())
    url = make_url(postgres_server.url(str(old.engine.url.database)))
    yield url.set(username=name, password=password)
    with connect(postgres_server.admin) as server:
        server.execute(f"DROP ROLE {name}".encode())


def granted(old: Database, login: URL, role: str) -> Database:
    with old.write() as db:
        db.execute(text(f"GRANT {role} TO {login.username}"))
        # What is left when somebody takes the triggers off is the grants.
        for table in rails.LOG:
            db.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
    return open_database(login.render_as_string(hide_password=False))


def test_the_services_login_may_add_to_the_log_and_nothing_else(old: Database, login: URL) -> None:
    database = granted(old, login, "tenure_app")
    more = ("TRUNCATE audit_leaf", "DROP TABLE audit_leaf", "UPDATE alembic_version SET version_num = 'x'")
    # What moves the head forward is the service's own; only the trigger knows backwards.
    for statement in (*CHANGES, *more):
        if statement != "UPDATE audit_head SET size = size - 1":
            refuses(database, statement)
    refuses(database, "ALTER TABLE audit_leaf ENABLE ALWAYS TRIGGER audit_leaf_no_change")
    with database.write() as db:
        log.append(db, [bodies.key_revoked(key="k2", at=AT, actor="test tenure/0")])
        log.store_seal(db, Seal(size=2, news=2, sealed_at=AT, note="note"))
        tiles.store_tiles(db, [TILE, replace(TILE, n=1)])
        log_keys.add_key(db, "example.org/log", "next", since=2, at=AT)
    migrate.require_current(database)
    with database.read() as db:
        found = rails.look(db)
    assert (found.has_roles, found.open_to_app, found.open_to_us) == (True, [], [])
    assert found.user == login.username
    database.dispose()


def test_every_other_table_is_the_services_to_write(old: Database, login: URL) -> None:
    database = granted(old, login, "tenure_app")
    with database.read() as db:
        names = db.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars()
        others = sorted(set(names) - set(rails.LOG) - {"alembic_version"})
        may = text(
            "SELECT bool_and(has_table_privilege(CAST(:table AS text), what)) FROM "
            "unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS what"
        )
        assert [one for one in others if not db.execute(may, {"table": one}).scalar_one()] == []
    database.dispose()


def test_the_auditors_login_reads_the_log_and_neither_its_pseudonyms_key_nor_the_rest(
    old: Database, login: URL
) -> None:
    database = granted(old, login, "tenure_auditor")
    with database.read() as db:
        assert db.execute(text("SELECT count(*) FROM audit_leaf")).scalar_one() == 3
        assert db.execute(text("SELECT size FROM audit_head")).scalar_one() == 3
    for statement in (
        "SELECT pseudonym_key FROM audit_head",
        "SELECT * FROM api_key",
        "SELECT * FROM thread",
        "INSERT INTO audit_epoch VALUES (3, 1, now())",
        "SELECT tenure_empty_bodies(2)",
    ):
        with pytest.raises(ProgrammingError, match="permission denied"), database.write() as db:
            db.execute(text(statement))
    database.dispose()


def test_a_grant_that_somebody_added_is_told(old: Database) -> None:
    with old.write() as db:
        db.execute(text("GRANT DELETE ON audit_body TO tenure_app"))
        assert rails.look(db).open_to_app == ["audit_body"]


def test_a_superuser_is_told_what_it_could_do(old: Database) -> None:
    with old.read() as db:
        assert set(rails.look(db).open_to_us) == set(rails.LOG)


@pytest.mark.timeout(120)
def test_whoever_may_not_make_roles_goes_on_with_the_triggers_alone() -> None:
    with postgres() as server:
        _, plain = migrated_as(server, "plain", "")
        with plain.read() as db:
            found = rails.look(db)
        assert (found.missing, found.has_roles) == ([], False)
        fill(plain)
        refuses(plain, "DELETE FROM audit_leaf")
        plain.dispose()
        # Who may make them, without being a superuser, gives the log to the owner's role.
        name, maker = migrated_as(server, "maker", "CREATEROLE")
        with maker.read() as db:
            assert rails.look(db).has_roles
            owners = db.execute(
                text("SELECT DISTINCT tableowner FROM pg_tables WHERE tablename LIKE 'audit%'")
            ).scalars()
            assert list(owners) == ["tenure_owner"]
        migrate.downgrade(maker, "base")
        migrate.upgrade(maker)
        fill(maker)
        maker.dispose()
        server.drop(name)


def migrated_as(server: Postgres, login: str, options: str) -> tuple[str, Database]:
    """Make a login with these options and a database that it owns, and migrate it as that login."""
    password, name = random_bytes(8).hex(), server.create()
    with connect(server.admin) as admin:
        admin.execute(f"CREATE ROLE {login} LOGIN {options} PASSWORD '{password}'".encode())
        admin.execute(f"ALTER DATABASE {name} OWNER TO {login}".encode())
    url = make_url(server.url(name)).set(username=login, password=password)
    database = open_database(url.render_as_string(hide_password=False))
    migrate.upgrade(database)
    return name, database
