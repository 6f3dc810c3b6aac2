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


def test_a_dry_run_says_what_would_be_and_leaves_no_file(tenure: Run, folder: Path) -> None:
    (folder / "ids.txt").write_text("conv_1\nrun_2\n")
    done = tenure("import", "ids.txt", "--project", "demo-support", "--owner", "me", "--dry-run", code=1)
    assert "would be created  1" in done.out
    assert "would be rejected: 1" in done.err
    assert "1 threads would have no created_at" in done.err
    assert not (folder / "ids.txt.rejected").exists()


def test_rejected_lines_are_imported_as_they_lie_there(tenure: Run, folder: Path) -> None:
    (folder / "ids.txt").write_text("conv_1\nrun_2\n")
    tenure("import", "ids.txt", *_TXT, code=1)
    rejected = folder / "ids.txt.rejected"
    rejected.write_text(rejected.read_text().replace("run_2", "conv_2"))
    assert tenure("import", "ids.txt.rejected", *_TXT).json["created"] == 1


def test_new_threads_of_unknown_age_are_told(tenure: Run, folder: Path) -> None:
    (folder / "ids.txt").write_text("conv_1\nconv_2\n")
    assert "2 threads have no created_at" in tenure("import", "ids.txt", *_TXT).err
    assert "created_at" not in tenure("import", "ids.txt", *_TXT).err
    (folder / "all.jsonl").write_text(_line("conv_3", created_at="2026-11-01T00:00:00Z"))
    assert "created_at" not in tenure("import", "all.jsonl").err


def test_a_line_that_is_no_object_is_told_so(tenure: Run, folder: Path) -> None:
    (folder / "all.jsonl").write_text('["conv_1"]\n')
    assert "line 1: invalid: A line must be a JSON object.\n" in tenure("import", "all.jsonl", code=1).err


def test_rows_of_csv_have_the_fields_that_the_header_names(tenure: Run, folder: Path) -> None:
    rows = (
        "\ufeffexternal_id, owner,tags,ttl,created_at\r\n"
        'conv_1,"Team ""A"", Support",env=prod; case=7,30d,2026-11-01T00:00:00Z\r\n'
        "conv_2,,,,\r\n"
    )
    (folder / "all.csv").write_text(rows)
    done = tenure("import", "all.csv", *_TXT)
    assert done.json["created"] == 2
    assert "1 threads have no created_at" in done.err
    shown = tenure("threads", "show", "conv_1", "-o", "json").json
    assert (shown["owner"], shown["tags"], shown["ttl"]) == (
        'Team "A", Support',
        {"env": "prod", "case": "7"},
        "P30D",
    )
    assert tenure("threads", "show", "conv_2", "-o", "json").json["owner"] == "me"


def test_rejected_rows_keep_their_header(tenure: Run, folder: Path) -> None:
    header = "external_id,project,owner,tags\n"
    bad = ['conv_2,demo-support,"me\n', "conv_3,demo-support\n", "conv_4,demo-support,me,a=1;b\n"]
    (folder / "all.csv").write_text(header + "conv_1,demo-support,me,\n" + "".join(bad) + "run_5,nope,me,")
    done = tenure("import", "all.csv", "-o", "json", code=1)
    assert (done.json["created"], done.json["invalid"]) == (1, 4)
    for told in ("line 3: invalid: it is no row", "line 4: invalid: it has 2 cells", "line 5: invalid: tags"):
        assert told in done.err
    assert (folder / "all.csv.rejected").read_text() == header + "".join(bad) + "run_5,nope,me,\n"


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("external_id,colour", "colour"),
        ("external_id,external_id", "twice"),
        ("project,owner", "lacks external_id"),
        ("external_id;project", "commas"),
        ("", "lacks external_id"),
        ('"external_id', "cannot be read"),
    ],
)
def test_a_header_that_no_row_could_serve_is_a_usage_error(
    tenure: Run, folder: Path, header: str, told: str
) -> None:
    (folder / "all.csv").write_text(header + "\nconv_1,x\n" if header else "")
    assert told in tenure("import", "all.csv", *_TXT, code=2).err
    assert not (folder / "data").exists()


def test_ids_are_found_in_a_log_by_their_prefixes(tenure: Run, folder: Path) -> None:
    text = (
        b'10:02 POST /v1/threads/thread_abc123/runs/run_9 {"conversation": "conv_68aF"} \xff\n'
        b"thread_id=7 file_path=/x/my-file-1.txt vs_code cfile_12 resp_time=3ms thread_pool-\n"
        b"conv_68aF again, then vs_QwErTyUiOpAsDfGhJk.\n"
        b"nothing here\n"
    )
    (folder / "app.log").write_bytes(text)
    done = tenure("import", "app.log", *_TXT)
    assert (done.json["lines"], done.json["created"]) == (3, 3)
    assert {one["external_id"] for one in tenure("threads", "list", "-o", "json").json} == {
        "thread_abc123",
        "conv_68aF",
        "vs_QwErTyUiOpAsDfGhJk",
    }


def test_a_line_of_a_log_is_kept_once_however_many_ids_are_rejected(tenure: Run, folder: Path) -> None:
    (folder / "app.log").write_text(f"conv_1 conv_{'2' * 129} conv_{'3' * 129}\n")
    assert tenure("import", "app.log", *_TXT, code=1).json["invalid"] == 2
    assert len((folder / "app.log.rejected").read_text().splitlines()) == 1


def test_more_lines_than_one_request_takes_are_all_imported_in_order(tenure: Run, folder: Path) -> None:
    ids = [f"conv_{n}" for n in range(2100)]
    ids[1500] = "run_1500"
    (folder / "ids.txt").write_text("\n".join(ids))
    done = tenure("import", "ids.txt", *_TXT, code=1)
    assert (done.json["lines"], done.json["created"]) == (2100, 2099)
    assert "line 1501: invalid" in done.err


def test_usage_is_checked_before_anything_is_sent(tenure: Run, folder: Path) -> None:
    (folder / "ids.txt").write_text("conv_1\n")
    (folder / "ids").write_text("conv_1\n")
    (folder / "app.log").write_text("conv_1\n")
    assert "--owner" in tenure("import", "ids.txt", "--project", "demo-support", code=2).err
    assert "--format" in tenure("import", "ids", *_TXT, code=2).err
    assert "--owner" in tenure("import", "app.log", "--project", "demo-support", code=2).err
    tenure("import", "nowhere.txt", *_TXT, code=2)
    assert not (folder / "data").exists()


def test_a_line_that_is_no_text_is_rejected_by_itself(tenure: Run, folder: Path) -> None:
    (folder / "ids.txt").write_bytes(b"conv_1\n\xff\xfe\nconv_2\n")
    done = tenure("import", "ids.txt", *_TXT, code=1)
    assert (done.json["created"], done.json["invalid"]) == (2, 1)
    assert (folder / "ids.txt.rejected").read_bytes() == b"\xff\xfe\n"


def test_columns_with_other_names_are_mapped_and_the_rest_is_passed_over(tenure: Run, folder: Path) -> None:
    header, bad = "Conversation ID,noise,ttl,project\n", "run_1,y,,p\n"
    (folder / "all.csv").write_text(header + "conv_1,x,30d,demo-support\n" + bad)
    mapped = ("--column", "external_id=Conversation ID", "--owner", "me", "-o", "json")

    assert tenure("import", "all.csv", *mapped, code=1).json["created"] == 1

    shown = tenure("threads", "show", "conv_1", "-o", "json").json
    assert (shown["ttl"], shown["owner"]) == ("P30D", "me")
    assert (folder / "all.csv.rejected").read_text() == header + bad


@pytest.mark.parametrize("pair", ["external_id", "external_id=", "nothing=a", "external_id=absent"])
def test_a_column_that_cannot_be_mapped_is_a_mistake_in_the_command(
    tenure: Run, folder: Path, pair: str
) -> None:
    (folder / "all.csv").write_text("a,b\nconv_1,x\n")
    tenure("import", "all.csv", "--column", pair, *_TXT, code=2)
