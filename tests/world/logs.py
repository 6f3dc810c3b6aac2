"""Whatever a scenario did, its log follows every deletion as the verifier demands it."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select

from worker.audit.entry import EntryType
from worker.audit.pseudonyms import Pseudonyms
from worker.audit.reading import load, parse_envelope, text
from worker.audit.trail import Trail
from worker.store.engine import Database
from worker.store.tables import audit_body, audit_leaf

_GRADED = EntryType.THREAD_GRADED.value


def contradictions(database: Database) -> list[str]:
    """Return what a verifier would say of the entries that there are."""
    return list(_contradictions(database))


def _contradictions(database: Database) -> Iterator[str]:
    query = (
        select(audit_leaf.c.idx, audit_leaf.c.envelope, audit_body.c.body)
        .outerjoin(audit_body, audit_body.c.idx == audit_leaf.c.idx)
        .order_by(audit_leaf.c.idx)
    )
    with database.read() as db:
        rows = db.execute(query).all()
    trails, pseudonyms = dict[str | None, Trail](), Pseudonyms()
    for index, envelope, body in rows:
        _, project, subject, _, kind = parse_envelope(envelope)
        trail = trails.setdefault(project, Trail())
        thread = pseudonyms.number(subject) if subject else None
        if not body:
            trail.lose(kind, thread)
            continue
        fields = load(body)
        if thread is not None and not pseudonyms.is_of(thread, text(fields, "subject"), index):
            yield f"{index}: the pseudonym is another thread's"
        yield from (f"{index}: {what}" for what in trail.feed(index, kind, thread, fields))
    yield from (f"{index}: it stands under two pseudonyms" for index in pseudonyms.doubled())
    yield from (f"{index}: it is back" for one in trails.values() for index in one.back())
