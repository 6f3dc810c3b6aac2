"""Walking the entries of a bundle: every leaf once, each own body beside its envelope."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from worker.audit import deletions, epoch, manifest
from worker.audit.archive import Archive, BadArchive
from worker.audit.checkpoint import Checkpoint
from worker.audit.entry import EntryType
from worker.audit.findings import Findings, Table, until_damage
from worker.audit.gone import Gone, says_gone, tells_of_all
from worker.audit.growing import Growing
from worker.audit.manifest import Manifest
from worker.audit.merkle import Frontier, leaf_hash, verify_inclusion
from worker.audit.reading import (
    Body,
    Envelope,
    Misshapen,
    join,
    load_body_line,
    load_text,
    parse_envelope,
    text,
)
from worker.audit.tally import Tally
from worker.audit.tlog_proof import ProofRefused, parse_tlog_proof
from worker.audit.trail import Trail

_ENVELOPE_BYTES = 2 * 1024
# Every envelope holds the digest of a salted body: nothing packs 64 random hex digits into less.
_DIGEST_BYTES = 32
# A body of 16 KiB as a JSON string: each byte may need six.
_BODY_BYTES = 6 * 16 * 1024 + 64
_GRADED = EntryType.THREAD_GRADED.value
_OF_AN_ERASURE = frozenset({EntryType.ERASURE_ORDERED, EntryType.ERASURE_ANSWERED})

Tell = Callable[[int, int], None]


@dataclass(slots=True, kw_only=True)
class Walk:
    """Judges entries in order and adds what is wrong with them to ``found``."""

    archive: Archive
    found: Findings
    stated: Manifest
    tally: Tally
    trail: Trail
    table: Table
    gone: Gone = field(default_factory=Gone)

    def through_range(self, growing: Growing, tell: Tell) -> None:
        """Go through the leaves of the range, and grow the tree by them."""
        last = self.stated.size
        for index, raw, body in join(self._envelopes(), self._bodies(), first=self.stated.first):
            if self.found.hopeless:
                break
            if raw is None:
                what = "the body is doubled, out of order or without an envelope"
                self.found.add(manifest.BODIES, what, index)
                continue
            if index > last:
                break
            self.found.entries += 1
            before = None
            if epoch.begins(raw):
                growing.close()
                before = growing.frontier
            if growing.add(leaf_hash(raw)):
                tell(self.found.entries, last - self.stated.first)
            self.judge(index, raw, body, before=before)
        growing.close()
        tell(self.found.entries, last - self.stated.first)
        for index in self.gone.unexcused():
            self.found.add(manifest.ENVELOPES, "the body of an entry of this project is missing", index)
        for index in self.gone.overstated():
            self.found.add(manifest.BODIES, "the entry says that a body is gone which is here", index)

    def through_proofs(self, note: str, checkpoint: Checkpoint | None) -> None:
        """Go through single entries, each with a proof that leads to the bundle's own checkpoint."""
        before = -1
        proofs = {name for name in self.archive.names if name.startswith(manifest.PROOF_FOLDER)}
        for index, body in self._bodies():
            proofs.discard(manifest.proof_name(index))
            if index <= before:
                self.found.add(manifest.BODIES, "the body is doubled or out of order", index)
                continue
            before = index
            raw = self._proved(index, note, checkpoint)
            if raw is not None:
                self.found.entries += 1
                self.judge(index, raw, body)
        for name in sorted(proofs):
            self.found.add(name, "the proof is of an entry whose body is not here")

    def judge(self, index: int, raw: bytes, body: str | None, *, before: Frontier | None = None) -> None:
        """Judge one leaf and its body; ``before`` is the tree before an epoch's first leaf."""
        member = manifest.ENVELOPES if body is None else manifest.BODIES
        try:
            if epoch.begins(raw):
                exact = None if body is None else body.encode()
                for what in epoch.judge(index, raw, exact, before=before, tell=self.found.remark):
                    self.found.add(member, what, index)
            elif body is None:
                self._miss(index, parse_envelope(raw))
            else:
                self._judge(index, parse_envelope(raw), body)
        except Misshapen as broken:
            self.found.add(member, broken.problem, index)
        except ValueError as unknown:
            self.found.add(member, f"the entry uses a word that is not known: {unknown}", index)
        self.found.bodies += body is not None

    def _miss(self, index: int, envelope: Envelope) -> None:
        if envelope.project == self.stated.pseudonym:
            self.gone.miss(index)
            self.tally.feed(index, envelope, None)
            self.trail.lose(envelope.type, envelope.subject)

    def _judge(self, index: int, envelope: Envelope, body: str) -> None:
        """Judge a body by its envelope and by those before it; there may be a million."""
        digest, project, subject, t, kind = envelope
        own = project == self.stated.pseudonym
        if not own and not self._may_come_along(envelope):
            self._refuse(index, "the body belongs to an entry that is not of this project")
            return
        if hashlib.sha256(body.encode()).hexdigest() != digest:
            self._refuse(index, "the body is not the one whose digest the envelope holds")
            return
        fields = load_text(body)
        for what in _compare_layers(envelope, fields, self.stated.project if own else None):
            self._refuse(index, what)
        if says_gone(envelope):
            self.gone.excuse(index, fields)
        if not own:
            return
        self.gone.see(index)
        self.tally.feed(index, envelope, fields)
        if kind == _GRADED and self.tally.covers(t):
            self.table.expect(deletions.line(deletions.row(index, t, fields)), index)
        for what in self.trail.feed(kind, subject, fields):
            self._refuse(index, what)

    def _refuse(self, index: int, what: str) -> None:
        self.found.add(manifest.BODIES, what, index)

    def _may_come_along(self, envelope: Envelope) -> bool:
        if tells_of_all(envelope):
            return True
        return (
            self.stated.scope == manifest.ERASURE
            and envelope.project is None
            and envelope.type in _OF_AN_ERASURE
        )

    def _proved(self, index: int, note: str, checkpoint: Checkpoint | None) -> bytes | None:
        """Return the envelope that is proved to be leaf ``index``; what is wrong is added to ``found``."""
        name = manifest.proof_name(index)
        if name not in self.archive.names:
            self.found.add(name, "the proof of an entry is missing", index)
            return None
        try:
            proof = parse_tlog_proof(self.archive.read(name).decode())
        except (BadArchive, ProofRefused, UnicodeDecodeError) as broken:
            self.found.add(name, f"the proof cannot be read: {broken}", index)
            return None
        if proof.envelope is None or proof.index != index or proof.checkpoint != note:
            self.found.add(name, "the proof is of another entry or leads to another checkpoint", index)
        elif checkpoint and not verify_inclusion(
            index=index,
            size=checkpoint.size,
            leaf=leaf_hash(proof.envelope),
            proof=proof.hashes,
            root=checkpoint.root,
        ):
            self.found.add(name, "the proof does not lead from the entry to the checkpoint", index)
        return proof.envelope

    def _envelopes(self) -> Iterable[bytes]:
        lines = self.archive.lines(manifest.ENVELOPES, _ENVELOPE_BYTES, least=_DIGEST_BYTES)
        return until_damage(lines, self.found, manifest.ENVELOPES)

    def _bodies(self) -> Iterator[tuple[int, str]]:
        lines = self.archive.lines(manifest.BODIES, _BODY_BYTES)
        for at, line in enumerate(until_damage(lines, self.found, manifest.BODIES)):
            try:
                yield load_body_line(line)
            except Misshapen as broken:
                self.found.add(manifest.BODIES, f"line {at + 1}: {broken.problem}")
                if self.found.hopeless:
                    return


def _compare_layers(envelope: Envelope, body: Body, project: str | None) -> list[str]:
    unlike = []
    if body.get("type") != envelope.type:
        unlike.append("body and envelope are of different types")
    if body.get("project") != project:
        unlike.append("the body names another project than the manifest")
    if (body.get("subject") is None) != (envelope.subject is None):
        unlike.append("body and envelope are not about the same")
    owner = body.get("owner")
    if isinstance(owner, str):
        opened = hashlib.sha256(bytes.fromhex(text(body, "salt")) + b"owner:" + owner.encode())
        if body.get("owner_commitment") != opened.hexdigest():
            unlike.append("the owner is not the one that was committed to")
    return unlike
