"""Bad input at the start: a process that could not do its work right says why, names the repair, and ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from sqlalchemy import text, update

from tests.end_to_end.conftest import Fleet
from tests.world.world import POLICIES
from worker.model.clock import utc_now
from worker.policy.load import load_texts
from worker.store import bundles, migrate
from worker.store.tables import bundle

_UNKNOWN = "at revision 9999, which this code does not know"
# Tasks that are routed and that no module has: a typing error in a route would be as silent.
_MISROUTED = """
import sys
from worker.celery import app
app.conf.task_routes = {**app.conf.task_routes, "tenure.gone": {"queue": "drain"}}
from worker.cli.main import main
sys.argv = ["tenure", "worker"]
main()
"""

# What a machine without a /dev/shm that may be written to does to the pool.
_WITHOUT_POOL = """
import sys
import celery.concurrency.prefork as prefork
def refused(*_, **__):
    raise PermissionError(13, "Permission denied")
prefork.TaskPool.on_start = refused
from worker.cli.main import main
sys.argv = ["tenure", "worker"]
main()
"""


def _run(fleet: Fleet, *command: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *command],
        env=fleet.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def _end_of(fleet: Fleet, *command: str) -> tuple[int, str]:
    code, told = _run(fleet, *command)
    assert "Traceback" not in told, told
    return code, told


def _tenure(fleet: Fleet, *arguments: str) -> tuple[int, str]:
    return _end_of(fleet, "-m", "worker", *arguments)


def _newer_schema(fleet: Fleet) -> None:
    with fleet.database.write() as db:
        db.execute(text("update alembic_version set version_num = '9999'"))


def _older_schema(fleet: Fleet) -> None:
    migrate.downgrade(fleet.database, "0007")


def _newer_bundle(fleet: Fleet) -> None:
    loaded = load_texts({"policies.yaml": POLICIES})
    assert loaded.bundle is not None
    made = loaded.bundle
    with fleet.database.write() as db:
        now = utc_now()
        bundles.activate(db, digest=made.digest, canonical=made.canonical, origin={}, now=now)
        later = made.canonical.replace("retention/v1", "retention/v2")
        db.execute(update(bundle).values(canonical=later))


@pytest.mark.parametrize(
    ("role", "spoil", "said", "repair"),
    [
        (
            "worker",
            _newer_schema,
            "at revision 9999, which this code does not know",
            "run that version here too",
        ),
        ("worker", _older_schema, "at revision 0007, this code needs", "tenure db upgrade"),
        ("worker", _newer_bundle, "cannot be read by Tenure", "run that one here too"),
        ("api", _newer_bundle, "cannot be read by Tenure", "run that one here too"),
        (
            "beat",
            _newer_schema,
            "at revision 9999, which this code does not know",
            "run that version here too",
        ),
    ],
)
@pytest.mark.timeout(120)
def test_a_process_of_another_version_than_the_database_does_not_start(
    fleet: Fleet, role: str, spoil: Callable[[Fleet], None], said: str, repair: str
) -> None:
    spoil(fleet)
    code, told = _tenure(fleet, role)
    assert (code, said in told, repair in told) == (1, True, True), told


@pytest.mark.timeout(60)
def test_a_database_that_a_newer_version_upgraded_is_left_as_it_is(fleet: Fleet) -> None:
    _newer_schema(fleet)
    code, told = _tenure(fleet, "db", "upgrade")
    assert (code, "Nothing was changed" in told) == (1, True)
    assert migrate.current(fleet.database) == "9999"


@pytest.mark.timeout(60)
def test_a_worker_without_a_task_that_is_routed_does_not_start(fleet: Fleet) -> None:
    code, told = _end_of(fleet, "-c", _MISROUTED)
    assert (code, "routed and not registered: tenure.gone" in told, "`include`" in told) == (1, True, True), (
        told
    )


@pytest.mark.timeout(60)
def test_a_worker_that_cannot_make_its_processes_ends_as_failed_and_says_what_they_need(fleet: Fleet) -> None:
    # The line of the log has the traceback: Celery writes it, and only it knows where the pool failed.
    code, told = _run(fleet, "-c", _WITHOUT_POOL)
    assert (code, "PermissionError" in told, "need a /dev" in told) == (1, True, True), told
