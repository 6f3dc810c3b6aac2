"""Verifying an export bundle, offline. Needs the standard library and ``cryptography`` only.

It never raises for what a bundle holds: each defect is a Problem that names member and entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from worker.audit import certificate, deletions, dsse, manifest
from worker.audit.archive import Archive, BadArchive
from worker.audit.checkpoint import Checkpoint
from worker.audit.ends import Anchors, read_head, read_start, read_text
from worker.audit.findings import Findings, Report, Table
from worker.audit.growing import Growing
from worker.audit.keys import LogKey, keys_at, parse_key
from worker.audit.manifest import Manifest
from worker.audit.note import NoteRefused, read_keys
from worker.audit.reading import Misshapen
from worker.audit.tally import Tally
from worker.audit.trail import Trail
from worker.audit.walk import Walk

_UNAUTHENTICATED = "The key came with the bundle and is not authenticated; give --keys to check who signed."
_OTHER_FORM = "certificate.html has a form that this version does not know: it was not made anew."
_SINGLE = "These are single entries: that each is in the log is proved, not that there are no others."


def verify_bundle(
    path: Path,
    *,
    keys: Sequence[str] | None = None,
    anchors: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check a bundle against verifier keys; without ``keys``, against those it brings itself.

    A key is a line of keys.txt, with the tree sizes that it may sign. ``anchors`` are signed checkpoints
    that were kept elsewhere; the bundle's tree has to have their roots. ``progress`` is told (entries done,
    entries in all). Raises FileNotFoundError only.
    """
    found = Findings()
    authenticated = keys is not None
    if not authenticated:
        found.notes.append(_UNAUTHENTICATED)
    try:
        archive = Archive(path)
    except BadArchive as broken:
        found.add("", broken.problem)
        return _report(found, None, None, Tally(start="", end=""), authenticated=authenticated)
    try:
        return _verify(archive, found, keys, anchors, progress or _silent)
    finally:
        archive.close()


def _verify(
    archive: Archive,
    found: Findings,
    keys: Sequence[str] | None,
    anchors: Sequence[str],
    progress: Callable[[int, int], None],
) -> Report:
    for member, what in archive.defects():
        found.add(member, what)
    usable = _usable_keys(archive, found, keys)
    stated = _read_manifest(archive, found, usable)
    needed = manifest.required(
        scope=stated.scope if stated else manifest.PROJECT, first=stated.first if stated else 0
    )
    for name in sorted(needed - archive.names):
        found.add(name, "the member is missing")
    checkpoint = read_head(archive, found, usable, manifest.CHECKPOINT)
    tally = Tally(start="", end="")
    if stated:
        _check_members(archive, found, stated)
        tally = Tally(start=stated.start, end=stated.end, first=stated.first)
        if checkpoint:
            _compare_heads(found, stated, checkpoint)
    held = Anchors(found)
    held.read(archive, usable, checkpoint, anchors)
    if stated and needed <= archive.names:
        _walk(
            archive,
            found,
            stated,
            tally=tally,
            keys=usable,
            checkpoint=checkpoint,
            anchors=held,
            progress=progress,
        )
    if stated and not found.count:
        _check_page(archive, found, stated, tally)
    return _report(found, checkpoint, stated, tally, authenticated=keys is not None)


def _walk(
    archive: Archive,
    found: Findings,
    stated: Manifest,
    *,
    tally: Tally,
    keys: Sequence[LogKey],
    checkpoint: Checkpoint | None,
    anchors: Anchors,
    progress: Callable[[int, int], None],
) -> None:
    """Go through the entries once; compare the table on the way and the counts at the end."""
    single = stated.scope != manifest.PROJECT
    # Single entries whose bodies are gone have left no envelope here that would say so.
    trail = Trail(whole=stated.first == 0, single=single, partial=single and bool(stated.gone))
    table = Table(archive, found)
    walk = Walk(archive=archive, found=found, stated=stated, tally=tally, trail=trail, table=table)
    table.expect(deletions.line(deletions.HEADER))
    if stated.scope == manifest.PROJECT:
        growing = Growing(read_start(archive, found, keys, stated, checkpoint), anchors.expected)
        walk.through_range(growing, progress)
        anchors.compare(growing)
        _compare_root(found, growing, checkpoint)
    else:
        walk.through_proofs(read_text(archive, found, manifest.CHECKPOINT), checkpoint)
        found.notes.append(_SINGLE)
        if stated.gone:
            found.notes.append(f"It states, without proof, that {stated.gone} more have no body any more.")
    if checkpoint and not walk.epochs.is_of(checkpoint.origin):
        what = f"the log is in epoch {walk.epochs.number} by its entries, the checkpoint is of another"
        found.add(manifest.CHECKPOINT, what)
    table.close()
    for what in stated.disagreements(tally):
        found.add(manifest.MANIFEST, what)
    if trail.unbacked:
        lean = f"{trail.unbacked} entries lean on others that are not here: from before leaf {stated.first},"
        found.notes.append(f"{lean} or with a body that is gone.")


def _compare_root(found: Findings, growing: Growing, checkpoint: Checkpoint | None) -> None:
    frontier = growing.frontier
    if checkpoint and (frontier.size, frontier.root()) != (checkpoint.size, checkpoint.root):
        found.add(
            manifest.ENVELOPES,
            f"{frontier.size} envelopes do not give the root of the checkpoint ({checkpoint.size})",
        )


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
        scope=stated.scope if stated else "",
        of=stated.of if stated else None,
        first=stated.first if stated else 0,
        bodies_gone=tally.gone,
        first_bad_entry=found.first_bad,
        problems=found.in_order(),
        problem_count=found.count,
        notes=tuple(found.notes),
    )


def _usable_keys(archive: Archive, found: Findings, keys: Sequence[str] | None) -> list[LogKey]:
    usable = []
    for one in keys if keys is not None else read_keys(read_text(archive, found, manifest.KEYS)):
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


def _check_page(archive: Archive, found: Findings, stated: Manifest, tally: Tally) -> None:
    """Make the page for people anew; of a bundle with defects it would only repeat them."""
    try:
        page = archive.read(manifest.CERTIFICATE).decode()
    except (BadArchive, UnicodeDecodeError):
        found.add(manifest.CERTIFICATE, "the page is no text")
        return
    note = read_text(archive, found, manifest.CHECKPOINT)
    if not certificate.is_known(page):
        found.notes.append(_OTHER_FORM)
    elif not certificate.is_made_of(page, stated, tally, note=note):
        found.add(manifest.CERTIFICATE, "the page is not the one that these entries make")


def _compare_heads(found: Findings, stated: Manifest, checkpoint: Checkpoint) -> None:
    head = (checkpoint.origin, checkpoint.size, checkpoint.root.hex())
    if (stated.origin, stated.size, stated.root) != head:
        found.add(manifest.MANIFEST, "the manifest names another tree than the checkpoint")


def _silent(_done: int, _all: int) -> None:
    return
