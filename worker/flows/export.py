"""Export: write one project's evidence up to a fresh checkpoint into a bundle that verifies offline."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, cast

from sqlalchemy import Connection

from worker import __version__
from worker.audit import bodies
from worker.audit.bundle import Beginning, Scope, write_bundle
from worker.audit.checkpoint import Checkpoint
from worker.audit.envelope import project_pseudonym
from worker.audit.keys import LogKey, open_checkpoint
from worker.audit.manifest import PROJECT, Manifest
from worker.audit.merkle import Frontier
from worker.audit.note import Signer
from worker.audit.tiles import subtree_root
from worker.flows.anchor import anchor, anchored_line
from worker.flows.prove import prove_continuation
from worker.flows.seal import Sealer, seal
from worker.flows.sign import known_keys, signers_at
from worker.flows.tile import lay_tiles
from worker.model.clock import Clock
from worker.model.errors import NotFound, TenureError
from worker.policy.canonical import digested_text
from worker.store import bundles, gone, log
from worker.store.engine import Database
from worker.store.log import Seal
from worker.store.tiles import StoredTiles

# A page of bodies goes in a moment, and so does a checkpoint.
_TRIES = 10
_TOLD_AT = 2000


class BodiesGoing(TenureError):
    """No instant was found at which the newest checkpoint tells of every body that is gone."""

    code = "bodies_going"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What an export may hold beside the project's entries.

    ``begin_at`` is the tree size of a stored checkpoint that the range begins at; ``policies`` adds the
    texts of all bundles of policies, which name every project; ``anchors`` are copies of checkpoints that
    are kept elsewhere, by name. ``progress`` is told (leaves written, of how many).
    """

    begin_at: int = 0
    policies: bool = False
    anchors: Mapping[str, str] = field(default_factory=dict)
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """The checkpoint that an export leads to, the log's keys, and who signs the manifest."""

    note: str
    checkpoint: Checkpoint
    keys: tuple[LogKey, ...]
    signer: Signer

    @property
    def vkeys(self) -> list[str]:
        """The lines of ``keys.txt``."""
        return [one.line for one in self.keys]


def export(
    database: Database,
    sealer: Sealer,
    *,
    project: str,
    window: tuple[datetime, datetime],
    out: Path,
    actor: str,
    clock: Clock,
    extras: Extras | None = None,
) -> Manifest:
    """Seal, write the bundle beside ``out`` and move it there whole; the export itself is an entry.

    The log is read in one snapshot; nothing that is appended meanwhile is part of it. Raises NotFound for a
    project that has no entries and for a checkpoint that was never made, BundleRefused where the log does
    not hold what was signed, LogRefused for a log that its anchors do not know, and SigningKeyMissing.
    """
    wanted = extras or Extras()

    def write(db: Connection, sealed: Sealed, file: BinaryIO) -> Manifest:
        size = sealed.checkpoint.size
        beginning = _beginning(db, sealed, wanted.begin_at)
        return write_bundle(
            file,
            scope=scope_of(db, sealer, project, window, size=size, now=clock.now()),
            checkpoint_note=sealed.note,
            vkeys=sealed.vkeys,
            signer=sealed.signer,
            envelopes=_told(log.envelopes(db, size, first=wanted.begin_at), wanted, size),
            bodies=(one for one in log.bodies_of_export(db, project, size) if one[0] >= wanted.begin_at),
            # A bundle names every project, so it travels only where that was asked for; its digest is in
            # each decision, and its text in the repository of policies.
            policies=_policies(db, window[1]) if wanted.policies else {},
            beginning=beginning,
            anchors=wanted.anchors,
        )

    return exported(
        database, sealer, write, project=project, window=window, out=out, actor=actor, clock=clock
    )


def exported(
    database: Database,
    sealer: Sealer,
    write: Callable[[Connection, Sealed, BinaryIO], Manifest],
    *,
    project: str,
    window: tuple[datetime, datetime],
    out: Path,
    actor: str,
    clock: Clock,
) -> Manifest:
    """Seal, let ``write`` fill the file, move it to ``out``, and record the export."""
    with _sealed_snapshot(database, sealer, clock=clock) as (db, newest):
        keys = known_keys(db, sealer)
        sealed = Sealed(
            note=newest.note,
            checkpoint=open_checkpoint(newest.note, keys),
            keys=tuple(keys),
            signer=signers_at(sealer, keys, newest.size)[0],
        )
        with _beside(out) as file:
            manifest = write(db, sealed, file)
    entry = bodies.export_made(
        project,
        window=window,
        size=newest.size,
        root=sealed.checkpoint.root,
        at=clock.now(),
        actor=actor,
    )
    with database.write() as db:
        log.append(db, [entry])
    return manifest


@contextmanager
def _sealed_snapshot(
    database: Database, sealer: Sealer, *, clock: Clock
) -> Iterator[tuple[Connection, Seal]]:
    """Seal, and open one instant of the database in which every body that is gone is told of by then.

    Bodies may be shredded or pruned between the two: then their entry lies behind the checkpoint, and a
    bundle up to it would lack bodies without a word.
    """
    for _ in range(_TRIES):
        newest = seal(database, sealer, clock=clock, force=True)
        anchor(database, sealer.log, clock=clock)
        if newest is None:
            problem = "The log is empty: there is nothing to export."
            raise NotFound(problem, repair="Register a thread first.")
        lay_tiles(database)
        with database.snapshot() as db:
            if gone.newest_saying(db) < newest.size:
                yield db, newest
                return
    problem = "Bodies are being shredded or pruned, faster than a checkpoint follows."
    raise BodiesGoing(problem, repair="Run it again when that has ended.")


def scope_of(
    db: Connection,
    sealer: Sealer,
    project: str,
    window: tuple[datetime, datetime],
    *,
    size: int,
    now: datetime,
    kind: str = PROJECT,
    of: str | None = None,
) -> Scope:
    """Return the scope of a project's export; raises NotFound for one without entries."""
    if not log.has_entries(db, project, size):
        problem = f"The log has no entries of project {project}."
        raise NotFound(problem, repair="Check the name; `tenure threads list` shows projects.")
    return Scope(
        project=project,
        pseudonym=project_pseudonym(log.pseudonym_key(db), project),
        window=window,
        tool=f"tenure {__version__}",
        made_at=now,
        kind=kind,
        of=of,
        anchored=anchored_line(db, sealer.anchors, now),
    )


def _told(envelopes: Iterator[bytes], wanted: Extras, size: int) -> Iterator[bytes]:
    """Pass the leaves on, and tell every two thousandth of them, and the last."""
    if wanted.progress is None:
        yield from envelopes
        return
    for index, envelope in enumerate(envelopes, start=wanted.begin_at + 1):
        yield envelope
        if index % _TOLD_AT == 0 or index == size:
            wanted.progress(index, size)


def _policies(db: Connection, end: datetime) -> dict[str, str]:
    return {digest: digested_text(text) for digest, text in bundles.texts_before(db, end).items()}


def _beginning(db: Connection, sealed: Sealed, size: int) -> Beginning | None:
    """Return what leads from the checkpoint of that size to the newest; None for leaf 0."""
    if not size:
        return None
    found = log.seal_at(db, size)
    if found is None or size > sealed.checkpoint.size:
        problem = f"No checkpoint was made of {size} entries."
        raise NotFound(problem, repair="Give the size that an earlier export's checkpoint names.")
    old = open_checkpoint(found.note, sealed.keys)
    if old.origin != sealed.checkpoint.origin:
        problem = f"The checkpoint of {size} entries is of {old.origin}, before the epoch that the log is in."
        raise NotFound(problem, repair="Begin at leaf 0: what an epoch follows belongs to its export.")
    read = StoredTiles(db=db, size=sealed.checkpoint.size)
    hashes, low = [], 0
    for height in reversed(range(size.bit_length())):
        if size >> height & 1:
            hashes.append(subtree_root(low, low + (1 << height), read))
            low += 1 << height
    return Beginning(
        note=found.note,
        frontier=Frontier(size=size, hashes=tuple(hashes)),
        consistency=prove_continuation(db, old, sealed.checkpoint),
    )


@contextmanager
def _beside(out: Path) -> Iterator[BinaryIO]:
    """Open a file beside ``out`` that takes its place when the block ends well, and is removed otherwise."""
    with NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}.", delete=False) as file:
        try:
            yield cast("BinaryIO", file)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    Path(file.name).replace(out)
