from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.audit.deletions import HEADER, csv_text, guard, line, rows
from worker.audit.envelope import Leaf
from worker.audit.reading import Misshapen


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\0"])
def test_a_cell_that_a_spreadsheet_would_run_gets_an_apostrophe(start: str) -> None:
    assert guard(f"{start}1") == f"'{start}1"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_cells_come_back_as_guarded(cells: list[str]) -> None:
    table = csv_text([cells])
    read = list(csv.reader(io.StringIO(table, newline="")))
    assert read[0] == list(HEADER)
    assert read[1] == [guard(cell) for cell in cells]
    assert table.endswith("\r\n")


@given(st.lists(st.text(st.sampled_from("ab=,'\"\r\n \t\0é")), max_size=4))
def test_a_row_that_needs_no_quotation_marks_is_written_as_the_csv_writer_would(cells: list[str]) -> None:
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerow([guard(cell) for cell in cells])
    assert line(cells) == written.getvalue()


def test_a_row_is_made_of_a_graded_body(leaves: Sequence[Leaf]) -> None:
    graded = [
        (n, json.loads(one.envelope)["t"], json.loads(one.body))
        for n, one in enumerate(leaves)
        if b"thread.graded" in one.envelope
    ]
    first = dict(zip(HEADER, next(rows(graded)), strict=True))
    assert first["grade"] == "confirmed"
    assert first["may_be_called_deleted"] == "yes"
    assert first["before_class"] == "present"
    assert first["delete_class"] == "acknowledged"
    assert first["after_status"] == "404"
    assert first["absent_at"] == "2026-11-01T00:00:00.000007Z"
    assert first["base_url"] == "https://api.openai.com/v1"
    assert guard(first["owner"]).startswith("'=")
    assert {len(row) for row in rows(graded)} == {len(HEADER)}


def test_a_body_without_its_fields_has_no_row() -> None:
    with pytest.raises(Misshapen):
        list(rows([(1, "t", {"grade": 5})]))
