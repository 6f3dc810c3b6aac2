from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.ran import Run


def test_a_thread_is_registered_and_shown_by_either_id(tenure: Run, register: Callable[..., Any]) -> None:
    made = register("conv_1", "me", "--tag", "env=prod", "--ttl", "30d", "--created-at", "2026-11-01")
    assert (made["tags"], made["ttl"], made["created_at"]) == (
        {"env": "prod"},
        "P30D",
        "2026-11-01T00:00:00Z",
    )
    assert tenure("threads", "show", "conv_1", "-o", "json").json["id"] == made["id"]
    assert tenure("threads", "show", made["id"], "-o", "json").json["external_id"] == "conv_1"


def test_the_same_again_is_fine_and_other_values_are_told_field_by_field(
    tenure: Run, register: Callable[..., Any]
) -> None:
    register("conv_1")
    register("conv_1")
    again = tenure("register", "conv_1", "--project", "demo-support", "--owner", "you", code=1)
    assert "owner: registered 'me', given 'you'" in again.err
    assert again.out == ""


def test_a_run_id_is_refused_with_what_it_is(tenure: Run) -> None:
    refused = tenure("register", "run_1", "--project", "demo-support", "--owner", "me", code=1)
    assert "run id" in refused.err


def test_a_tag_that_is_no_pair_is_a_usage_error(tenure: Run) -> None:
    args = ("register", "conv_1", "--project", "demo-support", "--owner", "me", "--tag")
    assert "KEY=VALUE" in tenure(*args, "env", code=2).err
    assert "twice" in tenure(*args, "a=1", "--tag", "a=2", code=2).err


def test_a_list_pages_itself_and_keeps_every_field(tenure: Run, folder: Path) -> None:
    (folder / "ids.txt").write_text("".join(f"conv_{n}\n" for n in range(230)))
    tenure("import", "ids.txt", "--project", "demo-support", "--owner", "me")
    shown = tenure("threads", "list", "--limit", "1000", "-o", "jsonl").lines
    assert len(shown) == 230
    assert len({one["id"] for one in shown}) == 230
    assert {"object", "id", "decision", "evidence", "tags"} <= set(shown[0])
    assert len(tenure("threads", "list", "--limit", "150", "-o", "jsonl").lines) == 150


def test_filters_narrow_a_list(tenure: Run, register: Callable[..., Any]) -> None:
    register("conv_1", "me", "--tag", "env=prod", "--created-at", "2020-06-01")
    register("conv_2", "you", "--created-at", "2020-06-01")
    register("file-3", "you", "--tag", "keep=x", "--created-at", "2020-06-01")
    for args, wanted in (
        (("--owner", "you"), {"conv_2", "file-3"}),
        (("--tag", "env=prod"), {"conv_1"}),
        (("--kind", "file"), {"file-3"}),
        (("--outcome", "due"), {"conv_1", "conv_2"}),
        (("--outcome", "RETAINED"), {"file-3"}),
        (("--external-id", "conv_1"), {"conv_1"}),
        (("--due-before", "2026-01-01"), {"conv_1", "conv_2"}),
        (("--state", "deleted"), set()),
    ):
        assert {one["external_id"] for one in tenure("threads", "list", *args, "-o", "json").json} == wanted


def test_an_instant_that_is_none_is_a_usage_error(tenure: Run) -> None:
    assert "--due-before" in tenure("threads", "list", "--due-before", "soon", code=2).err


def test_a_table_never_cuts_an_id(tenure: Run, register: Callable[..., Any]) -> None:
    made = register("conv_" + "x" * 120)
    out = tenure("threads", "list").out
    assert made["id"] in out
    assert made["external_id"] in out


def test_csv_cells_are_safe_in_a_spreadsheet(tenure: Run, register: Callable[..., Any]) -> None:
    register("conv_1", "=cmd()")
    rows = list(csv.DictReader(io.StringIO(tenure("threads", "list", "-o", "csv").out, newline="")))
    assert rows[0]["owner"] == "'=cmd()"
    assert rows[0]["external_id"] == "conv_1"


def test_an_explanation_names_the_rule_and_its_file(tenure: Run, register: Callable[..., Any]) -> None:
    register("conv_1", "me", "--created-at", "2026-11-01")
    told = tenure("explain", "conv_1").out
    assert "conversations-30d (retention.yaml:" in told
    assert "P30D" in told
    assert tenure("explain", "conv_1", "-o", "json").json["decision"]["decided_by"] == "conversations-30d"


def test_an_unknown_thread_is_told_as_such(tenure: Run) -> None:
    for args in (("threads", "show"), ("explain",)):
        assert "No thread has this id" in tenure(*args, "conv_none", code=1).err


def test_an_id_cannot_lead_to_another_route(tenure: Run) -> None:
    for named in ("../keys", "..", "a?b", "a/b", "a%2Fb", ""):
        assert "is no id" in tenure("threads", "show", named, code=2).err


def test_a_withdrawn_thread_keeps_its_row_and_cannot_be_withdrawn_twice(
    tenure: Run, register: Callable[..., Any]
) -> None:
    register("conv_1")
    done = tenure("threads", "withdraw", "conv_1", "--reason", "a mistake", "-o", "json")
    assert done.json["state"] == "withdrawn"
    assert "withdrawn" in tenure("threads", "withdraw", "conv_1", "--reason", "again", code=1).err


def test_an_external_id_of_two_projects_names_both_threads_and_the_way_on(
    tenure: Run, register: Callable[..., Any]
) -> None:
    first = register("conv_1")["id"]
    args = ("register", "conv_1", "--project", "demo-finance", "--owner", "me", "-o", "json")
    second = tenure(*args).json["id"]
    for command in (("threads", "show"), ("explain",)):
        told = tenure(*command, "conv_1", code=1).err
        assert f"{first} of demo-support" in told
        assert f"{second} of demo-finance" in told
        assert "`tenure threads show ID`" in told
