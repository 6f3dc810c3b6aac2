from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.ran import Run

_TXT = ("--project", "demo-support", "--owner", "me", "-o", "json")


def _line(external_id: str, **more: object) -> str:
    fields = {"external_id": external_id, "project": "demo-support", "owner": "me", **more}
    return json.dumps(fields) + "\n"


def test_a_file_of_ids_is_imported_and_again_without_effect(tenure: Run, folder: Path) -> None:
    (folder / "ids.txt").write_text("conv_1\n\n  conv_2  \nresp_3")
    first = tenure("import", "ids.txt", *_TXT).json
    assert (first["lines"], first["created"], first["rejected_file"]) == (3, 3, None)
    again = tenure("import", "ids.txt", *_TXT).json
    assert (again["created"], again["exists"]) == (0, 3)


def test_lines_of_json_have_the_fields_of_a_registration(tenure: Run, folder: Path) -> None:
    text = _line("conv_1", ttl="30d", tags=["keep"]) + _line("conv_2", created_at="2026-11-01T00:00:00Z")
    (folder / "all.jsonl").write_text("\ufeff" + text)
    assert tenure("import", "all.jsonl", "-o", "json").json["created"] == 2
    shown = tenure("threads", "show", "conv_1", "-o", "json").json
    assert (shown["ttl"], shown["tags"]) == ("P30D", {"keep": "true"})


def test_defaults_fill_only_what_a_line_leaves_out(tenure: Run, folder: Path) -> None:
    (folder / "all.jsonl").write_text('{"external_id": "conv_1"}\n' + _line("conv_2", owner="you"))
    tenure("import", "all.jsonl", *_TXT)
    owners = {one["external_id"]: one["owner"] for one in tenure("threads", "list", "-o", "json").json}
    assert owners == {"conv_1": "me", "conv_2": "you"}


def test_rejected_lines_are_kept_unchanged_and_the_others_stand(tenure: Run, folder: Path) -> None:
    bad = [
        '{"external_id": "run_1", "project": "demo-support", "owner": "me"}\n',
        "no json\n",
        _line("conv_2", ttl="x"),
    ]
    (folder / "all.jsonl").write_text(_line("conv_1") + "".join(bad) + _line("conv_1", owner="you"))
    done = tenure("import", "all.jsonl", "-o", "json", code=1)
    assert {name: done.json[name] for name in ("created", "conflict", "invalid")} == {
        "created": 1,
        "conflict": 1,
        "invalid": 3,
    }
    assert "line 3: invalid" in done.err
    assert (folder / "all.jsonl.rejected").read_text() == "".join(bad) + _line("conv_1", owner="you")


def test_a_clean_run_removes_what_an_earlier_one_rejected(tenure: Run, folder: Path) -> None:
    ids = folder / "ids.txt"
    ids.write_text("run_1\n")
    tenure("import", "ids.txt", *_TXT, code=1)
    ids.write_text("conv_1\n")
    tenure("import", "ids.txt", *_TXT)
    assert not (folder / "ids.txt.rejected").exists()


def test_a_dry_run_registers_nothing(tenure: Run, folder: Path) -> None:
    (folder / "ids.txt").write_text("conv_1\nconv_2\n")
    assert tenure("import", "ids.txt", *_TXT, "--dry-run").json["created"] == 2
    assert tenure("threads", "list", "-o", "json").json == []


def test_more_lines_than_one_request_takes_are_all_imported_in_order(tenure: Run, folder: Path) -> None:
    ids = [f"conv_{n}" for n in range(2100)]
    ids[1500] = "run_1500"
    (folder / "ids.txt").write_text("\n".join(ids))
    done = tenure("import", "ids.txt", *_TXT, code=1)
    assert (done.json["lines"], done.json["created"]) == (2100, 2099)
    assert "line 1501: invalid" in done.err


@pytest.mark.parametrize("name", ["all.csv", "app.log"])
def test_formats_that_are_not_there_yet_say_so(tenure: Run, folder: Path, name: str) -> None:
    (folder / name).write_text("conv_1\n")
    assert "yet" in tenure("import", name, *_TXT, code=2).err


def test_usage_is_checked_before_anything_is_sent(tenure: Run, folder: Path) -> None:
    (folder / "ids.txt").write_text("conv_1\n")
    (folder / "ids").write_text("conv_1\n")
    assert "--owner" in tenure("import", "ids.txt", "--project", "demo-support", code=2).err
    assert "--format" in tenure("import", "ids", *_TXT, code=2).err
    tenure("import", "nowhere.txt", *_TXT, code=2)
    assert not (folder / "data").exists()


def test_a_line_that_is_no_text_is_rejected_by_itself(tenure: Run, folder: Path) -> None:
    (folder / "ids.txt").write_bytes(b"conv_1\n\xff\xfe\nconv_2\n")
    done = tenure("import", "ids.txt", *_TXT, code=1)
    assert (done.json["created"], done.json["invalid"]) == (2, 1)
    assert (folder / "ids.txt.rejected").read_bytes() == b"\xff\xfe\n"
