"""Rests and places of credentials: which is left alone until when, and how many drains it has.

Both are facts that end by themselves: a rest at its instant, a place with the lease of whoever took it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, delete, insert, literal, select, update
from sqlalchemy.exc import IntegrityError

from worker.store.engine import changed, lease_clock
from worker.store.keys import note_fact, read_fact
from worker.store.tables import fact

_REST, _PLACE = "rest:", "place:"
# How long a rest was to last from when it began: what tells one that a clock dated too late.
_LENGTH = "seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One of a credential's places; ``until`` is whose it is, too."""

    name: str
    until: datetime


def rest(db: Connection, credential: str, *, seconds: float, rounds: int, now: datetime) -> None:
    """Leave a credential alone for so long; a longer rest in force stays.

    ``rounds`` says how often in a row it was nothing but throttled.
    """
    until = lease_clock(db, now) + timedelta(seconds=seconds)
    value = {"rounds": rounds, _LENGTH: seconds}
    known = read_fact(db, _REST + credential)
    if known and known[1] > until:
        until, value = known[1], {**known[0], "rounds": rounds}
    note_fact(db, _REST + credential, value, until)


def mend(db: Connection, now: datetime) -> None:
    """Let no rest last longer than it was to: one begun while a clock was ahead ends from now as it should.

    On SQLite the clock is the process's own, and may be set back while a credential rests.
    """
    now = lease_clock(db, now)
    rest = select(fact.c.name, fact.c.value, fact.c.at).where(
        fact.c.name.startswith(_REST, autoescape=True), fact.c.at > now
    )
    for row in db.execute(rest).all():
        # An older release does not say how long: what it began ends when it said.
        length = row.value.get(_LENGTH)
        latest = row.at if length is None else now + timedelta(seconds=length)
        if row.at > latest:
            note_fact(db, row.name, row.value, latest)


def rounds(db: Connection, credential: str) -> int:
    """Return how often in a row a credential was nothing but throttled, also after its rest."""
    known = read_fact(db, _REST + credential)
    return int(known[0]["rounds"]) if known else 0


def forget(db: Connection, credential: str, now: datetime) -> None:
    """Forget a credential's past; a rest in force stays, for somebody heard of it meanwhile."""
    over = fact.c.at <= lease_clock(db, now)
    db.execute(delete(fact).where(fact.c.name == _REST + credential, over))


def resting(db: Connection, now: datetime) -> Mapping[str, datetime]:
    """Return the credentials that rest, and until when."""
    query = select(fact.c.name, fact.c.at).where(
        fact.c.name.startswith(_REST, autoescape=True), fact.c.at > lease_clock(db, now)
    )
    return {row.name.removeprefix(_REST): row.at for row in db.execute(query)}


def is_resting(db: Connection, credential: str, now: datetime) -> bool:
    """Whether a credential is to be left alone now."""
    return credential in resting(db, now)


def rests(credential: ColumnElement[str], now: datetime) -> ColumnElement[bool]:
    """Whether the credential of a row rests at ``now``, as the database's clock has it."""
    name = literal(_REST).concat(credential)
    return select(fact.c.name).where(fact.c.name == name, fact.c.at > now).exists()


def enter(db: Connection, credential: str, *, most: int, length: timedelta, now: datetime) -> Place | None:
    """Take one of a credential's places for so long; None where all of them are taken."""
    now = lease_clock(db, now)
    for number in range(most):
        place = Place(name=f"{_PLACE}{credential}:{number}", until=now + length)
        ended = update(fact).where(fact.c.name == place.name, fact.c.at <= now).values(at=place.until)
        if changed(db, ended):
            return place
        try:
            with db.begin_nested():
                db.execute(insert(fact).values(name=place.name, value=None, at=place.until))
        except IntegrityError:
            continue
        return place
    return None


def end_places(db: Connection) -> None:
    """End every place. Only for whoever knows that nobody works: the lock's holder."""
    db.execute(delete(fact).where(is_place()))


def is_place() -> ColumnElement[bool]:
    """Whether a fact is a place, and its time the place's end."""
    return fact.c.name.startswith(_PLACE, autoescape=True)


def leave(db: Connection, place: Place) -> None:
    """Give a place back, unless it ended and is somebody else's by now."""
    db.execute(delete(fact).where(fact.c.name == place.name, fact.c.at == place.until))
