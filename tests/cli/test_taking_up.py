"""What a service that is started anew finds from the one before it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from worker.cli import service
from worker.flows.answer_once import Asked, StillRunning, begin
from worker.model.clock import SystemClock
from worker.settings import load_settings
from worker.store import rests
from worker.store.answers import Claim
from worker.wiring import prepare, wire


def test_places_that_a_crash_left_end_with_the_leases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENURE_DATA_DIR", str(tmp_path))
    tenure = wire(load_settings(), role="up")
    prepare(tenure)

    def place() -> rests.Place | None:
        with tenure.database.write() as db:
            return rests.enter(db, "credential", most=1, length=timedelta(hours=1), now=SystemClock().now())

    assert place() is not None
    assert place() is None
    service._take_up(tenure)
    assert place() is not None
    tenure.database.dispose()


def test_what_a_crash_left_half_answered_is_done_anew_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENURE_DATA_DIR", str(tmp_path))
    tenure = wire(load_settings(), role="up")
    prepare(tenure)
    asked = Asked(row="a" * 64, digest="b" * 64)
    first = begin(tenure.database, asked, clock=SystemClock())
    with pytest.raises(StillRunning):
        begin(tenure.database, asked, clock=SystemClock())
    service._take_up(tenure)
    again = begin(tenure.database, asked, clock=SystemClock())
    assert isinstance(again, Claim)
    assert again != first
    tenure.database.dispose()
