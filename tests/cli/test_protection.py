"""Holds, erasures, the kill switch and keys."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.cli.ran import Run


def test_a_hold_protects_names_what_it_does_not_know_and_is_released(
    tenure: Run, register: Callable[..., Any]
) -> None:
    register("conv_1", "me", "--created-at", "2020-06-01")
    placed = tenure(
        *("hold", "place", "--matter", "case-7", "--reason", "court", "--id", "conv_1"),
        *("--id", "conv_9", "-o", "json"),
    )
    assert (placed.json["matched"], placed.json["unknown"]) == (1, ["conv_9"])
    assert "warning: conv_9" in placed.err
    assert tenure("threads", "show", "conv_1", "-o", "json").json["decision"]["decided_by"] == "hold:case-7"
    assert [one["matter"] for one in tenure("hold", "list", "--state", "active", "-o", "json").json] == [
        "case-7"
    ]
    hold = placed.json["id"]
    assert tenure("hold", "release", hold, "--reason", "closed", "-o", "json").json["state"] == "released"
    assert "already" in tenure("hold", "release", hold, "--reason", "again", code=1).err
    assert tenure("threads", "show", "conv_1", "-o", "json").json["decision"]["outcome"] == "DUE"


def test_a_hold_takes_owners_projects_and_tags(tenure: Run, register: Callable[..., Any]) -> None:
    register("conv_1", "team-a", "--tag", "case=7")
    register("conv_2", "team-b", "--tag", "case=8")
    args = ("hold", "place", "--matter", "m", "--reason", "r", "-o", "json")
    assert tenure(*args, "--owner", "team-*", "--tag", "case=7").json["matched"] == 1
    assert tenure(*args, "--project", "demo-support", "--tag", "case").json["matched"] == 2


def test_a_hold_without_a_scope_or_with_a_bad_tag_is_a_usage_error(tenure: Run) -> None:
    args = ("hold", "place", "--matter", "m", "--reason", "r")
    assert "scope" in tenure(*args, code=2).err
    assert "KEY" in tenure(*args, "--tag", "=x", code=2).err


def test_an_erasure_answers_with_a_receipt(tenure: Run, register: Callable[..., Any]) -> None:
    register("conv_1", "user-1")
    register("conv_2", "user-1")
    tenure("hold", "place", "--matter", "m", "--reason", "r", "--id", "conv_2")
    told = tenure("erase", "--owner", "user-1", "-o", "json").json
    lines = {one["external_id"]: (one["status"], one["reason"]) for one in told["threads"]}
    assert lines == {"conv_1": ("pending", None), "conv_2": ("held", "hold:m")}
    shown = tenure("erase", "--id", "conv_1", "--id", "conv_9", "--reason", "asked")
    assert "conv_1" in shown.out
    assert "1 pending" in shown.err
    assert "conv_9 is not registered" in shown.err


def test_orders_are_listed_and_their_receipts_shown_as_they_stand_now(
    tenure: Run, register: Callable[..., Any]
) -> None:
    register("conv_1", "user-1")
    own = ("--at", "2026-11-01", "--deadline", "2026-11-02")
    empty = tenure("erase", "--owner", "user-1", *own, "-o", "json").json
    assert (empty["deadline"], empty["status"]) == ("2026-11-02T00:00:00Z", "empty")
    order = tenure("erase", "--owner", "user-1", "-o", "json").json
    listed = tenure("erasures", "list", "-o", "json").json
    assert [(one["id"], one["status"]) for one in listed] == [(order["id"], "open"), (empty["id"], "empty")]
    assert tenure("erasures", "list", "--overdue", "-o", "json").json == []
    opened = tenure("erasures", "list", "--status", "open", "-o", "json").json
    assert [one["id"] for one in opened] == [order["id"]]
    assert "/status" in tenure("erasures", "list", "--status", "no", code=1).err
    tenure("threads", "withdraw", "conv_1", "--reason", "r")
    table = tenure("erasures", "show", order["id"], "-o", "csv")
    assert table.out.splitlines()[1].split(",")[3] == "refused"
    assert "1 refused" in table.err
    assert "No erasure" in tenure("erasures", "show", "era_1", code=1).err


def test_the_doctor_tells_of_an_order_that_is_past_its_deadline(
    tenure: Run, register: Callable[..., Any], folder: Path
) -> None:
    register("conv_1", "user-1")
    order = tenure("erase", "--owner", "user-1", "-o", "json").json
    assert "none is past its deadline" in tenure("doctor").out
    with closing(sqlite3.connect(folder / "data" / "tenure.db")) as db, db:
        db.execute("UPDATE erasure SET deadline = '2026-01-01 00:00:00.000000'")
    assert [one["id"] for one in tenure("erasures", "list", "--overdue", "-o", "json").json] == [order["id"]]
    assert "deadline has passed" in tenure("erasures", "show", order["id"]).err
    told = {one["check"]: one for one in tenure("doctor", "-o", "json", code=1).json}
    assert told["erasures"]["status"] == "problem"
    assert "--overdue" in told["erasures"]["repair"]


def test_an_erasure_needs_exactly_one_of_owner_and_ids(tenure: Run) -> None:
    tenure("erase", code=2)
    tenure("erase", "--owner", "me", "--id", "conv_1", code=2)


def test_the_kill_switch_is_thrown_and_taken_back(tenure: Run, register: Callable[..., Any]) -> None:
    register("conv_1")
    assert tenure("pause", "--project", "demo-support", "-o", "json").json["enabled"] is False
    assert "paused for demo-support" in tenure("doctor").out
    assert tenure("resume", "--project", "demo-support", "-o", "json").json["enabled"] is True
    assert "paused" not in tenure("doctor").out
    assert "No such project" in tenure("pause", "--project", "nope", code=1).err


def test_a_key_is_made_listed_and_revoked(tenure: Run) -> None:
    made = tenure("keys", "create", "--label", "app", "--scope", "threads:write", "-o", "json").json
    assert made["key"].startswith("tnr_")
    assert made["projects"] == ["*"]
    listed = tenure("keys", "list", "-o", "json")
    assert [one["id"] for one in listed.json] == [made["id"]]
    assert made["key"].split("_")[2] not in listed.out
    assert tenure("keys", "revoke", made["id"], "-o", "json").json["revoked_at"] is not None
    assert "already" in tenure("keys", "revoke", made["id"], code=1).err


def test_one_key_never_joins_release_and_sweeping(tenure: Run) -> None:
    args = ("keys", "create", "--label", "x", "--scope", "holds:release", "--scope", "sweeps:run")
    assert "two people" in tenure(*args, code=1).err


def test_nothing_is_parked_in_a_new_folder(tenure: Run) -> None:
    assert tenure("failures", "list", "-o", "json").json == []


def test_a_hold_on_what_can_never_be_registered_says_so(tenure: Run) -> None:
    ours = f"thr_{0:032x}"
    ids = [part for one in ("run_abc", "conv_9", "strange", ours) for part in ("--id", one)]
    told = tenure("hold", "place", "--matter", "m", "--reason", "r", *ids).err
    lines = {line.split(":")[1].strip(): line for line in told.splitlines()}
    assert "never be registered" in lines["run_abc"]
    assert "run id" in lines["run_abc"]
    assert "agent_session" in lines["strange"]
    assert "none will" in lines[ours]
    assert lines["conv_9"].endswith("covers it once it is.")


def test_the_doctor_names_the_very_command_that_ends_a_pause(tenure: Run) -> None:
    tenure("pause", "--project", "demo-support")
    tenure("pause")
    repairs = [one["repair"] for one in tenure("doctor", "-o", "json").json if one["check"] == "pause"]
    assert repairs == [
        "`tenure resume` lets them go on.",
        "`tenure resume --project demo-support` lets them go on.",
    ]
