"""The files of a bundle: written into a folder, digested, and zipped; the same files give the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from json.encoder import encode_basestring
from pathlib import Path
from typing import BinaryIO, cast

from worker.audit import dsse, manifest
from worker.audit.manifest import Manifest
from worker.audit.note import Signer
from worker.model.errors import TenureError

_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16
_CHUNK = 1 << 16
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_ANCHOR = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")

_PROJECT = """Evidence of deletion, project {project}, {start} to {end} (UTC)

certificate.html     for people: exceptions, counts by grade, what is claimed and what is not
deletions.csv        one row per graded entry; a view, rebuilt and compared by the verifier
envelopes.jsonl.gz   every leaf of the log from leaf {first} to the checkpoint's size, exact bytes, one a line
bodies.jsonl.gz      the bodies of this project's entries (and of log.epoch): leaf index and exact bytes
checkpoint           the log's signed head (C2SP tlog-checkpoint)
manifest.dsse.json   digests of all members and the counts, signed by the same key (DSSE, in-toto v1)
keys.txt             the verifier keys; trust them only if they reached you another way as well

Check it, offline:
  tenure audit verify FILE.zip --keys keys.txt
  tenure audit verify FILE.zip -o json
By hand: a leaf hash is SHA-256(0x00 || line), a node SHA-256(0x01 || left || right) (RFC 6962); the
root over all leaves is the checkpoint's third line in base64, and each body's SHA-256 is the "body" of its
envelope.

Envelopes of other projects hold pseudonyms, a type and a time only. They are here so that nothing of this
project can have been left out. Only the grades confirmed, sustained and inferred are called deleted.
"""
_LATER = """
The range begins at leaf {first}: checkpoint.start is the signed head there, frontier.start the hashes that
the tree grows from (base64, the largest subtree first), consistency.txt the proof (RFC 6962) that
checkpoint continues it. Grades may lean on entries before it.
"""
_SINGLE = """Evidence of deletion, project {project}, {scope} {of} (UTC)

certificate.html     for people: exceptions, counts by grade, what is claimed and what is not
deletions.csv        one row per graded entry; a view, rebuilt and compared by the verifier
bodies.jsonl.gz      the entries: leaf index and exact bytes
proofs/              for each entry a proof that it is in the log, with its envelope (c2sp.org/tlog-proof)
checkpoint           the log's signed head that every proof leads to (C2SP tlog-checkpoint)
manifest.dsse.json   digests of all members and the counts, signed by the same key (DSSE, in-toto v1)
keys.txt             the verifier keys; trust them only if they reached you another way as well

Check it, offline:
  tenure audit verify FILE.zip --keys keys.txt
  tenure audit verify FILE.zip -o json

That each entry is in the log is proved, not that there are no others: for that, ask for the project's export.
Only the grades confirmed, sustained and inferred are called deleted.
"""


class BundleRefused(TenureError):
    """What was given to be exported does not fit its checkpoint; nothing is signed."""

    code = "bundle_refused"


def readme(made: Manifest) -> str:
    """Return the page that tells what is what."""
    form = _PROJECT + (_LATER if made.first else "") if made.scope == manifest.PROJECT else _SINGLE
    return form.format(
        project=made.project,
        start=made.start,
        end=made.end,
        first=made.first,
        scope=made.scope,
        of=made.of,
    )


def body_line(index: int, body: bytes) -> bytes:
    """Write a line of ``bodies.jsonl.gz``."""
    return f'{{"i": {index}, "body": {encode_basestring(body.decode())}}}\n'.encode()


def policy_texts(policies: Mapping[str, str]) -> dict[str, str]:
    """Name each bundle of policies by its digest; raises BundleRefused for one with another."""
    named = {}
    for digest, text in policies.items():
        found = _DIGEST.fullmatch(digest)
        if not found or hashlib.sha256(text.encode()).hexdigest() != found[1]:
            raise BundleRefused(f"The policies given as {digest} have another digest.")
        named[f"{manifest.POLICY_FOLDER}{found[1]}.json"] = text
    return named


def anchor_texts(anchors: Mapping[str, str]) -> dict[str, str]:
    """Name each copy of a checkpoint; raises BundleRefused for a name that is no plain file's.

    Also for two that differ in case only: a verifier refuses such members, since one may take the place of
    the other when they are unpacked.
    """
    met: dict[str, str] = {}
    for name in anchors:
        if not _ANCHOR.fullmatch(name):
            raise BundleRefused(f"{name[:100]!r} cannot name an anchor.")
        if met.setdefault(name.lower(), name) != name:
            raise BundleRefused(
                f"The anchors {met[name.lower()]} and {name} differ in case only.",
                repair="Give one of them another name.",
            )
    return {f"{manifest.ANCHOR_FOLDER}{name}": note for name, note in anchors.items()}


def write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the small members."""
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")


@contextmanager
def packed(path: Path) -> Iterator[BinaryIO]:
    """Open a gzip member that holds neither name nor time."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as member,
        # Many lines are pressed at once; line by line costs as much again.
        io.BufferedWriter(cast("io.RawIOBase", member), _CHUNK) as lines,
    ):
        yield lines


def seal_folder(out: BinaryIO, folder: Path, made: Manifest, signer: Signer) -> Manifest:
    """Digest what the folder holds, sign the manifest and write the zip; returns the manifest as signed."""
    made = replace(made, files=_digests(folder))
    (folder / manifest.MANIFEST).write_bytes(dsse.seal(made.to_bytes(), signer))
    _write_zip(out, folder)
    return made


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
