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


def _end_of(fleet: Fleet, *command: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *command],
        env=fleet.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


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
