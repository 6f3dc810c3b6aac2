"""The coverage sweep in production's shape: two beats wake, a worker looks, and it looks once."""

from __future__ import annotations

import pytest

from tests.end_to_end.conftest import Fleet
from tests.world.world import PROJECT
from worker.model.thread import Kind
from worker.sandbox.control import make_sample
from worker.sandbox.kinds import ObjectKind
from worker.store import coverages
from worker.store.coverages import KindCoverage

_LISTED = {Kind.FILE, Kind.VECTOR_STORE, Kind.CONTAINER, Kind.CHAT_COMPLETION, Kind.CHATKIT_THREAD}


@pytest.mark.timeout(150)
def test_a_worker_that_two_beats_wake_counts_what_nobody_registered_once(fleet: Fleet) -> None:
    make_sample(fleet.sandbox.store, ObjectKind.FILE, created_at=1_790_000_000, project="proj_test")
    fleet.start("beat")
    fleet.start("beat")
    fleet.start("worker")

    def ended() -> list[KindCoverage]:
        with fleet.database.read() as db:
            found = list(coverages.of_projects(db, [PROJECT]).get(PROJECT, ()))
        return found if {one.kind for one in found} >= _LISTED else []

    try:
        found = {one.kind: one for one in fleet.eventually(ended, within=100)}
    except pytest.fail.Exception:
        pytest.fail(fleet.logs())
    assert (found[Kind.FILE].found, found[Kind.FILE].unregistered) == (1, 1)
    lists = [one.path for one in fleet.sandbox.requests() if one.path.endswith("/files")]
    assert len(lists) == 1
