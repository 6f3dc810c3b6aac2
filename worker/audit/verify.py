"""Verifying an export bundle, offline. Needs the standard library and ``cryptography`` only.

It never raises for what a bundle holds: each defect is a Problem that names member and entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from worker.audit import deletions, dsse, epoch, manifest
from worker.audit.archive import Archive, BadArchive
from worker.audit.checkpoint import Checkpoint
from worker.audit.entry import EntryType
from worker.audit.findings import Findings, Report, Table, until_damage
from worker.audit.keys import LogKey, keys_at, open_checkpoint, parse_key
from worker.audit.manifest import Manifest
from worker.audit.merkle import leaf_hash
from worker.audit.note import NoteRefused, read_keys
from worker.audit.reading import Body, Envelope, Misshapen, join, load, number, parse_envelope, text
from worker.audit.tally import Tally
from worker.audit.trail import Trail

_ENVELOPE_BYTES = 2 * 1024
# A body of 16 KiB as a JSON string: each byte may need six.
_BODY_BYTES = 6 * 16 * 1024 + 64
_BATCH = 1024
_UNAUTHENTICATED = "The key came with the bundle and is not authenticated; give --keys to check who signed."


def verify_bundle(
    path: Path, *, keys: Sequence[str] | None = None, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Check a bundle against verifier keys; without ``keys``, against those it brings itself.

    A key is a line of keys.txt, with the tree sizes that it may sign.
    ``progress`` is told (entries done, entries in all). Raises FileNotFoundError only.
    """
    found = Findings()
    authenticated = keys is not None
    try:
        archive = Archive(path)
    except BadArchive as broken:
        found.add("", broken.problem)
        return _report(found, None, None, Tally(start="", end=""), authenticated=authenticated)
    try:
        return _verify(archive, found, keys, progress or _silent)
    finally:
        archive.close()


def _verify(
    archive: Archive, found: Findings, keys: Sequence[str] | None, progress: Callable[[int, int], None]
) -> Report:
    for member, what in archive.defects():
        found.add(member, what)
    for name in sorted(manifest.REQUIRED - archive.names):
        found.add(name, "the member is missing")
    usable = _usable_keys(archive, found, keys)
    stated = _read_manifest(archive, found, usable)
    checkpoint = _read_checkpoint(archive, found, usable)
    if stated:
        _check_members(archive, found, stated)
    if stated and checkpoint:
        _compare_heads(found, stated, checkpoint)
    tally = Tally(start=stated.start if stated else "", end=stated.end if stated else "")
    if stated and {manifest.ENVELOPES, manifest.BODIES} <= archive.names:
        _walk(archive, found, stated, tally, progress)
    if checkpoint and (found.frontier.size, found.frontier.root()) != (checkpoint.size, checkpoint.root):
        found.add(
            manifest.ENVELOPES,
            f"{found.frontier.size} envelopes do not give the root of the checkpoint ({checkpoint.size})",
        )
    return _report(found, checkpoint, stated, tally, authenticated=keys is not None)


def _report(
    found: Findings,
    checkpoint: Checkpoint | None,
    stated: Manifest | None,
    tally: Tally,
    *,
    authenticated: bool,
) -> Report:
    return Report(
        verified=found.count == 0,
        key_authenticated=authenticated,
        origin=checkpoint.origin if checkpoint else "",
        size=checkpoint.size if checkpoint else 0,
        root=checkpoint.root.hex() if checkpoint else "",
        project=stated.project if stated else "",
        entries=found.entries,
        bodies=found.bodies,
        grades=tally.grades,
        problems=tuple(found.problems),
        problem_count=found.count,
        notes=(*(() if authenticated else (_UNAUTHENTICATED,)), *found.notes),
    )


def _usable_keys(archive: Archive, found: Findings, keys: Sequence[str] | None) -> list[LogKey]:
    usable = []
    for one in keys if keys is not None else read_keys(_small_text(archive, found, manifest.KEYS)):
        try:
            usable.append(parse_key(one))
        except NoteRefused as refused:
            found.add(manifest.KEYS, refused.problem)
    if not usable:
        found.add(manifest.KEYS, "there is no key to check the signatures with")
    return usable


def _read_manifest(archive: Archive, found: Findings, keys: Sequence[LogKey]) -> Manifest | None:
    """Read the manifest; one whose signature fails is still read, so that more can be told.

    Its key must be one of its tree's size: a retired one vouches for nothing later.
    """
    if manifest.MANIFEST not in archive.names:
        return None
    try:
        raw = archive.read(manifest.MANIFEST)
        stated = Manifest.from_bytes(dsse.payload_of(raw))
    except (BadArchive, NoteRefused, Misshapen) as broken:
        found.add(manifest.MANIFEST, broken.problem)
        return None
    try:
        dsse.unseal(raw, keys_at(keys, stated.size))
    except NoteRefused as refused:
        found.add(manifest.MANIFEST, refused.problem)
    return stated


def _read_checkpoint(archive: Archive, found: Findings, keys: Sequence[LogKey]) -> Checkpoint | None:
    if manifest.CHECKPOINT not in archive.names:
        return None
    try:
        return open_checkpoint(_small_text(archive, found, manifest.CHECKPOINT), keys)
    except NoteRefused as refused:
        found.add(manifest.CHECKPOINT, refused.problem)
        return None


def _check_members(archive: Archive, found: Findings, stated: Manifest) -> None:
    for name in sorted(archive.names - stated.files.keys() - {manifest.MANIFEST}):
        found.add(name, "the manifest does not name this member")
    for name, digest in sorted(stated.files.items()):
        if name not in archive.names:
            found.add(name, "the manifest names this member, and it is missing")
            continue
        try:
            actual = archive.sha256(name)
        except BadArchive as broken:
            found.add(name, broken.problem)
            continue
        if actual != digest:
            found.add(name, "the digest is not the one in the manifest")
        if name.startswith(manifest.POLICY_FOLDER) and name != f"{manifest.POLICY_FOLDER}{actual}.json":
            found.add(name, "the policies are not those that their name is the digest of")


def _compare_heads(found: Findings, stated: Manifest, checkpoint: Checkpoint) -> None:
    head = (checkpoint.origin, checkpoint.size, checkpoint.root.hex())
    if (stated.origin, stated.size, stated.root) != head:
        found.add(manifest.MANIFEST, "the manifest names another tree than the checkpoint")


def _walk(
    archive: Archive,
    found: Findings,
    stated: Manifest,
    tally: Tally,
    progress: Callable[[int, int], None],
) -> None:
    """Go through envelopes and bodies in step, once, and compare the table on the way."""
    trail, table = Trail(), Table(archive, found)
    table.expect(deletions.line(deletions.HEADER))
    lines = until_damage(archive.lines(manifest.ENVELOPES, _ENVELOPE_BYTES), found, manifest.ENVELOPES)
    batch: list[bytes] = []
    for index, raw, body in join(lines, _bodies(archive, found)):
        if raw is None:
            found.add(manifest.BODIES, "the body is doubled, out of order or without an envelope", index)
            continue
        if index > stated.size:
            break
        if epoch.begins(raw):
            before = found.frontier.extend(batch)
            judged = epoch.judge(index, raw, body, before=before, tell=found.remark)
        else:
            judged = _judge(index, raw, body, stated=stated, tally=tally, trail=trail, table=table)
        batch.append(leaf_hash(raw))
        found.entries += 1
        if len(batch) == _BATCH:
            found.frontier = found.frontier.extend(batch)
            batch.clear()
            progress(found.entries, stated.size)
        for what in judged:
            found.add(manifest.ENVELOPES if body is None else manifest.BODIES, what, index)
        found.bodies += body is not None
    found.frontier = found.frontier.extend(batch)
    progress(found.entries, stated.size)
    table.close()
    for what in stated.disagreements(tally):
        found.add(manifest.MANIFEST, what)


def _judge(
    index: int, raw: bytes, body: bytes | None, *, stated: Manifest, tally: Tally, trail: Trail, table: Table
) -> Iterator[str]:
    """Yield what is wrong with one leaf and its body."""
    try:
        envelope = parse_envelope(raw)
        if envelope.project != stated.pseudonym:
            if body is not None:
                yield "the body belongs to an entry that is not of this project"
            return
        if body is None:
            yield "the body of an entry of this project is missing"
            return
        if hashlib.sha256(body).hexdigest() != envelope.body:
            yield "the body is not the one whose digest the envelope holds"
            return
        fields = load(body)
        tally.feed(index, envelope.t, envelope.type, fields)
        if envelope.type == EntryType.THREAD_GRADED and tally.covers(envelope.t):
            table.expect(deletions.line(deletions.row(index, envelope.t, fields)), index)
        yield from _compare_layers(envelope, fields, stated.project)
        yield from trail.feed(envelope.type, fields)
    except Misshapen as broken:
        yield broken.problem
    except ValueError as unknown:
        yield f"the entry uses a word that is not known: {unknown}"


def _compare_layers(envelope: Envelope, body: Body, project: str) -> Iterator[str]:
    if text(body, "type") != envelope.type:
        yield "body and envelope are of different types"
    if text(body, "project") != project:
        yield "the body names another project than the manifest"
    if (body.get("subject") is None) != (envelope.subject is None):
        yield "body and envelope are not about the same"
    owner = body.get("owner")
    if isinstance(owner, str):
        opened = hashlib.sha256(bytes.fromhex(text(body, "salt")) + b"owner:" + owner.encode())
        if body.get("owner_commitment") != opened.hexdigest():
            yield "the owner is not the one that was committed to"


def _bodies(archive: Archive, found: Findings) -> Iterator[tuple[int, bytes]]:
    lines = until_damage(archive.lines(manifest.BODIES, _BODY_BYTES), found, manifest.BODIES)
    for at, line in enumerate(lines):
        try:
            one = load(line)
            yield number(one, "i"), text(one, "body").encode()
        except Misshapen as broken:
            found.add(manifest.BODIES, f"line {at + 1}: {broken.problem}")


def _small_text(archive: Archive, found: Findings, name: str) -> str:
    if name not in archive.names:
        return ""
    try:
        return archive.read(name).decode()
    except (BadArchive, UnicodeDecodeError) as broken:
        found.add(name, f"the member is no text ({broken})")
        return ""


def _silent(_done: int, _all: int) -> None:
    return
