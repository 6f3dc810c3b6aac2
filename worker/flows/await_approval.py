"""Await approval: keep the bundle in force while one that loosens waits, and tell people once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from worker.audit import bodies
from worker.policy.compare import Comparison
from worker.policy.compare_text import change_line
from worker.policy.effects import Effect
from worker.store import keys, log
from worker.telemetry import raise_alert

AWAITING: Final = "bundle.awaiting_approval"
_MOST_LINES = 19
_LONGEST_LINE = 300
HOW = (
    "`tenure policy preview PATH` shows its effect, `tenure policy approve PREVIEW_ID --digest D --reason R` "
    "by another key approves it. What tightens goes in force at once in a bundle of its own."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaiting:
    """The bundle of the policies folder that waits for an approval, and what loosens in it, a line each."""

    digest: str
    base: str
    commit: str | None
    loosening: tuple[str, ...]
    since: datetime


def awaiting(db: Connection) -> Awaiting | None:
    """Return what waits, as the last look at the policies folder left it."""
    found = keys.read_fact(db, AWAITING)
    if found is None or not found[0]:
        return None
    told, since = found
    return Awaiting(
        digest=told["digest"],
        base=told["base"],
        commit=told["commit"],
        loosening=tuple(told["loosening"]),
        since=since,
    )


def note_awaiting(
    db: Connection, comparison: Comparison, *, origin: Mapping[str, Any], actor: str, now: datetime
) -> bool:
    """Keep that this bundle waits, with its entry; False when that is known. The caller holds `*`."""
    known = awaiting(db)
    if known and (known.digest, known.base) == (comparison.head, comparison.base):
        return False
    changes = [one for one in comparison.changes if one.effect is Effect.LOOSENING]
    loosening = [f"{one.document} {change_line(one)}"[:_LONGEST_LINE] for one in changes]
    value = {
        "digest": comparison.head,
        "base": comparison.base,
        "commit": origin.get("commit"),
        "loosening": loosening[:_MOST_LINES],
    }
    keys.note_fact(db, AWAITING, value, now)
    problems = [f"It loosens in {len(loosening)} places and waits for an approval.", *loosening[:_MOST_LINES]]
    log.append(db, [bodies.bundle_refused(digest=comparison.head, problems=problems, at=now, actor=actor)])
    return True


def alert_awaiting(comparison: Comparison) -> None:
    """Tell whoever operates Tenure; to be called after the commit that keeps it."""
    count = sum(one.effect is Effect.LOOSENING for one in comparison.changes)
    raise_alert(AWAITING, bundle=comparison.head, base=comparison.base, loosening=count, repair=HOW)


def nothing_awaits(db: Connection, now: datetime) -> None:
    """Forget what waited: the folder holds something else by now, or it is in force."""
    found = keys.read_fact(db, AWAITING)
    if found is not None and found[0]:
        keys.note_fact(db, AWAITING, [], now)
