"""`tenure sweep`: what it shows of a plan, and how it ends while deletes are paused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.ran import Run

_OLD = ("--created-at", "2020-06-01")


@pytest.mark.parametrize("more", [(), ("--wait",)], ids=["released", "waited for"])
def test_a_sweep_that_a_pause_keeps_is_blocked_until_it_is_resumed(
    tenure: Run, register: Callable[..., Any], more: tuple[str, ...]
) -> None:
    register("conv_1", "me", *_OLD)
    tenure("pause", "--reason", "an incident")
    done = tenure("sweep", "--policy", "conversations-30d", "--yes", *more, "-o", "json", code=4)
    assert done.json["sweeps"][0]["paused"] == [{"project": None, "reason": "an incident"}]
    assert "deletes are paused: an incident; `tenure resume` lets them go on." in done.err
    # The item of the first sweep is still there, so the second finds it kept as well.
    tenure("sweep", "--policy", "conversations-30d", "--yes", code=4)
    tenure("resume")
    sweep = done.json["sweeps"][0]["id"]
    assert tenure("sweeps", "show", sweep, "-o", "json").json["paused"] == []


def test_a_pause_is_told_only_where_it_keeps_something(tenure: Run, register: Callable[..., Any]) -> None:
    tenure("pause", "--project", "demo-support")
    tenure("pause", "--project", "demo-finance")
    tenure("sweep", "--yes")
    register("conv_1", "me", *_OLD)
    told = tenure("sweep", "--yes", code=4).err
    assert "`tenure resume --project demo-support`" in told
    assert "demo-finance" not in told
    assert "paused" not in tenure("sweep", "--dry-run").err


def test_a_dry_run_shows_the_first_threads_of_its_plan(tenure: Run, register: Callable[..., Any]) -> None:
    made = [register(f"conv_{number}", "me", *_OLD) for number in range(22)]
    done = tenure("sweep", "--policy", "conversations-30d", "--dry-run")
    rows = [line for line in done.out.splitlines() if line.startswith("thr_")]
    assert len(rows) == 20
    assert made[0]["id"] in rows[0]
    assert "conv_0" in rows[0]
    assert made[0]["decision"]["eligible_at"] in rows[0]
    assert "2 more" in done.err
    assert "conv_0" not in tenure("sweep", "--dry-run", "-o", "csv").out


def test_a_sweep_is_waited_for_only_where_its_database_is(
    tenure: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENURE_URL", "http://127.0.0.1:9")
    assert "local data folder" in tenure("sweep", "--yes", "--wait", code=2).err
