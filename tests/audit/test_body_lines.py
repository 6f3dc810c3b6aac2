"""Body lines and bodies are read by a short way where they can be, just as by the general reader."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from worker.audit.members import body_line
from worker.audit.reading import Misshapen, load, load_body_line

_ODD = st.text(st.sampled_from('ab"\\\\nu/ \t\x00\x1f\x7fé😀}'))
_BEGIN = b'{"i": 7, "body": "'


@given(_ODD | st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 2**50))
def test_a_written_line_is_what_json_writes_and_comes_back(body: str, index: int) -> None:
    written = body_line(index, body.encode())
    assert written == json.dumps({"i": index, "body": body}, ensure_ascii=False).encode() + b"\n"
    assert load_body_line(written[:-1]) == (index, body)


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
        assert load_body_line(line) == (7, str(wanted["body"]))


_STRINGS = st.text(st.sampled_from('ab":\\, {}é\t\x00'), max_size=3).map(
    lambda text: json.dumps(text, ensure_ascii=False)
)
_SPACE = st.sampled_from(["", "", "", "", " ", "\n", "\t"])


def _object(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Write objects of a few keys, so that they are often repeated, with white space here and there."""
    pair = st.tuples(st.sampled_from(['"a"', '"b"', '"a\\":"', '""']) | _STRINGS, _SPACE, _SPACE, values).map(
        lambda told: f"{told[0]}{told[1]}:{told[2]}{told[3]}"
    )
    return st.lists(pair, max_size=4).map(lambda pairs: "{" + ",".join(pairs) + "}")


_VALUES = st.recursive(
    _STRINGS | st.sampled_from(["1", "-7", "true", "null", "1.5", "NaN"]),
    lambda inner: _object(inner) | st.lists(inner, max_size=3).map(lambda all_: "[" + ", ".join(all_) + "]"),
    max_leaves=12,
)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """As the definition has it: no key stands there twice."""
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def _nothing(_: str) -> None:
    raise AssertionError


@settings(max_examples=500)
@given(_object(_VALUES))
@example('{"a":1,"a":1}')
@example('{"a":{"b":1,"b":2}}')
@example('{"a":[{"b":1,"b":2}]}')
@example('{"a" :1,"a":"\\":"}')
@example('{"a":1,"a":"\\":"}')
@example('{"a":":"}')
def test_an_object_is_read_as_by_the_definition_however_its_keys_are_repeated(text: str) -> None:
    try:
        wanted = json.loads(text, object_pairs_hook=_unique, parse_float=_nothing, parse_constant=_nothing)
    except (ValueError, AssertionError):
        with pytest.raises(Misshapen):
            load(text.encode())
    else:
        assert load(text.encode()) == wanted
