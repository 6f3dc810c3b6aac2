"""Writing the export bundle: a zip that proves, offline, what was seen of one project in one window.

The same input gives the same bytes: sorted members, fixed times, gzip without a time. Envelopes and
bodies are streamed through a temporary folder, never held whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from worker.audit import certificate, deletions, manifest
from worker.audit.checkpoint import Checkpoint
from worker.audit.ends import hash_lines
from worker.audit.entry import EntryType, instant
from worker.audit.gone import Gone, says_gone, tells_of_all
from worker.audit.growing import Growing
from worker.audit.keys import LogKey, open_checkpoint, parse_key
from worker.audit.manifest import Manifest
from worker.audit.members import (
    BundleRefused,
    anchor_texts,
    body_line,
    packed,
    policy_texts,
    readme,
    seal_folder,
    write_texts,
)
from worker.audit.merkle import Frontier, leaf_hash, verify_consistency
from worker.audit.note import Signer
from worker.audit.reading import Envelope, join, load, parse_envelope
from worker.audit.tally import Tally
from worker.model.evidence import GRADER_VERSION

__all__ = ["Beginning", "BundleRefused", "Scope", "body_line", "write_bundle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose evidence, for [start, end), and made by what and when. ``pseudonym`` is the project's.

    ``kind`` is ``project``, or ``owner`` or ``erasure`` for single entries of what ``of`` names.
    ``anchored`` is the certificate's sentence on copies of checkpoints that are kept elsewhere.
    """

    project: str
    pseudonym: str
    window: tuple[datetime, datetime]
    tool: str
    made_at: datetime
    kind: str = manifest.PROJECT
    of: str | None = None
    anchored: str = "No anchor is known."


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """Where a range begins that leaves out older leaves: the head signed there, and its frontier.

    ``consistency`` is the proof (RFC 6962) that the bundle's checkpoint continues it.
    """

    note: str
    frontier: Frontier
    consistency: Sequence[bytes]


@dataclass(slots=True, kw_only=True)
class _Writing:
    """One bundle while its entries stream by."""

    folder: Path
    scope: Scope
    tally: Tally
    growing: Growing
    gone: Gone = field(default_factory=Gone)


def write_bundle(
    out: BinaryIO,
    *,
    scope: Scope,
    checkpoint_note: str,
    vkeys: Sequence[str],
    signer: Signer,
    envelopes: Iterable[bytes],
    bodies: Iterable[tuple[int, bytes]],
    policies: Mapping[str, str],
    beginning: Beginning | None = None,
    anchors: Mapping[str, str] | None = None,
) -> Manifest:
    """Write the bundle to ``out`` and return its manifest.

    ``envelopes`` are the leaves up to size-1, from leaf 0 or from ``beginning`` on; ``bodies`` the
    project's own, and those of ``log.pruned`` and ``log.epoch``, as (index, exact bytes) in order; both are
    read once, in step. ``policies`` map a bundle's digest to the canonical text it is the SHA-256 of;
    ``anchors`` map names to copies of checkpoints that are kept elsewhere. Raises BundleRefused where
    anything does not fit, NoteRefused for a checkpoint that none of ``vkeys`` (lines of keys.txt, with the
    sizes they may sign) signed, Misshapen for a body that is none.
    """
    keys = [parse_key(one) for one in vkeys]
    checkpoint = open_checkpoint(checkpoint_note, keys)
    start = _begin(beginning, checkpoint, keys)
    copies = anchor_texts(anchors or {})
    heads = [_copy_of_head(note, checkpoint, keys) for note in (anchors or {}).values()]
    with TemporaryDirectory(prefix="tenure-export-") as name:
        writing = _Writing(
            folder=Path(name),
            scope=scope,
            tally=new_tally(scope, first=start.size),
            growing=Growing(start, {one.size: one.root for one in heads}),
        )
        _write_entries(writing, envelopes, bodies)
        _check(writing, checkpoint)
        made = state(scope, checkpoint, writing.tally)
        texts = {
            **head_texts(made, writing.tally, note=checkpoint_note, vkeys=vkeys, anchored=scope.anchored),
            **policy_texts(policies),
            **copies,
            **_beginning_texts(beginning),
        }
        write_texts(writing.folder, texts)
        return seal_folder(out, writing.folder, made, signer)


def new_tally(scope: Scope, *, first: int = 0) -> Tally:
    """Return the tally of the scope's window."""
    return Tally(start=instant(scope.window[0]), end=instant(scope.window[1]), first=first)


def state(scope: Scope, checkpoint: Checkpoint, tally: Tally) -> Manifest:
    """Return the manifest, as yet without the members' digests."""
    return Manifest(
        tool=scope.tool,
        made_at=instant(scope.made_at),
        project=scope.project,
        pseudonym=scope.pseudonym,
        start=tally.start,
        end=tally.end,
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=checkpoint.root.hex(),
        grader_version=GRADER_VERSION,
        entries=tally.entries,
        grades=tally.grades,
        reconciliation=tally.reconciliation,
        files={},
        first=tally.first,
        scope=scope.kind,
        of=scope.of,
        gone=tally.gone,
    )


def head_texts(
    made: Manifest, tally: Tally, *, note: str, vkeys: Sequence[str], anchored: str
) -> dict[str, str]:
    """Return the small members that every bundle has."""
    return {
        manifest.CHECKPOINT: note,
        manifest.KEYS: "".join(f"{one}\n" for one in vkeys),
        manifest.CERTIFICATE: certificate.render(made, tally, note=note, anchored=anchored),
        manifest.README: readme(made),
    }


def own_row(tally: Tally, index: int, envelope: Envelope, body: bytes) -> str:
    """Count one own body and return its row of the table, if it has one; raises BundleRefused."""
    if hashlib.sha256(body).hexdigest() != envelope.body:
        raise BundleRefused(f"The body of leaf {index} is not the one that its envelope names.")
    fields = load(body)
    tally.feed(index, envelope, fields)
    if envelope.type != EntryType.THREAD_GRADED or not tally.covers(envelope.t):
        return ""
    return deletions.line(deletions.row(index, envelope.t, fields))


def _begin(beginning: Beginning | None, checkpoint: Checkpoint, keys: Sequence[LogKey]) -> Frontier:
    if beginning is None:
        return Frontier()
    start = open_checkpoint(beginning.note, keys)
    frontier = beginning.frontier
    fits = (start.origin, start.size, start.root) == (checkpoint.origin, frontier.size, frontier.root())
    if not start.size or not fits:
        raise BundleRefused("The frontier is not that of the checkpoint at which the range begins.")
    if not verify_consistency(
        old=start.size,
        new=checkpoint.size,
        old_root=start.root,
        new_root=checkpoint.root,
        proof=beginning.consistency,
    ):
        raise BundleRefused("The checkpoint does not continue the one at which the range begins.")
    return frontier


def _copy_of_head(note: str, checkpoint: Checkpoint, keys: Sequence[LogKey]) -> Checkpoint:
    head = open_checkpoint(note, keys)
    if head.origin != checkpoint.origin:
        raise BundleRefused(
            f"An anchor is of the log {head.origin}, the export of {checkpoint.origin}.",
            repair="Give copies of checkpoints of this log, and of the epoch that it is in.",
        )
    return head


def _beginning_texts(beginning: Beginning | None) -> dict[str, str]:
    if beginning is None:
        return {}
    return {
        manifest.START: beginning.note,
        manifest.FRONTIER: hash_lines(beginning.frontier.hashes),
        manifest.CONSISTENCY: hash_lines(beginning.consistency),
    }


def _check(writing: _Writing, checkpoint: Checkpoint) -> None:
    """Refuse to sign what a verifier would refuse."""
    frontier = writing.growing.frontier
    if (frontier.size, frontier.root()) != (checkpoint.size, checkpoint.root):
        raise BundleRefused(
            f"The {frontier.size} envelopes do not give the checkpoint of size {checkpoint.size}.",
            repair="Compare the log with its last anchor before anything else is signed.",
        )
    for size in writing.growing.differing:
        raise BundleRefused(
            f"The log had another root at {size} entries when its anchor was kept: it was rewritten.",
            repair="Compare the log with that anchor before anything else is signed.",
        )
    for index in writing.gone.unexcused():
        raise BundleRefused(
            f"The body of leaf {index} is missing, and no entry says that it was shredded or pruned.",
            repair="Restore the database; a body never goes by itself.",
        )
    for index in writing.gone.overstated():
        raise BundleRefused(
            f"Entry {index} says that a body is gone, and it is there.",
            repair="Somebody put rows back that were shredded or pruned: find out who.",
        )


def _write_entries(
    writing: _Writing, envelopes: Iterable[bytes], bodies: Iterable[tuple[int, bytes]]
) -> None:
    """Write the three members that grow with the log, in one pass."""
    folder = writing.folder
    with (
        packed(folder / manifest.ENVELOPES) as lines,
        packed(folder / manifest.BODIES) as own,
        (folder / manifest.DELETIONS).open("w", encoding="utf-8", newline="") as table,
    ):
        table.write(deletions.line(deletions.HEADER))
        for index, raw, body in join(envelopes, bodies, first=writing.tally.first):
            if raw is None:
                raise BundleRefused(f"The body of leaf {index} is out of order or has no envelope.")
            lines.write(raw + b"\n")
            writing.growing.add(leaf_hash(raw))
            if body is not None:
                own.write(body_line(index, body))
            table.write(_account_for(writing, index, parse_envelope(raw), body))
    writing.growing.close()


def _account_for(writing: _Writing, index: int, envelope: Envelope, body: bytes | None) -> str:
    """Count one entry and return its row of the table, if it has one."""
    own = envelope.project == writing.scope.pseudonym
    if body is None:
        if says_gone(envelope) and (own or tells_of_all(envelope)):
            raise BundleRefused(
                f"The body of leaf {index} is missing, which says what else is gone.",
                repair="Restore the database; such a body is never shredded or pruned.",
            )
        if own:
            writing.gone.miss(index)
            writing.tally.feed(index, envelope, None)
        return ""
    if not own and not tells_of_all(envelope):
        raise BundleRefused(f"Leaf {index} is not of this project; its body stays here.")
    if hashlib.sha256(body).hexdigest() != envelope.body:
        raise BundleRefused(f"The body of leaf {index} is not the one that its envelope names.")
    if says_gone(envelope):
        writing.gone.excuse(index, load(body))
    if own:
        writing.gone.see(index)
    return own_row(writing.tally, index, envelope, body) if own else ""
