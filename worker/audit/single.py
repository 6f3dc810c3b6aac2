"""Writing a bundle of single entries, each with its own proof: the answer to one owner or one erasure order.

It holds no envelope of anybody else. So it shows that each entry is in the log, and cannot show that there
are no others; the project's export does that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from worker.audit import deletions, manifest
from worker.audit.bundle import Scope, head_texts, new_tally, own_row, state
from worker.audit.keys import open_checkpoint, parse_key
from worker.audit.manifest import Manifest
from worker.audit.members import BundleRefused, body_line, packed, seal_folder, write_texts
from worker.audit.note import Signer
from worker.audit.reading import parse_envelope
from worker.audit.tlog_proof import TlogProof, verify_tlog_proof

# A zip of small files has a limit that readers agree on; far more are one project's export.
MOST_PROOFS = 50_000


def write_single(
    out: BinaryIO,
    *,
    scope: Scope,
    checkpoint_note: str,
    vkeys: Sequence[str],
    signer: Signer,
    proved: Iterable[tuple[TlogProof, bytes]],
    gone: int = 0,
) -> Manifest:
    """Write the bundle and return its manifest; ``proved`` are (proof, exact body) in the log's order.

    ``gone`` is how many more entries there are whose body was shredded or pruned: stated, and not proved.
    Raises BundleRefused where anything does not fit or there are too many, ProofRefused for a proof that
    does not verify.
    """
    keys = [parse_key(one) for one in vkeys]
    checkpoint = open_checkpoint(checkpoint_note, keys)
    tally = new_tally(scope)
    with TemporaryDirectory(prefix="tenure-export-") as name:
        folder = Path(name)
        (folder / manifest.PROOF_FOLDER).mkdir()
        with (
            packed(folder / manifest.BODIES) as own,
            (folder / manifest.DELETIONS).open("w", encoding="utf-8", newline="") as table,
        ):
            table.write(deletions.line(deletions.HEADER))
            before = -1
            for count, (proof, body) in enumerate(proved, 1):
                if count > MOST_PROOFS or proof.index <= before or proof.checkpoint != checkpoint_note:
                    raise BundleRefused(
                        f"Entry {proof.index} is out of order, leads elsewhere, or is one too many.",
                        repair=f"More than {MOST_PROOFS} single entries are an export by project.",
                    )
                verify_tlog_proof(proof, keys)
                before = proof.index
                write_texts(folder, {manifest.proof_name(proof.index): proof.text})
                own.write(body_line(proof.index, body))
                envelope = parse_envelope(proof.envelope or b"")
                if envelope.project == scope.pseudonym:
                    table.write(own_row(tally, proof.index, envelope, body))
                elif hashlib.sha256(body).hexdigest() != envelope.body or envelope.project is not None:
                    raise BundleRefused(f"Leaf {proof.index} is not of this project, or has another body.")
        made = replace(state(scope, checkpoint, tally), gone=gone)
        write_texts(
            folder, head_texts(made, tally, note=checkpoint_note, vkeys=vkeys, anchored=scope.anchored)
        )
        return seal_folder(out, folder, made, signer)
