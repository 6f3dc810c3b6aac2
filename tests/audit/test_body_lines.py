"""A line of bodies.jsonl.gz is read by a short way where it can be, and then as by the general reader."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.audit.members import body_line
from worker.audit.reading import Misshapen, load, load_body_line

_ODD = st.text(st.sampled_from('ab"\\\\nu/ \t\x00\x1f\x7fé😀}'))
_BEGIN = b'{"i": 7, "body": "'


@given(_ODD | st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 2**50))
def test_a_written_line_is_what_json_writes_and_comes_back(body: str, index: int) -> None:
    written = body_line(index, body.encode())
    assert written == json.dumps({"i": index, "body": body}, ensure_ascii=False).encode() + b"\n"
    assert load_body_line(written[:-1]) == (index, body.encode())


@given(st.lists(st.sampled_from([b'\\"', b'"', b"\\", b"\\\\", b"a", b"\t", b"\x7f", b"\\n", b"}", b"\xff"])))
@example([b"\\\\", b'"'])
@example([b"\t"])
def test_the_short_way_takes_no_string_that_the_general_reader_refuses(pieces: list[bytes]) -> None:
    line = _BEGIN + b"".join(pieces) + b'"}'
    try:
        wanted = load(line)
    except Misshapen:
        with pytest.raises(Misshapen):
            load_body_line(line)
    else:
        assert load_body_line(line) == (7, str(wanted["body"]).encode())
