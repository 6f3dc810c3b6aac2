"""Bodies that go: by one path, under an entry that names their leaves, and by no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, text, update
from sqlalchemy.exc import DatabaseError, IntegrityError, ProgrammingError

from tests.servers.postgres import Postgres, connect
from tests.store.test_rails import dump
from tests.world.databases import without_triggers
from worker.audit import bodies
from worker.audit.entry import Entry
from worker.audit.gone import ranges_of
from worker.model.ids import random_bytes
from worker.store import gone, log, migrate, rails
from worker.store.engine import Database, open_database
from worker.store.gone import BodiesDisagree
from worker.store.log import Seal
from worker.store.tables import audit_body, audit_gone

AT = datetime(2026, 11, 22, tzinfo=UTC)
ACTOR = "test tenure/0"


def switched(project: str | None) -> Entry:
    return bodies.switch_changed(enabled=False, reason="tests", at=AT, actor=ACTOR, project=project)


def pruned(leaves: gone.Ranges) -> Entry:
    return bodies.log_pruned(leaves=leaves, reason="old", at=AT, actor=ACTOR)


def shredded(leaves: gone.Ranges) -> Entry:
    return bodies.body_shredded("a", leaves=leaves, reason="order", at=AT, actor=ACTOR)


def fill(database: Database) -> None:
    """Entries of project a (0, 1, 4), of b (2) and of none (3)."""
    with database.write() as db:
        log.create_head(db)
        log.append(db, [switched(one) for one in ("a", "a", "b", None, "a")])


@pytest.fixture
def filled(database: Database) -> Database:
    fill(database)
    return database


def left(database: Database) -> list[int]:
    with database.read() as db:
        return [one.index for one in gone.page(db, after=-1, below=100, limit=100)]


def refused(database: Database, *statements: str, entry: Entry | None = None) -> None:
    """Run them in one transaction, behind the entry that is appended; all of it must be refused."""
    before = dump(database)
    with pytest.raises(DatabaseError) as told:
        run(database, statements, entry)
    assert isinstance(told.value, IntegrityError | ProgrammingError)
    assert dump(database) == before


def run(database: Database, statements: Sequence[str], entry: Entry | None) -> None:
    with database.write() as db:
        log.append(db, [entry] if entry else [])
        for statement in statements:
            db.execute(text(statement))


def test_a_body_goes_with_its_entry_and_its_row_and_envelope_stay(filled: Database) -> None:
    with filled.write() as db:
        assert gone.empty(db, [0, 1, 4], shredded) == 3
    assert left(filled) == [2, 3]
    with filled.read() as db:
        assert log.body_at(db, 0) is None
        assert log.envelope_at(db, 0) is not None
        found = log.entries_after(db, projects=["a"])
        assert [(one.index, bool(one.body)) for one in found] == [
            (0, False),
            (1, False),
            (4, False),
            (5, True),
        ]
        assert b'"leaves":[[0,2],[4,5]]' in found[-1].body
        assert gone.disagreements(db) == []
        assert (gone.count(db), gone.newest_saying(db)) == (3, 5)
        frontier = log.recompute(db, 6)[1]
        assert frontier.root() == log.read_head(db).frontier.root()


def test_what_is_gone_is_not_named_a_second_time(filled: Database) -> None:
    with filled.write() as db:
        gone.empty(db, [0], shredded)
    with filled.write() as db:
        assert gone.empty(db, [0, 1], pruned) == 1
        assert gone.empty(db, [0, 1], pruned) == 0
    with filled.read() as db:
        assert gone.disagreements(db) == []


def test_a_transaction_that_ends_early_leaves_body_and_no_entry(filled: Database) -> None:
    before = dump(filled)

    def crash() -> None:
        with filled.write() as db:
            gone.empty(db, [0, 1], shredded)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crash()
    assert dump(filled) == before


def emptying(database: Database, index: int) -> str:
    nothing = "x''" if database.is_sqlite else "''"
    return f"UPDATE audit_body SET body = {nothing} WHERE idx = {index}"  # noqa: S608 - names of this file


def test_no_body_goes_without_a_word(filled: Database) -> None:
    refused(filled, emptying(filled, 0))
    # An entry alone is not enough, nor is one that names another leaf.
    refused(filled, emptying(filled, 0), entry=pruned([(0, 1)]))
    named = "INSERT INTO audit_gone VALUES (1, 2, 5)"
    refused(filled, named, emptying(filled, 0), entry=pruned([(1, 2)]))


def test_a_range_that_its_entry_does_not_hold_is_refused(filled: Database) -> None:
    for row in ("(0, 1, 5)", "(1, 3, 5)", "(1, 2, 4)", "(1, 2, 0)", "(5, 6, 5)"):
        refused(filled, f"INSERT INTO audit_gone VALUES {row}", entry=pruned([(1, 2)]))  # noqa: S608
    # Only the two types that excuse do, whatever their bytes say.
    said = bodies.switch_changed(enabled=True, reason="[1,2]", at=AT, actor=ACTOR)
    refused(filled, "INSERT INTO audit_gone VALUES (1, 2, 5)", entry=said)


def test_shredding_reaches_no_other_project(filled: Database) -> None:
    for other in (2, 3):
        named = f"INSERT INTO audit_gone VALUES ({other}, {other + 1}, 5)"  # noqa: S608
        refused(filled, named, emptying(filled, other), entry=shredded([(other, other + 1)]))


def test_what_excuses_others_never_goes(filled: Database) -> None:
    with filled.write() as db:
        gone.empty(db, [0], pruned)
    named = "INSERT INTO audit_gone VALUES (5, 6, 6)"
    refused(filled, named, emptying(filled, 5), entry=pruned([(5, 6)]))
    assert 5 not in left(filled)


def test_a_named_body_may_become_empty_and_nothing_else(filled: Database) -> None:
    with filled.write() as db:
        log.append(db, [pruned([(0, 1)])])
        db.execute(text("INSERT INTO audit_gone VALUES (0, 1, 5)"))
    byte = "x'00'" if filled.is_sqlite else "'\\x00'"
    for change in (f"body = {byte}", "type = 'x'", "project = NULL", "subject = 'x'", "idx = 77"):
        refused(filled, f"UPDATE audit_body SET {change} WHERE idx = 0")  # noqa: S608
    with filled.write() as db:
        db.execute(text(emptying(filled, 0)))
    refused(filled, f"UPDATE audit_body SET body = {byte} WHERE idx = 0")  # noqa: S608
    refused(filled, emptying(filled, 0))


def test_an_entry_that_would_name_more_than_goes_is_rolled_back(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(filled)
    monkeypatch.setattr(gone, "there", lambda _db, indices: sorted({*indices, 77}))
    with filled.write() as db:
        log.append(db, [switched("a")] * 80)
    with filled.write() as db, without_triggers(db):
        db.execute(audit_body.delete().where(audit_body.c.idx == 77))
    before = dump(filled)
    with pytest.raises(BodiesDisagree, match="names 2 bodies, and 1 would go"), filled.write() as db:
        gone.empty(db, [0], pruned)
    assert dump(filled) == before


def tampered(database: Database, *, what: str) -> Sequence[str]:
    with database.write() as db:
        gone.empty(db, [0, 1], pruned)
    with database.write() as db, without_triggers(db):
        match what:
            case "emptied":
                db.execute(update(audit_body).where(audit_body.c.idx == 4).values(body=b""))
            case "put back":
                db.execute(update(audit_body).where(audit_body.c.idx == 1).values(body=b"{}"))
            case "row removed":
                db.execute(audit_body.delete().where(audit_body.c.idx == 4))
            case "range removed":
                db.execute(audit_gone.delete())
            case _:
                db.execute(audit_gone.insert().values(first=2, until=3, entry=4))
    with database.read() as db:
        return gone.disagreements(db)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("emptied", ["1 bodies are gone and no entry says so"]),
        ("put back", ["1 bodies are there although an entry says that they are gone"]),
        ("row removed", ["1 leaves have no row for their body"]),
        (
            "range removed",
            [
                "2 bodies are gone and no entry says so",
                "entry 5 names other leaves than those that went under it",
            ],
        ),
        (
            "range added",
            [
                "1 bodies are there although an entry says that they are gone",
                "bodies went under entry 4, which says nothing of that",
            ],
        ),
    ],
)
def test_what_somebody_did_past_the_rails_is_told(filled: Database, what: str, told: list[str]) -> None:
    assert tampered(filled, what=what) == told


def test_on_sqlite_the_file_keeps_no_copy(tmp_path: Path) -> None:
    file = tmp_path / "log.db"
    database = open_database(f"sqlite:///{file}")
    # Some builds of SQLite overwrite by themselves; this one may not.
    off = "PRAGMA secure_delete = OFF"
    event.listen(database.engine, "connect", lambda one, _: one.execute(off) and None, insert=True)
    migrate.upgrade(database)
    with database.write() as db:
        log.create_head(db)
        log.append(db, [bodies.access_read(what="x" * 900 + "traceable", rows=1, at=AT, actor=ACTOR)] * 40)
    gone.drop_traces(database)
    assert b"traceable" in file.read_bytes()
    with database.write() as db:
        gone.empty(db, list(range(40)), pruned)
    gone.drop_traces(database)
    kept = b"".join(one.read_bytes() for one in tmp_path.iterdir())
    assert b"traceable" not in kept
    database.dispose()


def test_old_is_what_a_checkpoint_covered_by_then_and_a_clock_set_back_makes_nothing_old(
    database: Database,
) -> None:
    day = timedelta(days=1)
    with database.write() as db:
        log.create_head(db)
        for size, at in ((10, AT), (20, AT + 2 * day), (30, AT - 9 * day), (40, AT + 3 * day)):
            log.store_seal(db, Seal(size=size, news=size, sealed_at=at, note="note"))
        assert gone.sealed_before(db, AT - 10 * day) == 0
        assert gone.sealed_before(db, AT + day) == 10
        assert gone.sealed_before(db, AT + 2 * day) == 30
        assert gone.sealed_before(db, AT + 9 * day) == 40


def test_ranges_are_the_runs_of_indices() -> None:
    assert ranges_of([]) == []
    assert ranges_of([0, 1, 2, 5, 7, 8]) == [(0, 3), (5, 6), (7, 9)]


@pytest.fixture
def service(postgres_url: str, postgres_server: Postgres) -> Iterator[Database]:
    """A login that is a member of the service's role, on a database that was migrated by another."""
    owner = open_database(postgres_url)
    migrate.upgrade(owner)
    fill(owner)
    name, password = f"tenure_test_{random_bytes(6).hex()}", random_bytes(8).hex()
    with connect(postgres_server.admin) as server:
        server.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}' IN ROLE tenure_app".encode())
    database = open_database(
        owner.engine.url.set(username=name, password=password).render_as_string(hide_password=False)
    )
    yield database
    database.dispose()
    owner.dispose()
    with connect(postgres_server.admin) as server:
        server.execute(f"DROP ROLE {name}".encode())


def test_with_the_triggers_off_the_function_empties_what_an_entry_names_and_nothing_else(
    service: Database, postgres_url: str
) -> None:
    owner = open_database(postgres_url)
    with owner.write() as db:
        for table in rails.LOG:
            db.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
    owner.dispose()
    with service.write() as db:
        # Beside what is named: a leaf of another project, one that is not named, an entry of another type.
        log.append(db, [shredded([(1, 3)])])
        db.execute(text("INSERT INTO audit_gone VALUES (1, 3, 5), (0, 1, 5), (3, 4, 4)"))
        assert db.execute(text("SELECT tenure_empty_bodies(5)")).scalar_one() == 1
        assert db.execute(text("SELECT tenure_empty_bodies(4)")).scalar_one() == 0
    assert left(service) == [0, 2, 3, 4]


def test_the_services_login_empties_by_the_function_alone(service: Database) -> None:
    with service.write() as db:
        assert gone.empty(db, [0, 4], shredded) == 2
    assert left(service) == [1, 2, 3]
    with service.read() as db:
        found = rails.look(db)
        assert (found.missing, found.open_to_app, found.open_to_us) == ([], [], [])
        assert gone.disagreements(db) == []
    # Named or not, its own UPDATE is refused; and no table of its own stands before those of the log.
    with service.write() as db:
        log.append(db, [pruned([(1, 2)])])
        db.execute(text("INSERT INTO audit_gone VALUES (1, 2, 6)"))
    refused(service, emptying(service, 1))
    refused(
        service,
        "CREATE TEMP TABLE audit_gone (first bigint, until bigint, entry bigint)",
        "INSERT INTO pg_temp.audit_gone VALUES (2, 3, 2)",
        "SELECT tenure_empty_bodies(2)",
        emptying(service, 2),
    )
