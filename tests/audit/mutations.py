"""Seeded damage to an export: what anybody could do to the file, and what only the key's holder could."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import random  # noqa: TID251 - seeded, so that a run can be repeated
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from worker.audit import dsse
from worker.audit.checkpoint import Checkpoint, sign_checkpoint
from worker.audit.envelope import Leaf
from worker.audit.merkle import root_of
from worker.audit.note import Ed25519Signer

Members = dict[str, bytes]
_MANIFEST, _TABLE, _CHECKPOINT = "manifest.dsse.json", "deletions.csv", "checkpoint"
_ENVELOPES, _BODIES = "envelopes.jsonl.gz", "bodies.jsonl.gz"
_OTHER_GRADES = (b"confirmed", b"sustained", b"inferred", b"absent", b"acknowledged", b"partial")


def unzip(raw: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zip_up(members: Sequence[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore")  # a doubled name is one of the mutations
        for name, raw in members:
            archive.writestr(zipfile.ZipInfo(name), raw)
    return out.getvalue()


def lines_of(members: Members, name: str) -> list[bytes]:
    return gzip.decompress(members[name]).splitlines()


def pack(lines: Sequence[bytes]) -> bytes:
    return gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0)


def signed_again(members: Members, signer: Ed25519Signer, **changes: Any) -> bytes:
    """Give every member its new digest and sign again: what only the holder of the key could do."""
    statement = json.loads(dsse.payload_of(members[_MANIFEST]))
    statement["subject"] = [
        {"name": name, "digest": {"sha256": hashlib.sha256(raw).hexdigest()}}
        for name, raw in sorted(members.items())
        if name != _MANIFEST
    ]
    statement["predicate"].update(changes)
    sealed = dsse.seal(json.dumps(statement).encode(), signer)
    return zip_up(list({**members, _MANIFEST: sealed}.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutator:
    """Makes one damaged bundle of each kind from a good one; every choice is drawn from ``dice``."""

    whole: bytes
    leaves: Sequence[Leaf]
    signer: Ed25519Signer
    dice: random.Random

    @property
    def kinds(self) -> dict[str, Callable[[Members], bytes]]:
        return {
            "bit flip in a member": self.flip,
            "member dropped": self.drop_member,
            "member truncated": self.truncate,
            "member doubled": self.double_member,
            "two members swapped": self.swap_members,
            "file truncated": self.truncate_file,
            "line dropped, signed again": self.drop_line,
            "line doubled, signed again": self.double_line,
            "lines swapped, signed again": self.swap_lines,
            "bit flip in a line, signed again": self.flip_line,
            "bodies swapped, signed again": self.swap_bodies,
            "checkpoint rolled back, signed again": self.roll_back,
            "checkpoint forged, signed again": self.forge,
            "grade changed, signed again": self.change_grade,
            "table changed, signed again": self.change_table,
            "manifest changed, signed again": self.change_manifest,
            "manifest changed": self.change_manifest_only,
        }

    def make(self, kind: str) -> bytes:
        return self.kinds[kind](unzip(self.whole))

    def flip(self, members: Members) -> bytes:
        name = self.dice.choice(sorted(members))
        return zip_up(list({**members, name: self._flipped(members[name])}.items()))

    def drop_member(self, members: Members) -> bytes:
        del members[self.dice.choice(sorted(members))]
        return zip_up(list(members.items()))

    def truncate(self, members: Members) -> bytes:
        name = self.dice.choice(sorted(members))
        cut = self.dice.randrange(len(members[name]))
        return zip_up(list({**members, name: members[name][:cut]}.items()))

    def double_member(self, members: Members) -> bytes:
        name = self.dice.choice(sorted(members))
        return zip_up([*members.items(), (name, self.dice.choice([members[name], b""]))])

    def swap_members(self, members: Members) -> bytes:
        one, other = self.dice.sample(sorted(members), 2)
        return zip_up(list({**members, one: members[other], other: members[one]}.items()))

    def truncate_file(self, members: Members) -> bytes:
        return self.whole[: self.dice.randrange(len(self.whole))]

    def drop_line(self, members: Members) -> bytes:
        name, lines, at = self._line(members)
        return signed_again({**members, name: pack(lines[:at] + lines[at + 1 :])}, self.signer)

    def double_line(self, members: Members) -> bytes:
        name, lines, at = self._line(members)
        return signed_again({**members, name: pack([*lines[: at + 1], *lines[at:]])}, self.signer)

    def swap_lines(self, members: Members) -> bytes:
        name, lines, at = self._line(members)
        other = (at + self.dice.randrange(1, len(lines))) % len(lines)
        lines[at], lines[other] = lines[other], lines[at]
        return signed_again({**members, name: pack(lines)}, self.signer)

    def flip_line(self, members: Members) -> bytes:
        name, lines, at = self._line(members)
        lines[at] = self._flipped(lines[at])
        return signed_again({**members, name: pack(lines)}, self.signer)

    def swap_bodies(self, members: Members) -> bytes:
        own = [json.loads(line) for line in lines_of(members, _BODIES)]
        one, other = self.dice.sample(own, 2)
        one["body"], other["body"] = other["body"], one["body"]
        packed = pack([json.dumps(line).encode() for line in own])
        return signed_again({**members, _BODIES: packed}, self.signer)

    def roll_back(self, members: Members) -> bytes:
        size = self.dice.randrange(len(self.leaves))
        return self._with_head(members, size, root_of(one.hash for one in self.leaves[:size]))

    def forge(self, members: Members) -> bytes:
        return self._with_head(members, len(self.leaves), self.dice.randbytes(32))

    def change_grade(self, members: Members) -> bytes:
        own = [json.loads(line) for line in lines_of(members, _BODIES)]
        graded = self.dice.choice([line for line in own if '"type":"thread.graded"' in line["body"]])
        body = json.loads(graded["body"])
        body["grade"] = self.dice.choice(
            [word.decode() for word in _OTHER_GRADES if word.decode() != body["grade"]]
        )
        graded["body"] = json.dumps(body, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
        packed = pack([json.dumps(line).encode() for line in own])
        return signed_again({**members, _BODIES: packed}, self.signer)

    def change_table(self, members: Members) -> bytes:
        table = members[_TABLE]
        rows = table.splitlines(keepends=True)
        at = self.dice.randrange(len(rows))
        changed = self.dice.choice(
            [
                table.replace(*self.dice.choice([(b"yes", b"no"), (b"confirmed", b"sustained")]), 1),
                b"".join(rows[:at] + rows[at + 1 :]),
                b"".join(rows[: at + 1] + rows[at:]),
                self._flipped(table),
                table + rows[at],
            ]
        )
        return signed_again({**members, _TABLE: changed}, self.signer)

    def change_manifest(self, members: Members) -> bytes:
        return signed_again(members, self.signer, **self._other_statement(members))

    def change_manifest_only(self, members: Members) -> bytes:
        sealed = json.loads(members[_MANIFEST])
        statement = json.loads(base64.b64decode(sealed["payload"]))
        statement["predicate"].update(self._other_statement(members))
        sealed["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
        return zip_up(list({**members, _MANIFEST: json.dumps(sealed).encode() + b"\n"}.items()))

    def _other_statement(self, members: Members) -> dict[str, Any]:
        predicate = json.loads(dsse.payload_of(members[_MANIFEST]))["predicate"]
        number = self.dice.randrange(1, 1000)
        grade = self.dice.choice(sorted(predicate["grades"]))
        count = self.dice.choice(sorted(predicate["reconciliation"]))
        return self.dice.choice(
            [
                {"grades": {**predicate["grades"], grade: predicate["grades"][grade] + number}},
                {"entries": predicate["entries"] + number},
                {"bodies_gone": number},
                {"reconciliation": {**predicate["reconciliation"], count: number + 100}},
                {"project": f"other-{number}"},
                {"project_pseudonym": f"{number:032x}"},
                {"log": {**predicate["log"], "size": predicate["log"]["size"] + number}},
                {"log": {**predicate["log"], "first": number}},
                {"log": {**predicate["log"], "origin": "example.org/other"}},
                {"scope": {"kind": "owner", "of": "team"}},
                {"period": {"from": predicate["period"]["to"], "to": predicate["period"]["to"]}},
            ]
        )

    def _with_head(self, members: Members, size: int, root: bytes) -> bytes:
        head = Checkpoint(origin=self.signer.name, size=size, root=root)
        note = sign_checkpoint(head, self.signer).encode()
        stated = {"origin": self.signer.name, "first": 0, "size": size, "root": root.hex()}
        return signed_again({**members, _CHECKPOINT: note}, self.signer, log=stated)

    def _line(self, members: Members) -> tuple[str, list[bytes], int]:
        name = self.dice.choice([_ENVELOPES, _BODIES])
        lines = lines_of(members, name)
        return name, lines, self.dice.randrange(len(lines))

    def _flipped(self, raw: bytes) -> bytes:
        changed = bytearray(raw)
        changed[self.dice.randrange(len(raw))] ^= 1 << self.dice.randrange(8)
        return bytes(changed)
