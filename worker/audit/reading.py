"""Strict reading of what a log or a bundle holds: exact envelopes, JSON without surprises.

Standard library only, so that a bundle can be verified where nothing else is installed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from json import decoder
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeAlias, TypeVar

from worker.model.errors import TenureError

Body: TypeAlias = Mapping[str, object]
_Told = TypeVar("_Told")

# More than any entry takes (envelope.make_leaf); a body that is longer was not written by Tenure.
MAX_BODY = 16 * 1024
# A line of keys.txt has some 100 bytes, and a note at most 100 signatures.
MAX_TEXT = 1024 * 1024
# All of it is ASCII, so that its end is the same in bytes and in text.
_BODY_LINE = re.compile(rb'\{"i": (0|[1-9][0-9]{0,15}), "body": "')
_ENVELOPE = re.compile(
    r'\{"body":"([0-9a-f]{64})","id":"[0-9a-f]{32}","project":(?:null|"([0-9a-f]{32})"),'
    r'"subject":(?:null|"([0-9a-f]{32})"),"t":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)",'
    r'"type":"([a-z]{1,32}\.[a-z_]{1,32})","v":1\}',
    re.ASCII,
)


class Misshapen(TenureError):
    """Something read does not have the form that its kind has."""

    code = "misshapen"


class Envelope(NamedTuple):
    """The fields of an envelope; ``t`` is RFC 3339 UTC with six digits and compares as text.

    A tuple, in the order of the bytes: of these a million are read in seconds.
    """

    body: str
    project: str | None
    subject: str | None
    t: str
    type: str


def parse_envelope(raw: bytes) -> Envelope:
    """Read an envelope's exact bytes; raises Misshapen for any other form."""
    try:
        found = _ENVELOPE.fullmatch(raw.decode("ascii"))
    except UnicodeDecodeError:
        found = None
    if found is None:
        raise Misshapen("This is no envelope of version 1.")
    return tuple.__new__(Envelope, found.groups())


def load(raw: bytes) -> Body:
    """Read a JSON object without floats, repeated keys or broken Unicode; raises Misshapen."""
    try:
        plain = raw.decode()
    except ValueError as broken:
        raise Misshapen("This is not JSON of the restricted form.") from broken
    return load_text(plain)


def load_text(plain: str) -> Body:
    """Read the same from text; raises Misshapen."""
    try:
        value, end = _scan(plain, 0)
        if "\\" in plain and "\\u" in plain:  # the one way to write half a surrogate pair, which has no UTF-8
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError, StopIteration) as broken:
        raise Misshapen("This is not JSON of the restricted form.") from broken
    if end != len(plain):
        raise Misshapen("Something stands behind the JSON.")
    return mapping(value)


def load_body_line(line: bytes) -> tuple[int, str]:
    """Read a line of ``bodies.jsonl.gz``: leaf index and exact body, which has UTF-8; raises Misshapen.

    As the writer writes it, its one string is read and nothing around it; any other spelling is read whole.
    """
    as_written = _BODY_LINE.match(line)
    if as_written is None:
        one = load(line)
        return number(one, "i"), text(one, "body")
    try:
        plain = line.decode()
        body, end = _scanstring(plain, as_written.end())
        if not body.isascii():
            body.encode()  # half a surrogate pair has none
    except ValueError as broken:
        raise Misshapen("This is not JSON of the restricted form.") from broken
    if plain[end:] != "}":
        raise Misshapen("Something stands behind the JSON.")
    return int(as_written[1]), body


def read_small(path: Path) -> str:
    """Read a file of keys or a checkpoint; raises Misshapen for one that is too long or no text, OSError.

    Git and editors may write other line ends and a byte order mark. What is signed has neither, so taking
    them away lets nothing else pass.
    """
    with path.open("rb") as file:
        raw = file.read(MAX_TEXT + 1)
    if len(raw) > MAX_TEXT:
        raise Misshapen(f"{path} is larger than {MAX_TEXT} bytes: it holds no keys and no checkpoint.")
    try:
        return as_written(raw.decode())
    except UnicodeDecodeError as broken:
        raise Misshapen(f"{path} is no text: {broken}.") from broken


def as_written(text: str) -> str:
    """Return a text of Tenure's as it was before it travelled: lines end with a line feed alone."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def mapping(value: object) -> Body:
    """Return the value as an object; raises Misshapen."""
    if not isinstance(value, dict):
        raise Misshapen("An object is missing.")
    return value


def text(body: Body, key: str) -> str:
    """Return a text field; raises Misshapen."""
    value = body.get(key)
    if not isinstance(value, str):
        raise Misshapen(f"The text {key!r} is missing.")
    return value


def texts(*keys: str) -> Callable[[Body], tuple[str, ...]]:
    """Return a reader of several text fields, quicker than one by one; it raises Misshapen for the first.

    A verifier reads a million bodies, and nearly all have what they should.
    """
    take = itemgetter(*keys)

    def read(body: Body) -> tuple[str, ...]:
        try:
            found: tuple[str, ...] = take(body)
            "".join(found)  # takes nothing but text
        except (KeyError, TypeError):
            return tuple([text(body, key) for key in keys])
        return found

    return read


def text_or_none(body: Body, key: str) -> str | None:
    """Return a text field that may be absent or null; raises Misshapen."""
    value = body.get(key)
    if value is None or isinstance(value, str):
        return value
    raise Misshapen(f"The text {key!r} is missing.")


def number(body: Body, key: str) -> int:
    """Return an integer field; raises Misshapen."""
    value = body.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Misshapen(f"The integer {key!r} is missing.")
    return value


def flag(body: Body, key: str) -> bool:
    """Return a true-or-false field; raises Misshapen."""
    value = body.get(key)
    if not isinstance(value, bool):
        raise Misshapen(f"{key!r} is neither true nor false.")
    return value


def items(body: Body, key: str) -> list[object]:
    """Return a list field; raises Misshapen."""
    value = body.get(key)
    if not isinstance(value, list):
        raise Misshapen(f"The list {key!r} is missing.")
    return value


def join(
    envelopes: Iterable[bytes], bodies: Iterable[tuple[int, _Told]], *, first: int = 0
) -> Iterator[tuple[int, bytes | None, _Told | None]]:
    """Walk both in step: (index, envelope, its body or None); the first envelope is leaf ``first``.

    A body that is out of order, doubled or behind the last envelope comes as (index, None, body).
    """
    rest = iter(bodies)
    waiting = next(rest, None)
    for index, envelope in enumerate(envelopes, first):
        while waiting is not None and waiting[0] < index:
            yield waiting[0], None, waiting[1]
            waiting = next(rest, None)
        body = None
        if waiting is not None and waiting[0] == index:
            body, waiting = waiting[1], next(rest, None)
        yield index, envelope, body
    while waiting is not None:
        yield waiting[0], None, waiting[1]
        waiting = next(rest, None)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated")
    return found


def _no_float(token: str) -> NoReturn:
    raise ValueError(token)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_no_float, parse_constant=_no_float)
# Without the decoder's own frame, which looks for white space that is not there. Python's types do not list
# these two, which are the decoder's parts since it was written.
_scan: Callable[[str, int], tuple[object, int]] = _DECODER.scan_once  # type: ignore[attr-defined]
_scanstring: Callable[[str, int], tuple[str, int]] = decoder.scanstring  # type: ignore[attr-defined]
