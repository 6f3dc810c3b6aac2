"""Prove: one entry's path to a signed checkpoint, and that a later checkpoint continues an earlier one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import Connection

from worker.audit.checkpoint import Checkpoint
from worker.audit.keys import open_checkpoint
from worker.audit.merkle import verify_consistency
from worker.audit.tiles import consistency_from_tiles, inclusion_from_tiles
from worker.audit.tlog_proof import ProofRefused, TlogProof, verify_tlog_proof
from worker.flows.seal import Sealer, seal
from worker.flows.sign import known_keys
from worker.flows.tile import lay_tiles
from worker.model.clock import Clock
from worker.model.errors import Invalid, NotFound, TenureError
from worker.store import log
from worker.store.engine import Database
from worker.store.tiles import StoredTiles

_INDEX = re.compile(r"0|[1-9][0-9]{0,15}")
_ENTRY_ID = re.compile(r"[0-9a-f]{32}")


class LogDisagrees(TenureError):
    """The stored leaves or tiles do not give a root that was signed: nothing is proved from them."""

    code = "log_disagrees"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """A proof file that was verified with the log's own keys, and the checkpoint it leads to."""

    proof: TlogProof
    checkpoint: Checkpoint
    keys: tuple[str, ...]


def prove(database: Database, sealer: Sealer, named: str, *, clock: Clock) -> Proved:
    """Prove the entry of this index or id to the newest checkpoint, sealing first if that lacks it.

    Raises Invalid for what is neither, NotFound for no such entry, LogDisagrees where the proof that was
    made does not verify.
    """
    index = _index_of(database, named)
    newest = _checkpoint_with(database, sealer, index, clock=clock)
    lay_tiles(database)
    with database.read() as db:
        keys = known_keys(db, sealer)
        checkpoint = open_checkpoint(newest, keys)
        path = inclusion_from_tiles(index, checkpoint.size, StoredTiles(db=db, size=checkpoint.size))
        proof = TlogProof(
            index=index, hashes=tuple(path), checkpoint=newest, envelope=log.envelope_at(db, index)
        )
    try:
        verify_tlog_proof(proof, keys)
    except ProofRefused as refused:
        raise _disagrees(f"Entry {index} cannot be proved. {refused.problem}") from refused
    return Proved(proof=proof, checkpoint=checkpoint, keys=tuple(one.line for one in keys))


def prove_continuation(db: Connection, old: Checkpoint, new: Checkpoint) -> list[bytes]:
    """Return the proof that ``new`` only added leaves to ``old`` (RFC 6962 2.1.2); raises LogDisagrees."""
    path = consistency_from_tiles(old.size, new.size, StoredTiles(db=db, size=new.size))
    if not verify_consistency(old=old.size, new=new.size, old_root=old.root, new_root=new.root, proof=path):
        raise _disagrees(f"The tree of {new.size} leaves does not continue that of {old.size}.")
    return path


def _index_of(database: Database, named: str) -> int:
    if not _INDEX.fullmatch(named) and not _ENTRY_ID.fullmatch(named):
        problem = f"{named[:80]!r} is neither an entry's index nor its id (32 hex digits)."
        raise Invalid(problem, repair="`tenure audit list` shows entries by index.")
    with database.read() as db:
        by_index = _INDEX.fullmatch(named) and int(named) < log.read_head(db).size
        index = int(named) if by_index else log.index_of(db, named)
    if index is None:
        raise NotFound(f"The log has no entry {named}.", repair="`tenure audit list` shows them.")
    return index


def _checkpoint_with(database: Database, sealer: Sealer, index: int, *, clock: Clock) -> str:
    with database.read() as db:
        newest = log.latest_seal(db)
    if newest is None or newest.size <= index:
        newest = seal(database, sealer, clock=clock, force=True)
    if newest is None or newest.size <= index:
        raise _disagrees(f"The newest checkpoint does not reach entry {index}.")
    return newest.note


def _disagrees(problem: str) -> LogDisagrees:
    return LogDisagrees(problem, repair="Compare the log with a checkpoint that is kept elsewhere.")
