"""The signed manifest: an in-toto Statement v1 with the digest of every other member of a bundle.

The predicate (``urn:tenure:deletion-evidence:v1``) states what the bundle adds up to; the verifier
counts all of it again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from worker.audit.grades import GRADERS
from worker.audit.reading import Body, Misshapen, items, load, mapping, number, text, text_or_none
from worker.audit.tally import Tally

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:tenure:deletion-evidence:v1"

MANIFEST, CHECKPOINT, KEYS = "manifest.dsse.json", "checkpoint", "keys.txt"
ENVELOPES, BODIES = "envelopes.jsonl.gz", "bodies.jsonl.gz"
DELETIONS, CERTIFICATE, README = "deletions.csv", "certificate.html", "README.txt"
# Of a range that begins later than leaf 0: the signed head there, and what leads from it to the checkpoint.
START, FRONTIER, CONSISTENCY = "checkpoint.start", "frontier.start", "consistency.txt"
STARTING = frozenset({START, FRONTIER, CONSISTENCY})
_ALWAYS = frozenset({MANIFEST, CHECKPOINT, KEYS, BODIES, DELETIONS, CERTIFICATE})
POLICY_FOLDER, ANCHOR_FOLDER, PROOF_FOLDER = "policies/", "anchors/", "proofs/"
PROJECT, OWNER, ERASURE = "project", "owner", "erasure"
SCOPES = frozenset({PROJECT, OWNER, ERASURE})
# As a checkpoint's size, and what a leaf's index is kept in.
_MOST_LEAVES = 2**63 - 1
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


def proof_name(index: int) -> str:
    """Return the member that proves one entry."""
    return f"{PROOF_FOLDER}{index}.tlog-proof"


def required(*, scope: str, first: int) -> frozenset[str]:
    """Return the members that a bundle of this scope and first leaf has to have."""
    if scope != PROJECT:
        return _ALWAYS
    return _ALWAYS | {ENVELOPES} | (STARTING if first else frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle says of itself. ``start`` and ``end`` are envelope instants; ``root`` is hex.

    ``entries`` are the project's own in the window, ``grades`` count threads by their newest grade there,
    ``files`` map every other member to its SHA-256 in hex. ``scope`` is ``project`` (every entry of the
    range), ``owner`` or ``erasure`` (single entries with a proof each, of the owner or order ``of``).
    ``first`` is the leaf that the range begins at; ``gone`` are own entries in the range, or of those that
    were asked for, whose body was shredded or pruned.
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
    first: int = 0
    scope: str = PROJECT
    of: str | None = None
    gone: int = 0

    def to_bytes(self) -> bytes:
        """Write the statement."""
        subjects = [{"name": name, "digest": {"sha256": self.files[name]}} for name in sorted(self.files)]
        predicate = {
            "tool": self.tool,
            "made_at": self.made_at,
            "project": self.project,
            "project_pseudonym": self.pseudonym,
            "period": {"from": self.start, "to": self.end},
            "scope": {"kind": self.scope, "of": self.of},
            "log": {"origin": self.origin, "first": self.first, "size": self.size, "root": self.root},
            "grader_version": self.grader_version,
            "entries": self.entries,
            "bodies_gone": self.gone,
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
        """Read a statement; raises Misshapen.

        Also for numbers that count nothing, a period between what is no instant, and single entries that
        begin anywhere but at leaf 0 or do not say whose they are.
        """
        statement = load(raw)
        if (statement.get("_type"), statement.get("predicateType")) != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise Misshapen("The manifest is no statement of deletion evidence.")
        predicate = mapping(statement.get("predicate"))
        period, log = mapping(predicate.get("period")), mapping(predicate.get("log"))
        # What a bundle of before does not name yet has the meaning that it had then.
        scope = mapping(predicate.get("scope", {"kind": PROJECT}))
        kind, first, size = _scope(scope), _count(log, "first", absent=0), _count(log, "size")
        if first > size or (first and kind != PROJECT):
            raise Misshapen(f"Entries of the scope {kind} cannot begin at leaf {first} of {size}.")
        return cls(
            tool=text(predicate, "tool"),
            made_at=_instant(predicate, "made_at"),
            project=text(predicate, "project"),
            pseudonym=text(predicate, "project_pseudonym"),
            start=_instant(period, "from"),
            end=_instant(period, "to"),
            origin=text(log, "origin"),
            size=size,
            root=text(log, "root"),
            grader_version=number(predicate, "grader_version"),
            entries=_count(predicate, "entries"),
            grades=_counts(predicate.get("grades")),
            reconciliation=_counts(predicate.get("reconciliation")),
            files=_files(statement),
            first=first,
            scope=kind,
            of=text_or_none(scope, "of"),
            gone=_count(predicate, "bodies_gone", absent=0),
        )

    def disagreements(self, tally: Tally) -> list[str]:
        """Name what the manifest states otherwise than the bodies."""
        pairs: tuple[tuple[str, object, object], ...] = (
            ("entries in the window", self.entries, tally.entries),
            # Of single entries those without a body are not in the bundle: what is stated is not proved.
            ("bodies that are gone", self.gone if self.scope == PROJECT else 0, tally.gone),
            ("counts by grade", dict(self.grades), tally.grades),
            ("reconciliation", _counted(self.reconciliation), _counted(tally.reconciliation)),
        )
        unlike = [
            f"the {what} are stated as {stated}, the bodies give {found}"
            for what, stated, found in pairs
            if stated != found
        ]
        if self.grader_version not in GRADERS:
            version = f"grades are said to be of grader version {self.grader_version}"
            unlike.append(f"{version}, which this verifier does not know and cannot compute again")
        return unlike


def _scope(scope: Body) -> str:
    kind = text(scope, "kind")
    if kind not in SCOPES:
        raise Misshapen(f"The scope {kind!r} is not known.")
    if kind != PROJECT and text_or_none(scope, "of") is None:
        raise Misshapen(f"Single entries do not say whose they are ({kind}).")
    return kind


def _count(body: Body, key: str, *, absent: int | None = None) -> int:
    """Return an integer that counts something; ``absent`` is what it means where it is not named."""
    if absent is not None and key not in body:
        return absent
    value = number(body, key)
    if not 0 <= value <= _MOST_LEAVES:
        raise Misshapen(f"The integer {key!r} counts nothing.")
    return value


def _instant(body: Body, key: str) -> str:
    value = text(body, key)
    try:
        # Sorted as text, so that the form matters; and a day may have the form and not be in the calendar.
        if _INSTANT.fullmatch(value):
            datetime.fromisoformat(value)
            return value
    except ValueError:
        pass
    raise Misshapen(f"{key!r} is no instant in UTC with six digits behind the second.")


def _counted(counts: Mapping[str, int]) -> dict[str, int]:
    """Leave out what is zero: a count that a later version added is zero in a bundle of before."""
    return {name: count for name, count in counts.items() if count}


def _counts(value: object) -> dict[str, int]:
    body = mapping(value)
    return {key: _count(body, key) for key in body}


def _files(statement: Body) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in map(mapping, items(statement, "subject")):
        name = text(one, "name")
        if name in found:
            raise Misshapen(f"The manifest names {name!r} twice.")
        found[name] = text(mapping(one.get("digest")), "sha256")
    return found
