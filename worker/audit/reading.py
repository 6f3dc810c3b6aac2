"""Strict reading of what a log or a bundle holds: exact envelopes, JSON without surprises.

Standard library only, so that a bundle can be verified where nothing else is installed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from worker.model.errors import TenureError

Body: TypeAlias = Mapping[str, object]

_ENVELOPE = re.compile(
    rb'\{"body":"([0-9a-f]{64})","id":"[0-9a-f]{32}","project":(?:null|"([0-9a-f]{32})"),'
    rb'"subject":(?:null|"([0-9a-f]{32})"),"t":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)",'
    rb'"type":"([a-z]{1,32}\.[a-z_]{1,32})","v":1\}'
)


class Misshapen(TenureError):
    """Something read does not have the form that its kind has."""

    code = "misshapen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The fields of an envelope; ``t`` is RFC 3339 UTC with six digits and compares as text."""

    body: str
    project: str | None
    subject: str | None
    t: str
    type: str


def parse_envelope(raw: bytes) -> Envelope:
    """Read an envelope's exact bytes; raises Misshapen for any other form."""
    found = _ENVELOPE.fullmatch(raw)
    if not found:
        raise Misshapen("This is no envelope of version 1.")
    body, project, subject, t, kind = found.groups()
    return Envelope(
        body=body.decode(),
        project=project.decode() if project else None,
        subject=subject.decode() if subject else None,
        t=t.decode(),
        type=kind.decode(),
    )


def load(raw: bytes) -> Body:
    """Read a JSON object without floats, repeated keys or broken Unicode; raises Misshapen."""
    try:
        value = _DECODER.decode(raw.decode())
        if b"\\u" in raw:  # the one way to write half a surrogate pair, which has no UTF-8
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as broken:
        raise Misshapen("This is not JSON of the restricted form.") from broken
    return mapping(value)


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


def text_or_none(body: Body, key: str) -> str | None:
    """Return a text field that may be absent or null; raises Misshapen."""
    return None if body.get(key) is None else text(body, key)


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
    envelopes: Iterable[bytes], bodies: Iterable[tuple[int, bytes]]
) -> Iterator[tuple[int, bytes | None, bytes | None]]:
    """Walk both in step: (index, envelope, its body or None).

    A body that is out of order, doubled or behind the last envelope comes as (index, None, body).
    """
    rest = iter(bodies)
    waiting = next(rest, None)
    for index, envelope in enumerate(envelopes):
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
