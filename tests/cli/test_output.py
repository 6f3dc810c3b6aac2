from __future__ import annotations

import json
from typing import Any

import pytest

from worker.cli.output import Column, Format, _rich_table, cell, show_one, show_rows

_COLUMNS = (Column("id", "id", whole=True), Column("who", "deep.who"), Column("more", "more"))
_ROWS: list[dict[str, Any]] = [
    {"id": "thr_" + "0" * 32, "deep": {"who": "a" * 90}, "more": ["x", "y"], "hidden": 1},
    {"id": "thr_" + "1" * 32, "deep": None, "more": []},
]


@pytest.mark.parametrize("width", ["20", "60", "200"])
def test_a_terminal_of_any_width_shows_ids_whole_and_other_cells_complete(
    width: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    _rich_table(_COLUMNS, [[column.of(row) for column in _COLUMNS] for row in _ROWS])
    out = capsys.readouterr().out
    assert all(str(row["id"]) in out for row in _ROWS)
    assert out.count("a") == 90


def test_the_other_end_of_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(_ROWS, _COLUMNS, Format.TABLE)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["id", "who", "more"]
    assert lines[1].split() == ["thr_" + "0" * 32, "a" * 90, "x,", "y"]
    assert lines[2] == "thr_" + "1" * 32


def test_an_empty_list_has_its_titles_in_a_table_and_is_empty_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for form, wanted in (
        (Format.TABLE, "id  who  more\n"),
        (Format.JSON, "[]\n"),
        (Format.JSONL, ""),
        (Format.CSV, "id,who,more\r\n"),
    ):
        show_rows([], _COLUMNS, form)
        assert capsys.readouterr().out == wanted


def test_json_keeps_every_field_and_csv_the_columns(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(_ROWS, _COLUMNS, Format.JSONL)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == _ROWS
    show_rows(_ROWS, _COLUMNS, Format.CSV)
    assert capsys.readouterr().out.splitlines()[1] == f'thr_{"0" * 32},{"a" * 90},"x, y"'


def test_what_came_from_outside_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([{"id": "\x1b[2Jx\ny"}], _COLUMNS[:1], Format.TABLE)
    show_one({"id": "\x1b]0;x\x07"}, Format.TABLE)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 3


def test_one_record_is_flat_in_a_table_and_in_csv(capsys: pytest.CaptureFixture[str]) -> None:
    record = {"a": {"b": 1, "c": None}, "list": [{"x": 1, "y": None}, {"x": 2}], "=d": True}
    show_one(record, Format.TABLE)
    assert capsys.readouterr().out.splitlines() == [
        "a.b     1",
        "a.c",
        "list.0  x=1",
        "list.1  x=2",
        "=d      yes",
    ]
    show_one(record, Format.CSV)
    assert capsys.readouterr().out == "a.b,a.c,list.0,list.1,'=d\r\n1,,x=1,x=2,yes\r\n"


def test_cells_leave_out_what_is_empty() -> None:
    assert cell({"ids": ["a", "b"], "owners": [], "tags": None}) == "ids=a, b"
