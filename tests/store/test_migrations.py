"""Migrations lead to the tables of the code, and back."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import OperationalError

from worker.store import migrate, orders
from worker.store.engine import Database
from worker.store.migrate import SchemaOutdated
from worker.store.tables import metadata

UPGRADE = """
import sys
from worker.store import engine, migrate
migrate.upgrade(engine.open_database(sys.argv[1]))
"""


def tables(database: Database) -> set[str]:
    with database.engine.connect() as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


def test_up_down_and_up_again_leaves_no_drift(empty: Database) -> None:
    migrate.upgrade(empty)
    assert migrate.drift(empty) == []
    assert tables(empty) == set(metadata.tables)
    migrate.downgrade(empty, "base")
    assert tables(empty) == set()
    migrate.upgrade(empty)
    assert migrate.drift(empty) == []
    assert migrate.current(empty) == migrate.head()


def test_children_that_were_registered_before_they_had_a_table_are_taken_over(empty: Database) -> None:
    migrate.upgrade(empty)
    migrate.downgrade(empty, "0005")
    kept = {"t1": ("thread", ["vs_1", "file-1", "msg_1"]), "t2": ("conversation", ["file-2"])}
    columns = "id, kind, external_id, project, owner, tags, registered_at, state, provider, base_url, "
    columns += "organization, provider_project, children"
    with empty.engine.begin() as connection:
        for thread_id, (kind, children) in kept.items():
            values = (
                f"'{thread_id}', '{kind}', '{thread_id}', 'p', 'o', '{{}}', '2026-11-22', 'live', 'x', 'y'"
            )
            row = f"insert into thread ({columns}) values ({values}, '', '', '{json.dumps(children)}')"  # noqa: S608
            connection.execute(text(row))
    migrate.upgrade(empty)
    with empty.engine.connect() as connection:
        rows = connection.execute(text("select thread_id, child, place from thread_child order by place"))
        assert [tuple(row) for row in rows] == [("t1", "vs_1", 0), ("t1", "file-1", 1)]


def test_orders_of_before_have_the_deadline_that_the_law_gives_them(empty: Database) -> None:
    migrate.upgrade(empty)
    # One step before deadlines were known, whichever that is.
    scripts = ScriptDirectory.from_config(migrate._config())
    step = scripts.get_revision("0019")
    assert step is not None
    migrate.downgrade(empty, str(step.down_revision))
    ats = {"era_1": "2026-01-31 12:00:00", "era_2": "2026-12-05 00:00:00"}
    with empty.engine.begin() as connection:
        if not empty.is_sqlite:
            connection.execute(text("set time zone 'Pacific/Auckland'"))
        for name, at in ats.items():
            zoned = at if empty.is_sqlite else f"{at}+00"
            row = "insert into erasure (id, ids, reason, at, ordered_at, ordered_by) values "
            connection.execute(text(f"{row}('{name}', '[]', 'r', '{zoned}', '{zoned}', 'k')"))
    migrate.upgrade(empty)
    with empty.read() as db:
        found = {name: orders.get(db, name) for name in ats}
    assert {name: one and one.deadline for name, one in found.items()} == {
        "era_1": datetime(2026, 2, 28, 12, tzinfo=UTC),
        "era_2": datetime(2027, 1, 5, tzinfo=UTC),
    }


def test_there_is_one_head() -> None:
    assert len(ScriptDirectory.from_config(migrate._config()).get_heads()) == 1


def test_an_empty_database_is_not_taken_for_a_current_one(empty: Database) -> None:
    assert migrate.current(empty) is None
    with pytest.raises(SchemaOutdated):
        migrate.require_current(empty)
    migrate.upgrade(empty)
    migrate.require_current(empty)


def test_two_upgrades_one_after_the_other_are_one(database: Database) -> None:
    migrate.upgrade(database)
    assert migrate.drift(database) == []


def test_two_processes_that_upgrade_at_once_both_end_at_the_head(empty: Database) -> None:
    url = empty.engine.url.render_as_string(hide_password=False)
    children = [subprocess.Popen([sys.executable, "-c", UPGRADE, url]) for _ in range(2)]
    assert [one.wait(60) for one in children] == [0, 0]
    assert migrate.drift(empty) == []


def test_an_upgrade_that_does_not_get_its_lock_gives_up_and_can_be_run_again(empty: Database) -> None:
    if empty.is_sqlite:
        pytest.skip("SQLite has one lock for all of it, and waits for that")
    migrate.upgrade(empty)
    migrate.downgrade(empty, "0010")
    with empty.engine.begin() as somebody:
        # Whoever has the table keeps an index from being made; everybody else would queue behind the upgrade.
        somebody.execute(text("lock table thread in access exclusive mode"))
        with pytest.raises(OperationalError, match="lock timeout"):
            migrate.upgrade(empty)
    assert migrate.current(empty) == "0010"
    migrate.upgrade(empty)
    assert migrate.drift(empty) == []
