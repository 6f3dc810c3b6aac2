"""Walking the entries of a bundle: every leaf once, each own body beside its envelope."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain

from worker.audit import deletions, epoch, manifest
from worker.audit.archive import Archive, BadArchive
from worker.audit.checkpoint import Checkpoint
from worker.audit.entry import EntryType
from worker.audit.epoch import Epochs
from worker.audit.findings import Findings, Table, until_damage
from worker.audit.gone import Gone, says_gone, tells_of_all
from worker.audit.growing import Growing
from worker.audit.manifest import Manifest
from worker.audit.merkle import Frontier, leaf_hash, verify_inclusion
from worker.audit.reading import (
    MAX_BODY,
    Body,
    Envelope,
    Misshapen,
    join,
    load,
    load_body_line,
    parse_envelope,
    text,
)
from worker.audit.spelled import Told, read_line
from worker.audit.tally import Tally
from worker.audit.tlog_proof import ProofRefused, parse_tlog_proof
from worker.audit.trail import Trail
from worker.audit.whose import Whose

_ENVELOPE_BYTES = 2 * 1024
# Every envelope holds the digest of a salted body: nothing packs 64 random hex digits into less.
_DIGEST_BYTES = 32
# A body of 16 KiB as a JSON string: each byte may need six.
_BODY_BYTES = 6 * MAX_BODY + 64
_GRADED = EntryType.THREAD_GRADED.value
_OF_AN_ERASURE = frozenset({EntryType.ERASURE_ORDERED, EntryType.ERASURE_ANSWERED})

Tell = Callable[[int, int], None]


@dataclass(slots=True, kw_only=True)
class Walk:
    """Judges entries in order and adds what is wrong with them to ``found``.

    ``single`` says that these are single entries, each with a proof.
    """

    archive: Archive
    found: Findings
    stated: Manifest
    tally: Tally
    trail: Trail
    table: Table
    gone: Gone = field(default_factory=Gone)
    single: bool = field(init=False)
    epochs: Epochs = field(init=False)
    whose: Whose = field(init=False)

    def __post_init__(self) -> None:
        self.single = self.stated.scope != manifest.PROJECT
        self.epochs = Epochs(tell=self.found.remark)
        self.whose = Whose(stated=self.stated)

    def through_range(self, growing: Growing, tell: Tell) -> None:
        """Go through the leaves of the range, and grow the tree by them."""
        found, first, last = self.found, self.stated.first, self.stated.size
        for index, raw, told in join(self._envelopes(), self._bodies(), first=first):
            if found.hopeless:
                break
            if raw is None:
                what = "the body is doubled, out of order or without an envelope"
                found.add(manifest.BODIES, what, index)
                continue
            if index > last:
                break
            found.entries += 1
            begins = epoch.begins(raw)
            if begins:
                growing.close()
            before = growing.frontier
            if growing.add(leaf_hash(raw)):
                tell(found.entries, last - first)
            if begins:
                self._judge_epoch(index, raw, told, before)
            else:
                self._judge(index, raw, told)
        growing.close()
        tell(found.entries, last - first)
        self._look_back()
        for index in self.gone.unexcused():
            found.add(manifest.ENVELOPES, "the body of an entry of this project is missing", index)
        for index in self.gone.overstated():
            found.add(manifest.BODIES, "the entry says that a body is gone which is here", index)

    def through_proofs(self, note: str, checkpoint: Checkpoint | None) -> None:
        """Go through single entries, each with a proof that leads to the bundle's own checkpoint."""
        before = -1
        proofs = {name for name in self.archive.names if name.startswith(manifest.PROOF_FOLDER)}
        for index, told in self._bodies():
            proofs.discard(manifest.proof_name(index))
            if index <= before:
                self.found.add(manifest.BODIES, "the body is doubled or out of order", index)
                continue
            before = index
            if index >= self.stated.size:
                self.found.add(manifest.BODIES, "the entry lies behind the checkpoint", index)
                continue
            raw = self._proved(index, note, checkpoint)
            if raw is not None:
                self.found.entries += 1
                if epoch.begins(raw):
                    self._judge_epoch(index, raw, told, None)
                else:
                    self._judge(index, raw, told)
        self._look_back()
        for member, leaf, what in self.whose.lacking():
            self.found.add(member, what, leaf)
        for name in sorted(proofs):
            self.found.add(name, "the proof is of an entry whose body is not here")

    def _look_back(self) -> None:
        """Tell what only all entries together show."""
        for index in self.tally.pseudonyms.doubled():
            self._refuse(index, "a thread that had a pseudonym stands under another")
        for number in self.trail.twins():
            self._refuse(self.tally.pseudonyms.leaf(number), "the thread is the same object as another one")
        for index in self.trail.back():
            self._refuse(index, "a thread that was called deleted was read present, and no grade says so")

    def _judge_epoch(self, index: int, raw: bytes, told: Told | None, before: Frontier | None) -> None:
        """Judge an epoch's first leaf; ``before`` is the tree before it, where it is known."""
        exact = told and told[0]
        if exact and len(exact) > MAX_BODY:
            self._refuse(index, f"the body has {len(exact)} bytes; {MAX_BODY} is the limit")
            return
        try:
            for what in self.epochs.judge(index, raw, exact, before=before):
                self.found.add(_member(told), what, index)
        except ValueError as unknown:
            self._add_unknown(index, told, unknown)
        self.found.bodies += told is not None

    def _judge(self, index: int, raw: bytes, told: Told | None) -> None:
        """Judge one leaf, and its body if it has one."""
        try:
            envelope = parse_envelope(raw)
            if told is None:
                self._miss(index, envelope)
            else:
                self._judge_body(index, envelope, told)
        except Misshapen as broken:
            self.found.add(_member(told), broken.problem, index)
        except ValueError as unknown:
            self._add_unknown(index, told, unknown)
        if told is not None:
            self.found.bodies += 1

    def _add_unknown(self, index: int, told: Told | None, unknown: ValueError) -> None:
        self.found.add(_member(told), f"the entry uses a word that is not known: {unknown}", index)

    def _miss(self, index: int, envelope: Envelope) -> None:
        own = envelope.project == self.stated.pseudonym
        kept = says_gone(envelope) and (own or tells_of_all(envelope))
        if kept:
            what = "the body of an entry that says what is gone is missing, which is kept for ever"
            self.found.add(manifest.ENVELOPES, what, index)
        if own:
            if not kept:
                self.gone.miss(index)
            self.tally.feed(index, envelope, None)
            subject = envelope.subject
            self.trail.lose(envelope.type, self.tally.pseudonyms.number(subject) if subject else None)
        elif envelope.subject and self.tally.pseudonyms.knows(envelope.subject):
            # Every entry about a thread is of the thread's project: this one would hide what happened to it.
            what = "the entry is about a thread of this project, and of another project or of none"
            self.found.add(manifest.ENVELOPES, what, index)

    def _judge_body(self, index: int, envelope: Envelope, told: Told) -> None:
        """Judge a body by its envelope and by those before it; there may be a million."""
        exact, fields = told
        own = envelope.project == self.stated.pseudonym
        if not own and not self._may_come_along(envelope):
            self._refuse(index, "the body belongs to an entry that is not of this project")
            return
        if len(exact) > MAX_BODY:
            # What it holds is not read: it could be more than is kept in bounds.
            self._refuse(index, f"the body has {len(exact)} bytes; {MAX_BODY} is the limit")
            return
        if sha256(exact).hexdigest() != envelope.body:
            self._refuse(index, "the body is not the one whose digest the envelope holds")
            return
        if fields is None:
            fields = load(exact)
        for what in _compare_layers(envelope, fields, self.stated.project if own else None):
            self._refuse(index, what)
        if says_gone(envelope):
            self.gone.excuse(index, fields)
        if own:
            self._judge_own(index, envelope, fields)
        elif self.single and not tells_of_all(envelope):
            self._ask_whose(index, envelope, None, fields)

    def _ask_whose(self, index: int, envelope: Envelope, thread: int | None, fields: Body) -> None:
        for what in self.whose.feed(index, envelope.type, thread, fields):
            self._refuse(index, what)

    def _judge_own(self, index: int, envelope: Envelope, fields: Body) -> None:
        _, _, subject, t, kind = envelope
        self.gone.see(index)
        if self.tally.feed(index, envelope, fields) and kind == _GRADED:
            self.table.expect(deletions.line(deletions.row(index, t, fields)), index)
        thread = None
        if subject:
            thread = self.tally.pseudonyms.number(subject)
            if not self.tally.pseudonyms.is_of(thread, text(fields, "subject"), index):
                self._refuse(index, "the envelope has the pseudonym of another thread")
                return
        if self.single:
            self._ask_whose(index, envelope, thread, fields)
        for what in self.trail.feed(index, kind, thread, fields):
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

    def _envelopes(self) -> Iterator[bytes]:
        blocks = self.archive.blocks(manifest.ENVELOPES, _ENVELOPE_BYTES, least=_DIGEST_BYTES)
        return chain.from_iterable(until_damage(blocks, self.found, manifest.ENVELOPES))

    def _bodies(self) -> Iterator[tuple[int, Told]]:
        blocks = self.archive.blocks(manifest.BODIES, _BODY_BYTES)
        lines = chain.from_iterable(until_damage(blocks, self.found, manifest.BODIES))
        for at, line in enumerate(lines, 1):
            try:
                yield read_line(line) if len(line) <= MAX_BODY else _read_long(line)
            except Misshapen as broken:
                self.found.add(manifest.BODIES, f"line {at}: {broken.problem}")
                if self.found.hopeless:
                    return


def _read_long(line: bytes) -> tuple[int, Told]:
    """Read a line whose body may be longer than any entry's: of such a one nothing but the text is read."""
    index, body = load_body_line(line)
    return index, (body.encode(), None)


def _member(told: Told | None) -> str:
    return manifest.ENVELOPES if told is None else manifest.BODIES


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
        try:
            salt = bytes.fromhex(text(body, "salt"))
        except ValueError:
            return [*unlike, "the salt is not written in hex"]
        if body.get("owner_commitment") != sha256(salt + b"owner:" + owner.encode()).hexdigest():
            unlike.append("the owner is not the one that was committed to")
    return unlike
