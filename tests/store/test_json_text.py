"""JSON that is written fast says what the standard library's would say."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from worker.model.evidence import Class
from worker.store.json_text import write_json


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"a": ["ä", "\u2028", 'a "quoted" one', 1, 1.5, True, None], "b": {"c": ()}},
        {"class": Class.PRESENT},
        {"beyond": 2**70},
        {1: "a key that is no text"},
        {"half": "\ud800"},
    ],
)
def test_what_is_written_reads_as_from_the_standard_library(value: object) -> None:
    assert json.loads(write_json(value)) == json.loads(json.dumps(value))


def test_what_the_standard_library_refuses_is_refused() -> None:
    with pytest.raises(TypeError):
        write_json({"at": datetime(2026, 11, 29, tzinfo=UTC)})
