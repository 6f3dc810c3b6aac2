"""Writing the export bundle: a zip that proves, offline, what was seen of one project in one window.

The same input gives the same bytes: sorted members, fixed times, gzip without a time. Envelopes and
bodies are streamed through a temporary folder, never held whole.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from worker.audit import certificate, deletions, dsse, manifest
from worker.audit.checkpoint import Checkpoint
from worker.audit.entry import EntryType, instant
from worker.audit.keys import open_checkpoint, parse_key
from worker.audit.manifest import Manifest
from worker.audit.merkle import Frontier, leaf_hash
from worker.audit.note import Signer
from worker.audit.reading import Envelope, join, load, parse_envelope
from worker.audit.tally import Tally
from worker.model.errors import TenureError
from worker.model.evidence import GRADER_VERSION

_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16
_BATCH = 1024
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")

_README = """Evidence of deletion, project {project}, {start} to {end} (UTC)

certificate.html     for people: exceptions, counts by grade, what is claimed and what is not
deletions.csv        one row per graded entry; a view, rebuilt and compared by the verifier
envelopes.jsonl.gz   every leaf of the log from leaf 0 to the checkpoint's size, exact bytes, one per line
bodies.jsonl.gz      the bodies of this project's entries (and of log.epoch): leaf index and exact bytes
checkpoint           the log's signed head (C2SP tlog-checkpoint)
manifest.dsse.json   digests of all members and the counts, signed by the same key (DSSE, in-toto v1)
keys.txt             the verifier keys; trust them only if they reached you another way as well

Check it, offline:
  tenure audit verify FILE.zip --keys keys.txt
  tenure audit verify FILE.zip -o json
By hand: a leaf hash is SHA-256(0x00 || line), a node SHA-256(0x01 || left || right) (RFC 6962); the
root over all lines of envelopes.jsonl.gz is the checkpoint's third line in base64, and each body's SHA-256 is
the "body" of its envelope.

Envelopes of other projects hold pseudonyms, a type and a time only. They are here so that nothing of this
project can have been left out. Only the grades confirmed, sustained and inferred are called deleted.
"""


class BundleRefused(TenureError):
    """What was given to be exported does not fit its checkpoint; nothing is signed."""

    code = "bundle_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose evidence, for [start, end), and made by what and when. ``pseudonym`` is the project's.

    ``anchored`` is the certificate's sentence on copies of checkpoints that are kept elsewhere.
    """

    project: str
    pseudonym: str
    window: tuple[datetime, datetime]
    tool: str
    made_at: datetime
    anchored: str = "No anchor is known."


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
) -> Manifest:
    """Write the bundle to ``out`` and return its manifest.

    ``envelopes`` are the leaves 0 to size-1 (the range starts at leaf 0), ``bodies`` the project's own and
    those of the epochs' first leaves as (index, exact bytes) in order; both are read once, in step.
    ``policies`` map a bundle's digest to the canonical text it is the SHA-256 of. Raises BundleRefused where
    anything does not fit, NoteRefused for a checkpoint that none of ``vkeys`` (lines of keys.txt, with the
    sizes they may sign) signed, Misshapen for a body that is none.
    """
    checkpoint = open_checkpoint(checkpoint_note, [parse_key(one) for one in vkeys])
    tally = Tally(start=instant(scope.window[0]), end=instant(scope.window[1]))
    with TemporaryDirectory(prefix="tenure-export-") as name:
        folder = Path(name)
        root = _write_entries(folder, tally, scope.pseudonym, envelopes, bodies)
        if (root.size, root.root()) != (checkpoint.size, checkpoint.root):
            raise BundleRefused(
                f"The {root.size} envelopes do not give the checkpoint of size {checkpoint.size}.",
                repair="Compare the log with its last anchor before anything else is signed.",
            )
        made = _manifest(scope, checkpoint, tally)
        note, anchored = checkpoint_note, scope.anchored
        _write_texts(folder, made, tally, note=note, anchored=anchored, vkeys=vkeys, policies=policies)
        made = replace(made, files=_digests(folder))
        (folder / manifest.MANIFEST).write_bytes(dsse.seal(made.to_bytes(), signer))
        _write_zip(out, folder)
    return made


def _manifest(scope: Scope, checkpoint: Checkpoint, tally: Tally) -> Manifest:
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
    )


def _write_entries(
    folder: Path,
    tally: Tally,
    pseudonym: str,
    envelopes: Iterable[bytes],
    bodies: Iterable[tuple[int, bytes]],
) -> Frontier:
    """Write the three members that grow with the log, in one pass."""
    frontier, batch = Frontier(), list[bytes]()
    with (
        _gzip(folder / manifest.ENVELOPES) as lines,
        _gzip(folder / manifest.BODIES) as own,
        (folder / manifest.DELETIONS).open("w", encoding="utf-8", newline="") as table,
    ):
        table.write(deletions.line(deletions.HEADER))
        for index, raw, body in join(envelopes, bodies):
            if raw is None:
                raise BundleRefused(f"The body of leaf {index} is out of order or has no envelope.")
            lines.write(raw + b"\n")
            batch.append(leaf_hash(raw))
            if len(batch) == _BATCH:
                frontier = frontier.extend(batch)
                batch.clear()
            if body is not None:
                own.write(body_line(index, body))
                table.write(_account_for(tally, pseudonym, index, parse_envelope(raw), body))
    return frontier.extend(batch)


def _account_for(tally: Tally, pseudonym: str, index: int, envelope: Envelope, body: bytes) -> str:
    """Count one own body and return its row of the table, if it has one."""
    is_epoch = envelope.type == EntryType.LOG_EPOCH
    if envelope.project != pseudonym and not is_epoch:
        raise BundleRefused(f"Leaf {index} is not of this project; its body stays here.")
    if hashlib.sha256(body).hexdigest() != envelope.body:
        raise BundleRefused(f"The body of leaf {index} is not the one that its envelope names.")
    if is_epoch:
        return ""
    fields = load(body)
    tally.feed(index, envelope.t, envelope.type, fields)
    if envelope.type != EntryType.THREAD_GRADED or not tally.covers(envelope.t):
        return ""
    return deletions.line(deletions.row(index, envelope.t, fields))


def body_line(index: int, body: bytes) -> bytes:
    """Write a line of ``bodies.jsonl.gz``."""
    return json.dumps({"i": index, "body": body.decode()}, ensure_ascii=False).encode() + b"\n"


def _write_texts(
    folder: Path,
    made: Manifest,
    tally: Tally,
    *,
    note: str,
    anchored: str,
    vkeys: Sequence[str],
    policies: Mapping[str, str],
) -> None:
    texts = {
        manifest.CHECKPOINT: note,
        manifest.KEYS: "".join(f"{one}\n" for one in vkeys),
        manifest.CERTIFICATE: certificate.render(made, tally, note=note, anchored=anchored),
        manifest.README: _README.format(project=made.project, start=made.start, end=made.end),
    }
    for digest, text in policies.items():
        found = _DIGEST.fullmatch(digest)
        if not found or hashlib.sha256(text.encode()).hexdigest() != found[1]:
            raise BundleRefused(f"The policies given as {digest} have another digest.")
        texts[f"{manifest.POLICY_FOLDER}{found[1]}.json"] = text
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")


def _digests(folder: Path) -> dict[str, str]:
    found = {}
    for path in _files(folder):
        with path.open("rb") as member:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(member, "sha256").hexdigest()
    return found


def _write_zip(out: BinaryIO, folder: Path) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(folder):
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            info.create_system, info.external_attr = 3, _MODE
            info.compress_type = zipfile.ZIP_STORED if path.suffix == ".gz" else zipfile.ZIP_DEFLATED
            info.file_size = path.stat().st_size
            with path.open("rb") as member, archive.open(info, "w") as target:
                shutil.copyfileobj(member, target)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@contextmanager
def _gzip(path: Path) -> Iterator[gzip.GzipFile]:
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
        yield packed
