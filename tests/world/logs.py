"""Whatever a scenario did, its log follows every deletion as the verifier demands it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import select

from worker.audit.pseudonyms import Pseudonyms
from worker.audit.reading import Body, load, parse_envelope, text
from worker.audit.trail import Trail
from worker.store.engine import Database
from worker.store.tables import audit_body, audit_leaf

# A whole log, and ranges that begin later, as an export may.
_BEGINNINGS = 8


class _Told(NamedTuple):
    """One leaf; its body is None where that is gone."""

    leaf: int
    project: str | None
    subject: str | None
    kind: str
    body: Body | None


def contradictions(database: Database) -> list[str]:
    """Return what a verifier would say of the log, of later ranges, and of each thread's own entries."""
    told = _read(database)
    ranges = (told[len(told) * part // _BEGINNINGS :] for part in range(_BEGINNINGS))
    return [*(what for part in ranges for what in _of_range(part)), *_of_single(told)]


def _read(database: Database) -> list[_Told]:
    query = (
        select(audit_leaf.c.idx, audit_leaf.c.envelope, audit_body.c.body)
        .outerjoin(audit_body, audit_body.c.idx == audit_leaf.c.idx)
        .order_by(audit_leaf.c.idx)
    )
    with database.read() as db:
        rows = db.execute(query).all()
    found = []
    for index, raw, body in rows:
        envelope = parse_envelope(raw)
        fields = load(body) if body else None
        found.append(_Told(index, envelope.project, envelope.subject, envelope.type, fields))
    return found


def _of_range(told: Sequence[_Told]) -> Iterator[str]:
    first = told[0].leaf if told else 0
    trails, pseudonyms = dict[str | None, Trail](), Pseudonyms()
    for index, project, subject, kind, body in told:
        trail = trails.setdefault(project, Trail(whole=first == 0))
        thread = pseudonyms.number(subject) if subject else None
        if body is None:
            trail.lose(kind, thread)
            continue
        if thread is not None and not pseudonyms.is_of(thread, text(body, "subject"), index):
            yield f"from {first}, {index}: the pseudonym is another thread's"
        yield from (f"from {first}, {index}: {what}" for what in trail.feed(index, kind, thread, body))
    yield from (f"from {first}, {index}: it has two pseudonyms" for index in pseudonyms.doubled())
    for one in trails.values():
        yield from (f"from {first}, {pseudonyms.leaf(at)}: it is another's object" for at in one.twins())
    yield from (f"from {first}, {index}: it is back" for one in trails.values() for index in one.back())


def _of_single(told: Sequence[_Told]) -> Iterator[str]:
    """Go through each thread's entries by themselves; those that are gone leave no trace there."""
    for one in sorted({each.subject for each in told if each.subject}):
        own = [each for each in told if each.subject == one]
        trail = Trail(single=True, partial=any(each.body is None for each in own))
        for index, _, _, kind, body in own:
            if body is not None:
                yield from (f"alone, {index}: {what}" for what in trail.feed(index, kind, 0, body))
        yield from (f"alone, {index}: it is back" for index in trail.back())
