"""Export: write one project's evidence up to a fresh checkpoint into a bundle that verifies offline."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, cast

from sqlalchemy.orm import Session

from worker import __version__
from worker.audit import bodies
from worker.audit.bundle import Scope, write_bundle
from worker.audit.envelope import project_pseudonym
from worker.audit.keys import open_checkpoint
from worker.audit.manifest import Manifest
from worker.flows.anchor import anchor, anchored_line
from worker.flows.seal import Sealer, seal
from worker.flows.sign import known_keys, signers_at
from worker.model.clock import Clock
from worker.model.errors import NotFound
from worker.store import epochs, log
from worker.store.engine import Database


def export(
    database: Database,
    sealer: Sealer,
    *,
    project: str,
    window: tuple[datetime, datetime],
    out: Path,
    actor: str,
    clock: Clock,
) -> Manifest:
    """Seal, write the bundle beside ``out`` and move it there whole; the export itself is an entry.

    The log is read in one snapshot; nothing that is appended meanwhile is part of it. Raises NotFound
    for a project that has no entries, LogRefused for a log that its anchors do not know, and
    SigningKeyMissing.
    """
    newest = seal(database, sealer, clock=clock, force=True)
    anchor(database, sealer.log, clock=clock)
    if newest is None:
        problem = "The log is empty: there is nothing to export."
        raise NotFound(problem, repair="Register a thread first.")
    with database.read() as db:
        keys = known_keys(db, sealer)
        checkpoint = open_checkpoint(newest.note, keys)
        signer = signers_at(sealer, keys, newest.size)[0]
        scope = _scope(db, sealer, project, window, size=newest.size, now=clock.now())
        with _beside(out) as file:
            manifest = write_bundle(
                file,
                scope=scope,
                checkpoint_note=newest.note,
                vkeys=[one.line for one in keys],
                signer=signer,
                envelopes=log.envelopes(db, newest.size),
                # An epoch's first leaf belongs to no project, and to every export: it names what is missing.
                bodies=heapq.merge(
                    log.bodies_of_project(db, project, newest.size), epochs.bodies(db, newest.size)
                ),
                # A bundle names every project, so it may not travel with one project's evidence; its
                # digest is in each decision, and its text in the repository of policies.
                policies={},
            )
    with database.write() as db:
        entry = bodies.export_made(
            project, window=window, size=newest.size, root=checkpoint.root, at=clock.now(), actor=actor
        )
        log.append(db, [entry])
    return manifest


def _scope(
    db: Session, sealer: Sealer, project: str, window: tuple[datetime, datetime], *, size: int, now: datetime
) -> Scope:
    if next(log.bodies_of_project(db, project, size), None) is None:
        problem = f"The log has no entries of project {project}."
        raise NotFound(problem, repair="Check the name; `tenure threads list` shows projects.")
    return Scope(
        project=project,
        pseudonym=project_pseudonym(log.pseudonym_key(db), project),
        window=window,
        tool=f"tenure {__version__}",
        made_at=now,
        anchored=anchored_line(db, sealer.anchors, now),
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
