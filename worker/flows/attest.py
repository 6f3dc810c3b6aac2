"""Attest: single entries of one owner, or of one erasure order, each with a proof of its own.

The answer to a data subject holds nobody else's envelopes. It shows that each entry is in the log, and not
that there are no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection

from worker.audit.entry import EntryType
from worker.audit.fields import said
from worker.audit.manifest import ERASURE, OWNER, Manifest
from worker.audit.reading import items, load, mapping
from worker.audit.single import MOST_PROOFS, write_single
from worker.audit.tiles import inclusion_from_tiles
from worker.audit.tlog_proof import TlogProof
from worker.flows.export import Sealed, exported, scope_of
from worker.flows.receipt import no_such_order
from worker.flows.seal import Sealer
from worker.model.clock import Clock
from worker.model.errors import Invalid, NotFound
from worker.store import epochs, gone, log, orders, protections, threads
from worker.store.engine import Database
from worker.store.tiles import StoredTiles

# Nothing was registered before; the end is the export's own instant.
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)


def attest(
    database: Database,
    sealer: Sealer,
    *,
    project: str,
    owner: str | None = None,
    erasure: str | None = None,
    window: tuple[datetime, datetime],
    out: Path,
    actor: str,
    clock: Clock,
) -> Manifest:
    """Write the entries of the owner's threads of a project, or of those that an order covers there.

    An owner's threads are those the owner answers for now. Raises NotFound where there are none or no such
    order, Invalid for neither or both of owner and erasure, BundleRefused for more than 50,000 entries.
    """
    if (owner is None) == (erasure is None):
        raise Invalid("An answer is about an owner or an erasure order.", repair="Give exactly one of them.")

    def write(db: Connection, sealed: Sealed, file: BinaryIO) -> Manifest:
        kind, of = (OWNER, owner) if owner is not None else (ERASURE, erasure)
        size = sealed.checkpoint.size
        scope = scope_of(db, sealer, project, window, size=size, now=clock.now(), kind=kind, of=of)
        lost = 0
        if erasure:
            named, lost = _of_order(db, project, erasure, size)
        else:
            named = _of_owner(db, project, owner or "", size)
        # What an epoch follows belongs to every export.
        named = [one for one in sorted([*named, *epochs.firsts(db)]) if one < size]
        there = gone.there(db, named)
        return write_single(
            file,
            scope=scope,
            checkpoint_note=sealed.note,
            vkeys=sealed.vkeys,
            signer=sealed.signer,
            proved=_proved(db, sealed, there),
            gone=len(named) - len(there) + lost,
        )

    return exported(
        database, sealer, write, project=project, window=window, out=out, actor=actor, clock=clock
    )


def _of_owner(db: Connection, project: str, owner: str, size: int) -> list[int]:
    own = {one.thread.id for one in threads.of_owner(db, owner) if one.thread.project == project}
    own -= _later(db, owner, size)
    if not own:
        problem = f"No thread of project {project} has this owner."
        raise NotFound(problem, repair="`tenure threads list --owner` shows whose threads there are.")
    return log.bodies_of_subjects(db, project, sorted(own))


def _later(db: Connection, owner: str, size: int) -> set[str]:
    """Return the threads that came to the owner behind the checkpoint: no entry before it says so."""
    before: dict[str, object] = {}
    for subject, raw in log.changes_since(db, size):
        for one in map(mapping, items(load(raw), "changes")):
            if one.get("field") == "owner":
                before.setdefault(subject, one.get("from"))
    return {subject for subject, was in before.items() if was != said(owner)}


def _of_order(db: Connection, project: str, erasure: str, size: int) -> tuple[list[int], int]:
    """Return the entries of an order and its threads, and 1 where the body of the order's own is gone."""
    if orders.get(db, erasure) is None:
        raise no_such_order()
    stored = threads.many(db, protections.threads_of_erasure(db, erasure))
    own = [one.thread.id for one in stored.values() if one.thread.project == project]
    if not own:
        problem = f"The order covers no thread of project {project}."
        raise NotFound(problem, repair="Its receipt names the projects: GET /v1/erasures/{id}.")
    about = log.bodies_of_erasure(db, erasure, project)
    ordered = [index for index, kind in about.items() if kind == EntryType.ERASURE_ORDERED.value]
    if ordered and ordered[0] >= size:
        # It came behind the checkpoint, and no entry before it is of this order.
        raise no_such_order()
    return sorted([*log.bodies_of_subjects(db, project, own), *about]), int(not ordered)


def _proved(db: Connection, sealed: Sealed, indices: list[int]) -> Iterator[tuple[TlogProof, bytes]]:
    """Yield proof and body of each entry."""
    read = StoredTiles(db=db, size=sealed.checkpoint.size)
    for index in indices[: MOST_PROOFS + 1]:
        body, envelope = log.body_at(db, index), log.envelope_at(db, index)
        if body is None:
            continue
        path = inclusion_from_tiles(index, sealed.checkpoint.size, read)
        yield (
            TlogProof(index=index, hashes=tuple(path), checkpoint=sealed.note, envelope=envelope),
            body,
        )
