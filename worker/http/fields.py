"""Field types that every request shares. Strict: a number is no text, `false` is no duration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from worker.model.clock import parse_rfc3339

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_LONGEST_NAME = 200
_LONGEST_REASON = 2000
_MOST_TAGS = 64


class Strict(BaseModel):
    """A request body: unknown fields are refused, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _printable(text: str) -> str:
    if not text.isprintable():
        msg = "must hold printable characters only"
        raise ValueError(msg)
    return text


def _said(text: str) -> str:
    if not text.strip() or not text.replace("\n", " ").isprintable():
        msg = "must say something, in printable characters and line breaks"
        raise ValueError(msg)
    return text


def _instant(value: object) -> object:
    if value is None or isinstance(value, datetime):
        return value
    msg = "must be an RFC 3339 instant such as 2026-11-22T08:00:00Z"
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError(msg)
    try:
        return parse_rfc3339(value)
    except (ValueError, OverflowError):
        raise ValueError(msg) from None


def _tag_map(value: object) -> object:
    """INTERFACE: a list of tags is a map whose values are `true`."""
    return dict.fromkeys(value, "true") if isinstance(value, list) and all(_texts(value)) else value


def _texts(values: list[Any]) -> list[bool]:
    return [isinstance(one, str) for one in values]


def _pair(value: object) -> object:
    key, colon, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not (key and colon and rest):
        msg = "must be KEY:VALUE"
        raise ValueError(msg)
    return value


Name = Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME), AfterValidator(_printable)]
Reason = Annotated[str, Field(min_length=1, max_length=_LONGEST_REASON), AfterValidator(_said)]
Instant = Annotated[
    datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})
]
Tags = Annotated[
    Mapping[Name, Name],
    BeforeValidator(_tag_map),
    Field(max_length=_MOST_TAGS),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "object", "additionalProperties": {"type": "string"}},
                {"type": "array", "items": {"type": "string"}},
            ]
        }
    ),
]
TagPair = Annotated[Name, BeforeValidator(_pair)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
# A provider's id or one of ours; what follows a prefix has at most 128 characters.
AnyId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,160}$")]


def is_word(text: str) -> bool:
    """Whether an id from a path can be looked up: PostgreSQL refuses NUL, and no id of ours has any."""
    return text.isascii() and text.isprintable()
