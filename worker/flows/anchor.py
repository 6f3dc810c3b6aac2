"""Anchor: bring stored checkpoints to every anchor, again and again until they are there.

A failure is an alert and never stops sealing: what is late is late for a while, and the lag says by how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from worker.anchors.base import Anchor, AnchorFailed, AnchorForked
from worker.flows.compare import Log
from worker.model.clock import Clock, rfc3339
from worker.store import epochs, keys, log
from worker.store.engine import Database
from worker.telemetry import Alert, raise_alert

LAGGING = timedelta(hours=1)
# A page may say "anchored" only where this much or less could have been signed again unseen.
ANCHORED = timedelta(hours=24)
# After a long failure the older ones are left out: the newest covers every leaf before it.
_MOST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How far one anchor is behind: entries that it does not cover, and how long a checkpoint waits for it.

    ``late`` is zero while it holds the newest checkpoint; ``size`` is the newest that it is known to hold.
    """

    anchor: str
    place: str
    size: int
    entries: int
    late: timedelta
    problem: str

    @property
    def is_anchored(self) -> bool:
        """Whether the label "anchored" may be used."""
        return self.size > 0 and self.late <= ANCHORED


def anchor(database: Database, known: Log, *, clock: Clock) -> None:
    """Publish what each anchor lacks; alerts where one fails, holds another history or lags behind."""
    for one in known.anchors:
        _bring_up(database, known, one, clock)


def lags(db: Connection, anchors: Sequence[Anchor], now: datetime) -> list[Lag]:
    """Return the lag of each anchor, from what the database knows of it: nothing outside is asked."""
    head = log.read_head(db)
    return [_lag(db, one, _state(db, one), head.size, now) for one in anchors]


def anchored_line(db: Connection, anchors: Sequence[Anchor], now: datetime) -> str:
    """Return the sentence for a certificate; it says "anchored" only where no anchor is a day late."""
    found = [one for one in lags(db, anchors, now) if one.is_anchored]
    if not found:
        return "Not anchored: no copy of a checkpoint of the last 24 hours is known outside of the database."
    told = "; ".join(f"{one.anchor} (up to size {one.size})" for one in found)
    return f"Anchored at {rfc3339(now)} in: {told}."


def _lag(db: Connection, one: Anchor, state: dict[str, Any], size: int, now: datetime) -> Lag:
    reached = int(state["size"])
    since = log.sealed_first_above(db, reached)
    return Lag(
        anchor=one.name,
        place=one.place,
        size=reached,
        entries=max(0, size - reached),
        late=max(timedelta(), now - since) if since else timedelta(),
        problem=str(state["problem"]),
    )


def _state(db: Connection, one: Anchor) -> dict[str, Any]:
    """Return what is known of an anchor; of another place nothing is."""
    fact = keys.read_fact(db, f"anchor.{one.name}")
    if fact is not None and fact[0]["place"] == one.place:
        return dict(fact[0])
    return {"place": one.place, "size": 0, "problem": "", "lagging": False}


def _bring_up(database: Database, known: Log, one: Anchor, clock: Clock) -> None:
    with database.read() as db:
        before = _state(db, one)
    state = {**before, "problem": ""}
    try:
        state["size"] = min(state["size"], newest_held(known, one))
        if state["size"] < before["size"]:
            raise_alert("anchor.lost", anchor=one.name, place=one.place, size=before["size"])
        with database.read() as db:
            seals = log.newest_seals(db, above=state["size"], limit=_MOST)
        if seals:
            one.publish([sealed.note for sealed in seals])
            state["size"] = seals[-1].size
    except (AnchorFailed, AnchorForked) as e:
        state["problem"] = e.problem
        if before["problem"] != e.problem:
            what: Alert = "anchor.forked" if isinstance(e, AnchorForked) else "anchor.failed"
            raise_alert(what, anchor=one.name, problem=e.problem, repair=e.repair)
    _keep(database, one, before, state, clock.now())


def newest_held(known: Log, one: Anchor) -> int:
    """Return the size of the newest epoch's newest checkpoint there; 0 where it has none of this log.

    Raises AnchorFailed where it cannot be read.
    """
    own = [(epochs.number_of(known.origin, m.checkpoint.origin), m.checkpoint.size) for m in one.newest()]
    return max(((number, size) for number, size in own if number is not None), default=(0, 0))[1]


def _keep(
    database: Database, one: Anchor, before: dict[str, Any], state: dict[str, Any], now: datetime
) -> None:
    with database.read() as db:
        lag = _lag(db, one, state, log.read_head(db).size, now)
    state["lagging"] = lag.late > LAGGING
    if state["lagging"] and not before["lagging"]:
        raise_alert(
            "anchor.lagging",
            anchor=one.name,
            place=one.place,
            seconds=int(lag.late.total_seconds()),
            entries=lag.entries,
            problem=lag.problem,
        )
    if state != before:
        with database.write() as db:
            keys.note_fact(db, f"anchor.{one.name}", state, now)
