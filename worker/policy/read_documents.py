"""Read the documents of one file: what each is, and its values with their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from worker.policy.document import Constraints, Mode, Policy, Project
from worker.policy.findings import Notes, Refused
from worker.policy.nodes import Node, documents
from worker.policy.read_policy import read_policy
from worker.policy.read_profile import CheckProfile, shape_only
from worker.policy.read_project import read_project
from worker.policy.readers import (
    Ask,
    Fields,
    Path,
    all_done,
    choice,
    did_you_mean,
    duration,
    number,
    scalar,
    text,
)

API_VERSION = "retention/v1"


class DocumentKind(StrEnum):
    """What a document of a bundle may be."""

    RETENTION_POLICY = "RetentionPolicy"
    PROJECT = "Project"
    CONSTRAINTS = "Constraints"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A document that was read, with the node of each field for checks across documents."""

    value: Policy | Project | Constraints
    notes: Notes
    node: Node
    sites: Mapping[str, Node]

    def site(self, name: str) -> Node:
        """Return the node of that field, or of the document where it is not given."""
        return self.sites.get(name, self.node)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSettings:
    """What reading depends on beside the text; ``check_profile`` knows what a profile may hold."""

    key_globs: Sequence[str]
    since: datetime
    check_profile: CheckProfile = shape_only


def read_file(text_: str, notes: Notes, settings: ReadSettings) -> list[Draft]:
    """Return the documents without errors; every problem is noted, none raised."""
    drafts = (read_document(node, notes, settings) for node in documents(text_, notes))
    return [draft for draft in drafts if draft]


def read_document(
    node: Node, notes: Notes, settings: ReadSettings, asks: list[Ask] | None = None
) -> Draft | None:
    """Read one document, or return None and leave the reasons in the notes."""
    path = Path(notes=notes, asks=asks)
    try:
        value = _value(node, path, settings)
    except Refused:
        return None
    if isinstance(value, Policy):
        value = replace(value, source=f"{notes.file}:{node.line}")
    return Draft(value=value, notes=notes, node=node, sites=path.sites)


def _value(node: Node, path: Path, settings: ReadSettings) -> Policy | Project | Constraints:
    fields = Fields(node, path)
    fields.required("apiVersion", _api_version)
    kind = fields.required("kind", _kind)
    metadata = fields.required("metadata", _as_it_is)
    spec = fields.required("spec", _as_it_is)
    try:
        if fields.refused:
            raise Refused
        return _by_kind(kind, metadata, spec, path, settings)
    finally:
        # An unknown field beside metadata and spec is reported together with what is wrong inside.
        fields.done()


def _by_kind(
    kind: DocumentKind, metadata: Node, spec: Node, path: Path, settings: ReadSettings
) -> Policy | Project | Constraints:
    match kind:
        case DocumentKind.RETENTION_POLICY:
            return read_policy(metadata, spec, path, since=settings.since)
        case DocumentKind.PROJECT:
            return read_project(
                metadata,
                spec,
                path,
                key_globs=settings.key_globs,
                check_profile=settings.check_profile,
            )
        case DocumentKind.CONSTRAINTS:
            return _read_constraints(metadata, spec, path)


def _as_it_is(node: Node, _path: Path) -> Node:
    return node


def _api_version(node: Node, path: Path) -> str:
    version = scalar(node, path).text
    if version != API_VERSION:
        raise path.notes.error(node, "RP023", f'apiVersion "{version}" is unknown.', f"Write {API_VERSION}.")
    return version


def _kind(node: Node, path: Path) -> DocumentKind:
    word = scalar(node, path).text
    try:
        return DocumentKind(word)
    except ValueError:
        known = [kind.value for kind in DocumentKind]
        raise path.notes.error(
            node, "RP023", f'kind "{word}" is unknown.', did_you_mean(word, known)
        ) from None


def _read_constraints(metadata: Node, spec: Node, path: Path) -> Constraints:
    about = Fields(metadata, path.down("metadata"))
    name = about.required("name", text)
    about.optional("owner", text, "")
    about.optional("ticket", text, "")
    fields = Fields(spec, path.down("spec"))
    constraints = Constraints(
        name=name,
        min_delete_after=fields.optional("min_delete_after", duration, None),
        max_delete_after=fields.optional("max_delete_after", duration, None),
        max_guard_percent=fields.optional("max_guard_percent", number(0, 100), None),
        new_policies_start_in=fields.optional("new_policies_start_in", choice(Mode), None),
    )
    all_done(about, fields)
    return constraints
