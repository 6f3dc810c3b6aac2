"""Proof files (c2sp.org/tlog-proof@v1): one entry, its path to a signed checkpoint, and nothing else.

The optional ``extra`` holds the envelope's exact bytes, so that the file alone tells what it proves. The
format does not authenticate ``extra``; here its hash is the leaf that the path begins with.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from worker.audit.checkpoint import Checkpoint
from worker.audit.keys import LogKey, open_checkpoint
from worker.audit.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from worker.audit.note import NoteRefused, decode_base64
from worker.model.errors import TenureError

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PROOF = 64 * 1024
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")
_MOST_HASHES = 64
_EXTRA = "extra "


class ProofRefused(TenureError):
    """The proof is malformed, or does not lead from its entry to a checkpoint that a known key signed."""

    code = "proof_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlogProof:
    """That ``envelope`` is leaf ``index`` of the tree in ``checkpoint`` (a signed note)."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    envelope: bytes | None = None

    @property
    def text(self) -> str:
        """The file's content."""
        extra = [] if self.envelope is None else [_EXTRA + base64.b64encode(self.envelope).decode()]
        hashes = (base64.b64encode(one).decode() for one in self.hashes)
        return "\n".join([HEADER, *extra, f"index {self.index}", *hashes, "", self.checkpoint])


def parse_tlog_proof(text: str) -> TlogProof:
    """Read a proof file; raises ProofRefused. Nothing is checked yet but the form."""
    head, separator, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if len(text) > MAX_PROOF or not separator or lines[0] != HEADER:
        raise ProofRefused(f"This is no proof: it does not begin with {HEADER} or has no checkpoint.")
    envelope = None
    if len(lines) > 1 and lines[1].startswith(_EXTRA):
        envelope = _decoded(lines.pop(1).removeprefix(_EXTRA))
    index = _INDEX.fullmatch(lines[1]) if len(lines) > 1 else None
    if index is None:
        raise ProofRefused("The proof's index is missing or not written as a plain decimal.")
    hashes = tuple(_decoded(one) for one in lines[2:])
    if len(hashes) > _MOST_HASHES or any(len(one) != HASH_BYTES for one in hashes):
        raise ProofRefused("A line of the proof is no SHA-256 in base64, or there are too many.")
    return TlogProof(index=int(index[1]), hashes=hashes, checkpoint=checkpoint, envelope=envelope)


def verify_tlog_proof(
    proof: TlogProof, keys: Sequence[LogKey], *, envelope: bytes | None = None
) -> Checkpoint:
    """Return the checkpoint that holds the entry; raises ProofRefused.

    ``envelope`` is what the caller knows the entry to be; without it, the one that the file brings.
    """
    known = proof.envelope if envelope is None else envelope
    if known is None:
        raise ProofRefused("The proof does not hold the entry.", repair="Give the envelope's exact bytes.")
    try:
        checkpoint = open_checkpoint(proof.checkpoint, keys)
    except NoteRefused as refused:
        raise ProofRefused(f"The proof's checkpoint: {refused.problem}", repair=refused.repair) from refused
    if not verify_inclusion(
        index=proof.index,
        size=checkpoint.size,
        leaf=leaf_hash(known),
        proof=proof.hashes,
        root=checkpoint.root,
    ):
        raise ProofRefused(f"The hashes do not lead from entry {proof.index} to the checkpoint's root.")
    return checkpoint


def _decoded(text: str) -> bytes:
    raw = decode_base64(text)
    if raw is None:
        raise ProofRefused("A line of the proof is no canonical base64.")
    return raw
