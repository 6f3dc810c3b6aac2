"""Make the exports that were asked for: claim, write the bundle beside, keep it in pieces, let it expire.

A maker that dies leaves a lease that runs out; the next one begins anew under a higher fence, so that the
pieces of two files never mix. Only a process with the log's signing key makes any (ADR 0010, 0021).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection

from worker.audit.bundle import BundleRefused
from worker.audit.manifest import Manifest
from worker.flows.ask_export import FORGOTTEN, KEPT, Wanted, wanted_of
from worker.flows.attest import attest
from worker.flows.compare import LogRefused
from worker.flows.export import BodiesGoing, Extras, export
from worker.flows.seal import Sealer
from worker.model.clock import Clock
from worker.model.errors import Invalid, NotFound, TenureError
from worker.store import exports
from worker.store.engine import Database
from worker.store.exports import StoredExport
from worker.telemetry import log

LEASE = timedelta(minutes=5)
PIECE = 1024 * 1024
MOST_BYTES = 1024 * PIECE
MOST_TRIES = 5
_TELL_SECONDS = 1.0
# These say what is wrong with the request or with the log; others may name what only operators should know.
_TOLD = (NotFound, Invalid, BundleRefused, BodiesGoing, LogRefused)


class ExportTooLarge(TenureError):
    """The bundle is larger than a database should keep."""

    code = "export_too_large"


class _Lost(Exception):
    """The lease ran out, or the process stops: somebody else makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """What exports are made with; ``stopping`` is looked at between pages."""

    database: Database
    sealer: Sealer
    clock: Clock
    stopping: Callable[[], bool] = lambda: False


def make_exports(maker: Maker) -> int:
    """Make whatever waits and remove what expired; returns how many were ended, well or not."""
    tidy_exports(maker.database, clock=maker.clock)
    ended = 0
    while not maker.stopping() and (held := _claim(maker)) is not None:
        with suppress(_Lost):
            _make(maker, held)
            ended += 1
    return ended


def tidy_exports(database: Database, *, clock: Clock) -> None:
    """Remove files whose time is up, and what ended long ago."""
    now = clock.now()
    with database.read() as db:
        if not exports.any_expired(db, now, forget=now - FORGOTTEN):
            return
    with database.write() as db:
        exports.expire(db, now, forget=now - FORGOTTEN)


def write_wanted(
    database: Database,
    sealer: Sealer,
    wanted: Wanted,
    *,
    out: Path,
    actor: str,
    clock: Clock,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Write what is wanted to ``out``: what a local command and a request over HTTP have in common."""
    window = (wanted.begin, wanted.end)
    if wanted.is_single:
        return attest(
            database,
            sealer,
            project=wanted.project,
            owner=wanted.owner,
            erasure=wanted.erasure,
            window=window,
            out=out,
            actor=actor,
            clock=clock,
        )
    return export(
        database,
        sealer,
        project=wanted.project,
        window=window,
        out=out,
        actor=actor,
        clock=clock,
        extras=Extras(
            begin_at=wanted.begin_at, policies=wanted.with_policies, anchors=wanted.anchors, progress=progress
        ),
    )


def _claim(maker: Maker) -> StoredExport | None:
    now = maker.clock.now()
    with maker.database.read() as db:
        if not exports.anything_to_make(db, now):
            return None
    with maker.database.write() as db:
        return exports.claim(db, now=now, lease=LEASE)


def _make(maker: Maker, held: StoredExport) -> None:
    """Make one; raises _Lost, and what is not explained: once the lease ran out it is tried again."""
    if held.fence > MOST_TRIES:
        detail = f"It was begun {MOST_TRIES} times and never ended; the service's log has the reason."
        _fail(maker, held, "export_abandoned", detail)
        return
    try:
        with TemporaryDirectory(prefix="tenure-export-") as folder:
            out = Path(folder) / "export.zip"
            manifest = write_wanted(
                maker.database,
                maker.sealer,
                wanted_of(held.asked),
                out=out,
                actor=held.asked_by,
                clock=maker.clock,
                progress=_teller(maker, held),
            )
            _store(maker, held, manifest, out)
    except _Lost:
        with maker.database.write() as db:
            exports.release(db, held)
        raise
    except TenureError as e:
        told = isinstance(e, (*_TOLD, ExportTooLarge))
        detail = f"{e.problem} {e.repair}".strip() if told else "The service's log has the reason."
        log().warning("export.failed", export=held.id, code=e.code, reason=str(e))
        _fail(maker, held, e.code, detail)


def _teller(maker: Maker, held: StoredExport) -> Callable[[int, int], None]:
    last = maker.clock.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if maker.stopping():
            raise _Lost
        now = maker.clock.monotonic()
        if now - last >= _TELL_SECONDS or done == total:
            last = now
            with maker.database.write() as db:
                _renew(maker, held, db, done=done, total=total)

    return tell


def _renew(maker: Maker, held: StoredExport, db: Connection, *, done: int, total: int) -> None:
    if not exports.renew(db, held, done=done, total=total, now=maker.clock.now(), lease=LEASE):
        raise _Lost


def _store(maker: Maker, held: StoredExport, manifest: Manifest, out: Path) -> None:
    size = out.stat().st_size
    if size > MOST_BYTES:
        problem = f"The bundle has {size} bytes, and at most {MOST_BYTES} are kept for fetching."
        raise ExportTooLarge(problem, repair="Use `begin_at`, or `tenure audit export` beside the database.")
    digest = hashlib.sha256()
    for n, data in enumerate(_pieces(out)):
        if maker.stopping():
            raise _Lost
        digest.update(data)
        # One piece a transaction: no long lock on SQLite, and never a file's worth of memory.
        with maker.database.write() as db:
            _renew(maker, held, db, done=manifest.size, total=manifest.size)
            exports.add_piece(db, held, n, data)
    now = maker.clock.now()
    made = {
        "bytes": size,
        "sha256": digest.hexdigest(),
        "size": manifest.size,
        "root": manifest.root,
        "entries": manifest.entries,
        "grades": dict(manifest.grades),
    }
    with maker.database.write() as db:
        if not exports.finish(db, held, made=made, now=now, until=now + KEPT):
            raise _Lost


def _pieces(out: Path) -> Iterator[bytes]:
    with out.open("rb") as file:
        while data := file.read(PIECE):
            yield data


def _fail(maker: Maker, held: StoredExport, code: str, detail: str) -> None:
    with maker.database.write() as db:
        exports.fail(db, held, problem={"code": code, "detail": detail}, now=maker.clock.now())
