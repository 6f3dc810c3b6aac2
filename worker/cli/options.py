"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from worker.cli.exits import Misused
from worker.model.clock import parse_rfc3339, rfc3339

AnyThread = Annotated[str, typer.Argument(metavar="ID", help="Tenure's own id (thr_...) or the external id.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit log.")]
_DATE_LENGTH = len("2026-11-22")


def read_tags(texts: Sequence[str]) -> dict[str, str]:
    """Read ``key=value`` texts; raises Misused, also for a key that stands there twice."""
    tags: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise Misused(f"--tag {text!r} is not KEY=VALUE.", repair="Write for example --tag env=prod.")
        if key in tags:
            raise Misused(f"--tag names the key {key!r} twice.", repair="Give each key one value.")
        tags[key] = value
    return tags


def read_instant(option: str, text: str) -> datetime:
    """Read a date (its beginning in UTC) or an RFC 3339 instant; raises Misused."""
    try:
        if len(text) == _DATE_LENGTH:
            return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        return parse_rfc3339(text)
    except ValueError as e:
        repair = "Write 2026-11-22 or 2026-11-22T08:00:00Z."
        raise Misused(f"{option} {text!r} is neither a date nor an RFC 3339 instant.", repair=repair) from e


def instant_text(option: str, text: str | None) -> str | None:
    """Return the instant as the API takes it; None stays None."""
    return None if text is None else rfc3339(read_instant(option, text))
