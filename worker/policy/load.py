"""Read a bundle from a folder, from texts or from its canonical form. One bad document refuses all of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from worker.model.errors import Invalid, TenureError
from worker.policy.canonical import make_bundle
from worker.policy.cross_checks import check_across
from worker.policy.document import Bundle, Constraints, Policy, Project
from worker.policy.findings import Finding, Notes, Severity, in_order, refuses
from worker.policy.nodes import MAX_BYTES, Place, from_json
from worker.policy.read_documents import Draft, ReadSettings, read_document, read_file
from worker.policy.read_profile import CheckProfile, shape_only
from worker.policy.read_project import DEFAULT_KEY_GLOBS

__all__ = [
    "DEFAULT_KEY_GLOBS",
    "Finding",
    "Loaded",
    "PoliciesUnreadable",
    "Severity",
    "bundle_from_canonical",
    "extra_texts",
    "folder_texts",
    "load_file",
    "load_folder",
    "load_texts",
    "read_files",
]

# The year from here on is searched for clock changes (RP008) unless the caller names another.
CLOCK_CHANGES_SINCE = datetime(2026, 11, 22, tzinfo=UTC)
_SUFFIXES = frozenset({".yaml", ".yml"})
_TESTS = (".test.yaml", ".test.yml")
_TOP = Place(line=1, col=1)


class PoliciesUnreadable(TenureError):
    """The folder of policies is missing or cannot be listed."""

    code = "policies_unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The bundle, or None when any finding is an error; findings are in the order of files and lines."""

    bundle: Bundle | None
    findings: tuple[Finding, ...]


def load_folder(
    folder: Path,
    *,
    extra: Sequence[Path] = (),
    key_globs: Sequence[str] = DEFAULT_KEY_GLOBS,
    known_policies: frozenset[str] | None = None,
    since: datetime = CLOCK_CHANGES_SINCE,
    check_profile: CheckProfile = shape_only,
) -> Loaded:
    """Read ``*.yaml`` and ``*.yml`` of the folder itself, without ``*.test.yaml``, and the extra files.

    ``known_policies`` are the names in force before (None: not known, RP017 is not checked).
    ``check_profile`` is `worker.providers.profiles.check_profile` for callers that may import it.
    Raises PoliciesUnreadable for a missing or unreadable folder.
    """
    findings: list[Finding] = []
    texts = _read_texts(_files(folder, extra, findings), findings)
    settings = ReadSettings(key_globs=key_globs, since=since, check_profile=check_profile)
    return _load(texts, findings, settings, known_policies, files=len(texts) + len(findings))


def load_file(
    path: Path,
    *,
    key_globs: Sequence[str] = DEFAULT_KEY_GLOBS,
    since: datetime = CLOCK_CHANGES_SINCE,
    check_profile: CheckProfile = shape_only,
) -> Loaded:
    """Read one file of a folder as a bundle of its own; never raises, whatever it holds."""
    texts, findings = read_files([path])
    settings = ReadSettings(key_globs=key_globs, since=since, check_profile=check_profile)
    return _load(texts, findings, settings, None, files=1)


def read_files(paths: Iterable[Path]) -> tuple[dict[str, str], list[Finding]]:
    """Read files as text by their names; one that is no text, too large or leads elsewhere is a finding."""
    findings: list[Finding] = []
    inside = [(path.name, path) for path in paths if not _leads_out(path.name, path, path.parent, findings)]
    return _read_texts(inside, findings), findings


def _read_texts(files: Iterable[tuple[str, Path]], findings: list[Finding]) -> dict[str, str]:
    texts = ((label, _read_text(label, path, findings)) for label, path in files)
    return {label: text for label, text in texts if text is not None}


def load_texts(
    texts: Mapping[str, str],
    *,
    key_globs: Sequence[str] = DEFAULT_KEY_GLOBS,
    known_policies: frozenset[str] | None = None,
    since: datetime = CLOCK_CHANGES_SINCE,
    check_profile: CheckProfile = shape_only,
) -> Loaded:
    """Read a bundle from file names and their texts; never raises, whatever the texts hold."""
    settings = ReadSettings(key_globs=key_globs, since=since, check_profile=check_profile)
    return _load(texts, [], settings, known_policies, files=len(texts))


def folder_texts(folder: Path) -> dict[str, str]:
    """Return the files that `load_folder` reads, by name; what it would refuse to read is left out.

    Raises PoliciesUnreadable.
    """
    return _read_texts(_files(folder, (), []), [])


def extra_texts(extra: Sequence[Path]) -> dict[str, str]:
    """Return the texts of extra files under the labels that `load_folder` gives them."""
    return _read_texts([(str(path), path) for path in extra], [])


def bundle_from_canonical(text: str) -> Bundle:
    """Read ``Bundle.canonical`` back to an equal bundle; raises Invalid for anything else."""
    notes = Notes("bundle")
    # The names of keys were checked against the allow-list when the bundle came into force.
    settings = ReadSettings(key_globs=("*",), since=CLOCK_CHANGES_SINCE)
    try:
        stored = json.loads(text)
        sources = dict(stored["sources"])
        drafts = [read_document(from_json(one), notes, settings) for one in stored["bundle"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _not_canonical(type(error).__name__) from None
    if refuses(notes.findings):
        raise _not_canonical(str(notes.findings[0]))
    return _bundle([draft for draft in drafts if draft], sources)


def _not_canonical(reason: str) -> Invalid:
    return Invalid(
        f"This is not the canonical text of a bundle ({reason}).",
        repair="Load the policy files again.",
        code="bad_bundle",
    )


def _load(
    texts: Mapping[str, str],
    findings: Iterable[Finding],
    settings: ReadSettings,
    known_policies: frozenset[str] | None,
    *,
    files: int,
) -> Loaded:
    every_note = {name: Notes(name) for name in sorted(texts)}
    drafts = [
        draft for name, notes in every_note.items() for draft in read_file(texts[name], notes, settings)
    ]
    check_across(drafts, known_policies)
    found = [*findings, *(finding for notes in every_note.values() for finding in notes.findings)]
    if not refuses(found):
        return Loaded(bundle=_bundle(drafts, None), findings=in_order(found))
    return Loaded(bundle=None, findings=in_order([*found, _refusal(found, files)]))


def _refusal(findings: Sequence[Finding], files: int) -> Finding:
    bad = {finding.file for finding in findings if finding.severity is Severity.ERROR}
    return Finding(
        file="bundle",
        line=0,
        col=0,
        code="RP020",
        message=f"{len(bad)} of {files} files invalid: whole bundle refused,",
        fix="the one that was active stays so.",
    )


def _bundle(drafts: Sequence[Draft], sources: Mapping[str, str] | None) -> Bundle:
    values = [draft.value for draft in drafts]
    policies = [one for one in values if isinstance(one, Policy)]
    return make_bundle(
        policies if sources is None else [_sourced(one, sources) for one in policies],
        [one for one in values if isinstance(one, Project)],
        next((one for one in values if isinstance(one, Constraints)), None),
    )


def _sourced(policy: Policy, sources: Mapping[str, str]) -> Policy:
    return replace(policy, source=sources.get(policy.name, ""))


def _files(folder: Path, extra: Sequence[Path], findings: list[Finding]) -> list[tuple[str, Path]]:
    """Return label and path of every file to read; one that leads out of the folder is refused."""
    try:
        root = folder.resolve(strict=True)
        names = sorted(path.name for path in root.iterdir())
    except OSError as error:
        raise PoliciesUnreadable(
            f"The folder of policies, {folder}, cannot be read: {error.strerror}.",
            repair="Create it, or set TENURE_POLICIES to the one that holds your policies.",
        ) from None
    found: list[tuple[str, Path]] = []
    for name in names:
        path = root / name
        if path.suffix not in _SUFFIXES or name.endswith(_TESTS):
            continue
        if not _leads_out(name, path, root, findings):
            found.append((name, path))
    return found + [(str(path), path) for path in extra]


def _leads_out(label: str, path: Path, folder: Path, findings: list[Finding]) -> bool:
    """Note a link that leads out of the folder: what stands elsewhere was not reviewed with these files."""
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        inside = True  # a link to itself leads nowhere, and is told when it is read
    if not inside:
        findings.append(
            _unread(label, "RP037", "the link leads out of the folder.", "Put the file itself here.")
        )
    return not inside


def _read_text(label: str, path: Path, findings: list[Finding]) -> str | None:
    try:
        if not path.is_file():
            # Also a pipe, which would keep the reader waiting.
            findings.append(
                _unread(label, "RP022", "not a file that exists.", "Remove it, or put a file here.")
            )
            return None
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        findings.append(
            _unread(label, "RP022", f"cannot be read: {error.strerror}.", "Check its permissions.")
        )
        return None
    try:
        # One over the limit may end inside a character; it is refused for its size anyway.
        return data.decode("utf-8", "replace" if len(data) > MAX_BYTES else "strict")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        at = Place(line=before.count(b"\n") + 1, col=len(before.rpartition(b"\n")[2].decode("utf-8")) + 1)
        findings.append(_unread(label, "RP022", "not UTF-8.", "Save it as UTF-8.", at))
        return None


def _unread(label: str, code: str, message: str, fix: str, at: Place = _TOP) -> Finding:
    return Finding(file=label, line=at.line, col=at.col, code=code, message=message, fix=fix)
