"""The roles of the last release go on while the schema is upgraded under them: expand first, contract later.

It runs from the first tag on. TENURE_TEST_OLDER=<revision> takes any other revision of the repository.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Fleet
from tests.world.world import POLICY
from worker.sandbox.kinds import ObjectKind
from worker.store import migrate

ROOT = Path(__file__).resolve().parents[2]


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], check=False, capture_output=True)
    return done.stdout if done.returncode == 0 else b""


def _older() -> str:
    """Return the newest release that is not this very commit; empty before the first."""
    given = os.environ.get("TENURE_TEST_OLDER", "")
    here = _git("tag", "--list", "v*", "--points-at", "HEAD").split()
    tags = _git("tag", "--list", "v*", "--sort=-version:refname", "--merged", "HEAD").split()
    return given or next((tag.decode() for tag in tags if tag not in here), "")


@pytest.fixture
def older(fleet: Fleet, tmp_path: Path) -> Fleet:
    """A fleet whose processes run the older release's code, on a schema that the older release made."""
    revision = _older()
    if not revision:
        pytest.skip("no release is tagged yet: nothing older has to go on")
    tree = tmp_path / "older"
    with tarfile.open(
        fileobj=io.BytesIO(_git("archive", "--format=tar", revision, "worker", "alembic"))
    ) as code:
        code.extractall(tree, filter="data")
    migrate.downgrade(fleet.database, "base")
    fleet.environment |= {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1", "TENURE_METRICS_LISTEN": ""}
    where = subprocess.run(
        [sys.executable, "-c", "import worker; print(worker.__file__)"],
        env=fleet.environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert where.stdout.startswith(str(tree))
    subprocess.run(
        [sys.executable, "-m", "worker", "db", "upgrade"],
        env=fleet.environment,
        check=True,
        capture_output=True,
    )
    return fleet


@pytest.mark.timeout(300)
def test_the_last_releases_roles_go_on_while_the_schema_is_upgraded_under_them(older: Fleet) -> None:
    for role in ("beat", "worker", "api"):
        older.start(role)
    older.eventually(lambda: older.call("GET", "/v1/policies").get("digest"), within=60)
    early = [older.register(ObjectKind.RESPONSE) for _ in range(3)]
    older.register(ObjectKind.RESPONSE, days=3)
    migrate.upgrade(older.database)
    late = [older.register(ObjectKind.RESPONSE) for _ in range(3)]
    held = older.register(ObjectKind.RESPONSE, owner="witness")
    placed = {"matter": "case-7", "reason": "court", "scope": {"owners": ["witness"]}}
    assert older.call("POST", "/v1/holds", placed)["matched"] == 1
    older.call("POST", "/v1/sweeps", {"policy": POLICY})
    try:
        older.eventually(lambda: all(older.state(one) == "deleted" for one in [*early, *late]), within=150)
    except pytest.fail.Exception:
        pytest.fail(older.logs())
    assert {older.grade(one) for one in [*early, *late]} == {"confirmed"}
    assert older.state(held) == "live"
    assert migrate.current(older.database) == migrate.head()
    assert "Traceback" not in "".join(path.read_text() for path in older.folder.glob("*.log"))
