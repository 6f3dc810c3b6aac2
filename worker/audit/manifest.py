"""The signed manifest: an in-toto Statement v1 with the digest of every other member of a bundle.

The predicate (``urn:tenure:deletion-evidence:v1``) states what the bundle adds up to; the verifier
counts all of it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from worker.audit.reading import Body, Misshapen, items, load, mapping, number, text
from worker.audit.tally import Tally

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:tenure:deletion-evidence:v1"

MANIFEST, CHECKPOINT, KEYS = "manifest.dsse.json", "checkpoint", "keys.txt"
ENVELOPES, BODIES = "envelopes.jsonl.gz", "bodies.jsonl.gz"
DELETIONS, CERTIFICATE, README = "deletions.csv", "certificate.html", "README.txt"
REQUIRED = frozenset({MANIFEST, CHECKPOINT, KEYS, ENVELOPES, BODIES, DELETIONS, CERTIFICATE})
POLICY_FOLDER = "policies/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle says of itself. ``start`` and ``end`` are envelope instants; ``root`` is hex.

    ``entries`` are the project's own in the window, ``grades`` count threads by their newest grade there,
    ``files`` map every other member to its SHA-256 in hex.
    """

    tool: str
    made_at: str
    project: str
    pseudonym: str
    start: str
    end: str
    origin: str
    size: int
    root: str
    grader_version: int
    entries: int
    grades: Mapping[str, int]
    reconciliation: Mapping[str, int]
    files: Mapping[str, str]

    def to_bytes(self) -> bytes:
        """Write the statement."""
        subjects = [{"name": name, "digest": {"sha256": self.files[name]}} for name in sorted(self.files)]
        predicate = {
            "tool": self.tool,
            "made_at": self.made_at,
            "project": self.project,
            "project_pseudonym": self.pseudonym,
            "period": {"from": self.start, "to": self.end},
            "log": {"origin": self.origin, "first": 0, "size": self.size, "root": self.root},
            "grader_version": self.grader_version,
            "entries": self.entries,
            "grades": dict(self.grades),
            "reconciliation": dict(self.reconciliation),
        }
        statement = {
            "_type": STATEMENT_TYPE,
            "subject": subjects,
            "predicateType": PREDICATE_TYPE,
            "predicate": predicate,
        }
        return json.dumps(statement, indent=1, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> Manifest:
        """Read a statement; raises Misshapen."""
        statement = load(raw)
        if (statement.get("_type"), statement.get("predicateType")) != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise Misshapen("The manifest is no statement of deletion evidence.")
        predicate = mapping(statement.get("predicate"))
        period, log = mapping(predicate.get("period")), mapping(predicate.get("log"))
        return cls(
            tool=text(predicate, "tool"),
            made_at=text(predicate, "made_at"),
            project=text(predicate, "project"),
            pseudonym=text(predicate, "project_pseudonym"),
            start=text(period, "from"),
            end=text(period, "to"),
            origin=text(log, "origin"),
            size=number(log, "size"),
            root=text(log, "root"),
            grader_version=number(predicate, "grader_version"),
            entries=number(predicate, "entries"),
            grades=_counts(predicate.get("grades")),
            reconciliation=_counts(predicate.get("reconciliation")),
            files=_files(statement),
        )

    def disagreements(self, tally: Tally) -> list[str]:
        """Name what the manifest states otherwise than the bodies."""
        pairs: tuple[tuple[str, object, object], ...] = (
            ("entries in the window", self.entries, tally.entries),
            ("counts by grade", dict(self.grades), tally.grades),
            ("reconciliation", dict(self.reconciliation), tally.reconciliation),
        )
        return [
            f"the {what} are stated as {stated}, the bodies give {found}"
            for what, stated, found in pairs
            if stated != found
        ]


def _counts(value: object) -> dict[str, int]:
    body = mapping(value)
    return {key: number(body, key) for key in body}


def _files(statement: Body) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in map(mapping, items(statement, "subject")):
        name = text(one, "name")
        if name in found:
            raise Misshapen(f"The manifest names {name!r} twice.")
        found[name] = text(mapping(one.get("digest")), "sha256")
    return found
