"""`tenure sweep`: what it shows of a plan, and how it ends while deletes are paused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.cli.ran import Run
from worker.cli import sweep as sweeping
from worker.cli.service import service_lock
from worker.settings import load_settings
from worker.store.engine import open_database
from worker.store.tables import work_item

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


def test_a_sweep_elsewhere_is_waited_for_until_nobody_works_on_it(
    tenure: Run, register: Callable[..., Any], service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del service
    looks: list[tuple[int, int]] = []

    @contextmanager
    def progress(_: str) -> Iterator[Callable[[int, int], None]]:
        def tell(done: int, most: int) -> None:
            looks.append((done, most))
            if len(looks) == 2:
                tenure("pause", "--reason", "enough")

        yield tell

    register("conv_1", "me", *_OLD)
    monkeypatch.setattr(sweeping, "progress", progress)
    done = tenure("sweep", "--policy", "conversations-30d", "--yes", "--wait", "-o", "json", code=4)
    assert looks == [(0, 1), (0, 1)]
    assert [(one["planned"], one["busy"]) for one in done.json["sweeps"]] == [(1, 0)]


def test_a_command_that_finds_the_data_folder_taken_leaves_the_work_to_whoever_has_it(
    tenure: Run, register: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []

    @contextmanager
    def progress(_: str) -> Iterator[Callable[[int, int], None]]:
        def tell(done: int, most: int) -> None:
            told.append((done, most))
            if len(told) == 2:  # what a pause keeps is waited for no longer
                tenure("pause", "--reason", "enough")

        yield tell

    register("conv_1", "me", *_OLD)
    monkeypatch.setattr(sweeping, "progress", progress)
    with service_lock(load_settings()) as ours:
        assert ours
        tenure("sweep", "--policy", "conversations-30d", "--yes", "--wait", code=4)
    assert told == [(0, 1), (0, 1)]
    database = open_database(load_settings().database)
    with database.read() as db:
        [item] = db.execute(select(work_item.c.state, work_item.c.fence)).all()
    database.dispose()
    assert tuple(item) == ("planned", 0)


_GUARDS = "{max_deletes: 5, max_percent: 100, min_population: 0, window: 24h, require_approval_over: 1}"
_RULE = """apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: old-30d, owner: tests}
spec:
  mode: enforce
  match: {projects: ["demo-support"]}
  delete: {after: 30d}
  before_delete: []
  guards: GUARDS
"""


def _rules(folder: Path, guards: str = _GUARDS, notify: str = "") -> None:
    """Put one rule in the place of the shipped ones; the next command puts it in force."""
    (folder / "policies" / "retention.test.yaml").unlink(missing_ok=True)
    text = _RULE.replace("GUARDS", guards).replace("  before_delete: []\n", notify)
    (folder / "policies" / "retention.yaml").write_text(text)


def _waiting(tenure: Run, register: Callable[..., Any], *more: str) -> dict[str, Any]:
    for number in range(2):
        register(f"conv_{number}", "me", *_OLD)
    [made] = tenure("sweep", "--policy", "old-30d", "--yes", *more, "-o", "json", code=3).json["sweeps"]
    assert made["state"] == "awaiting_approval"
    return dict(made)


def _approval(made: dict[str, Any], **parts: str) -> tuple[str, ...]:
    given = {"digest": made["plan"]["digest"], "reason": "looked through"} | parts
    return ("sweeps", "approve", made["id"], "--digest", given["digest"], "--reason", given["reason"])


@pytest.mark.parametrize("more", [(), ("--wait",)], ids=["released", "waited for"])
def test_yes_answers_the_prompt_and_never_replaces_an_approval(
    tenure: Run, register: Callable[..., Any], folder: Path, more: tuple[str, ...]
) -> None:
    _rules(folder)
    made = _waiting(tenure, register, *more)
    assert (made["planned"], made["done"], made["grades"]) == (2, 0, {})
    shown = tenure("sweeps", "show", made["id"], "-o", "json").json
    assert (shown["state"], shown["released_at"]) == ("awaiting_approval", None)
    [listed] = tenure("sweeps", "list", "-o", "jsonl").lines
    assert (listed["id"], listed["state"]) == (made["id"], "awaiting_approval")
    assert any(one["check"] == "sweep" for one in tenure("doctor", "-o", "json", code=1).json)


def test_whoever_ordered_a_sweep_cannot_approve_it_nor_can_anybody_another_plan(
    tenure: Run, register: Callable[..., Any], folder: Path
) -> None:
    _rules(folder)
    made = _waiting(tenure, register)
    assert "cannot approve" in tenure(*_approval(made), code=1).err
    other = tenure(*_approval(made, digest="sha256:" + "0" * 64), code=1)
    assert made["plan"]["digest"] in other.err
    assert tenure("sweeps", "show", made["id"], "-o", "json").json["state"] == "awaiting_approval"


@pytest.fixture
def _ruled(folder: Path) -> None:
    """Have the rule in force from the beginning, also for a service."""
    _rules(folder)


@pytest.mark.usefixtures("_ruled", "service")
def test_somebody_else_approves_exactly_the_plan_and_once(
    tenure: Run, register: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _waiting(tenure, register)
    assert "cannot approve" in tenure(*_approval(made), code=1).err
    monkeypatch.delenv("TENURE_URL")
    register("conv_late", "me", *_OLD)
    [done] = tenure(*_approval(made), "-o", "json").json["sweeps"]
    assert (done["id"], done["state"], done["plan"]) == (made["id"], "released", made["plan"])
    assert "released" in tenure(*_approval(made), code=1).err


@pytest.mark.usefixtures("_ruled", "service")
def test_an_approval_that_a_pause_keeps_says_so(
    tenure: Run, register: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _waiting(tenure, register)
    monkeypatch.delenv("TENURE_URL")
    tenure("pause", "--reason", "an incident")
    assert "deletes are paused: an incident" in tenure(*_approval(made), code=4).err


@pytest.mark.usefixtures("_ruled", "service")
def test_an_approval_that_a_guard_stops_by_now_is_blocked(
    tenure: Run, register: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    made = _waiting(tenure, register)
    monkeypatch.delenv("TENURE_URL")
    _rules(folder, _GUARDS.replace("max_deletes: 5", "max_deletes: 1"))
    told = tenure(*_approval(made), code=4).err
    assert "max_deletes: 2 planned and 0 released" in told
    assert tenure("sweeps", "show", made["id"], "-o", "json").json["state"] == "awaiting_approval"


@pytest.mark.parametrize("more", [(), ("--wait",)], ids=["released", "waited for"])
def test_a_guard_blocks_with_its_numbers(
    tenure: Run, register: Callable[..., Any], folder: Path, more: tuple[str, ...]
) -> None:
    _rules(folder, _GUARDS.replace("max_deletes: 5", "max_deletes: 1"))
    for number in range(2):
        register(f"conv_{number}", "me", *_OLD)
    [made] = tenure("sweep", "--policy", "old-30d", "--yes", *more, "-o", "json", code=4).json["sweeps"]
    assert made["state"] == "blocked"
    assert made["reasons"] == ["max_deletes: 2 planned and 0 released in the last P1D exceed 1"]
    assert not made["grades"]


def test_what_waits_for_a_notice_is_shown_everywhere(
    tenure: Run, register: Callable[..., Any], folder: Path
) -> None:
    _rules(folder, notify="  before_delete: [{notify: {to: owner, grace: 7d}}]\n")
    made = register("conv_1", "me", *_OLD)
    assert made["decision"]["outcome"] == "NOTIFY"
    [listed] = tenure("threads", "list", "--outcome", "NOTIFY", "-o", "jsonl").lines
    assert listed["id"] == made["id"]
    assert "NOTIFY" in tenure("threads", "show", "conv_1").out
    told = tenure("explain", "conv_1").out
    assert "once a notice was delivered" in told
    assert "without a delivery channel nothing is deleted" in told
    [swept] = tenure("sweep", "--policy", "old-30d", "--yes", "--wait", "-o", "json").json["sweeps"]
    assert swept["planned"] == 0
    assert "no delivery channel" in swept["reasons"][0]
    [noted] = [one for one in tenure("doctor", "-o", "json", code=1).json if one["check"] == "notice"]
    assert noted["status"] == "problem"
    assert "old-30d" in noted["what"]
    assert "NOTIFY" in noted["what"]
