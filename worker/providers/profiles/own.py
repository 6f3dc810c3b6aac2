"""A project's own profile: what it may add to a shipped one, and what it may never loosen.

DANGER. It says which 404 means that an object is not there. Invariants, checked when the bundle is read and
again by every process that uses it: each matcher holds words that only a missing object is told with, a
message must name the sent id, none of the answers below counts, and no request goes elsewhere than before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from worker.model.thread import Kind
from worker.policy.findings import Refused
from worker.policy.nodes import MapNode, Node
from worker.policy.readers import Fields, Path, did_you_mean, scalar
from worker.providers.profiles.family import Profile
from worker.providers.profiles.matcher import ID, NOUN, Matcher
from worker.providers.profiles.read import EVERY_KIND, Base, read_fields
from worker.providers.table import KINDS

UNSAFE = "RP040"
_EXTENDS = "extends"
# A request's address is part of the account, which the threads remember and the profile must not move.
_ADDRESS_FACTS = ("prefix", "query")
_NEVER_THERE = (
    r"\b(?:no|not|never|cannot|(?:could|can|was|is)n't)\b.*\b(?:found|exists?|known)\b"
    r"|\b(?:does|did)(?:n't| not) exist\b|\bno such\b|\bno longer exists?\b|\bnon-?existent\b"
)
_LOOSE = re.compile(_NEVER_THERE, re.IGNORECASE)
# At the beginning of a message, right beside kind and id, fewer words are enough.
_ANCHORED = re.compile(_NEVER_THERE + r"|\b(?:unknown|gone|deleted|removed|missing|absent)\b", re.IGNORECASE)
_OTHER_REASONS = re.compile(
    r"\b(?:urls?|uris?|routes?|endpoints?|paths?|pages?|methods?|access|permi\w+|keys?|tokens?|scopes?|forbidden"
    r"|denied|(?:un)?authori[sz]\w*|projects?|deployments?|limits?|quota|errors?)\b",
    re.IGNORECASE,
)
_PROBE_ID = "probe-0a1b2c3d"
_NOT_ABSENT = (
    f"Invalid URL {ID}",
    f"Invalid URL ({NOUN} {ID})",
    f"{NOUN} {ID}: Invalid URL",
    f"{NOUN} {ID}",
    f"{NOUN} with id '{ID}'",
    f"{NOUN} {ID} belongs to another project",
    f"{NOUN} {ID} cannot be deleted now",
    f"You have no access to {NOUN} {ID}",
    f"An unknown error occurred while {NOUN} {ID} was read",
    f"No route to {NOUN} {ID}",
)


def read_own(node: Node, path: Path, base: Base, shipped: tuple[str, ...]) -> Profile:
    """Read a mapping with `extends`; every problem is noted, and Refused is raised for any."""
    fields = Fields(node, path)
    extends = fields.required(_EXTENDS, lambda given, at: shipped_name(given, at, shipped))
    if fields.refused:
        raise Refused
    below = base(extends)
    _refuse_addresses(fields, path)
    made = read_fields(fields, name=f"{extends}, extended by its project", below=below, echo_required=False)
    wrong = list(_unsafe(made, fields, path))
    for at, what in wrong:
        path.notes.error(at, UNSAFE, what, "Quote words that the server uses for a missing object alone.")
    if wrong:
        raise Refused
    return made


def shipped_name(node: Node, path: Path, shipped: tuple[str, ...]) -> str:
    """Read the name of a shipped profile."""
    name = scalar(node, path).text
    if name not in shipped:
        raise path.notes.error(
            node, "RP026", f'{path.label} "{name}" is unknown.', did_you_mean(name, shipped)
        )
    return name


def _refuse_addresses(fields: Fields, path: Path) -> None:
    kinds = fields.value("kinds")
    for kind, given in kinds.entries if isinstance(kinds, MapNode) else ():
        for key, _ in given.entries if isinstance(given, MapNode) else ():
            if key.text in _ADDRESS_FACTS:
                what = f"{path.label}.kinds.{kind.text}.{key.text} would send requests elsewhere."
                fields.refuse(key, UNSAFE, what, "The address is base_url, a part of the account.")


def _unsafe(made: Profile, fields: Fields, path: Path) -> Iterator[tuple[Node, str]]:
    """Return what is unsafe of the matchers that are given here, one line for each."""
    absent = fields.value("absent")
    for key, value in absent.entries if isinstance(absent, MapNode) else ():
        kinds = KINDS if key.text == EVERY_KIND else (Kind(key.text),)
        found = next((what for kind in kinds if (what := _loose(made, kind))), None)
        if found is not None:
            yield value, f"{path.label}.absent.{key.text} {found}"


def _loose(made: Profile, kind: Kind) -> str | None:
    """Return what one kind's matcher takes for a missing object although it is not, or None."""
    matcher = made.absent[kind]
    words = [one for one in matcher.says if not _only_of_absence(one, _LOOSE)]
    words += [one for one in matcher.begins if not _only_of_absence(_without_places(one), _ANCHORED)]
    if words:
        return f'counts "{words[0]}", which need not mean that an object is missing.'
    for message in _NOT_ABSENT:
        for noun in made.facts(kind).nouns:
            said = message.replace(NOUN, noun)
            if _believed(made, matcher, kind, said.replace(ID, _PROBE_ID)):
                return f'would take "{said}" for a missing {kind.value}.'
    return None


def _without_places(form: str) -> str:
    return form.replace(ID, "").replace(NOUN, "")


def _only_of_absence(words: str, absence: re.Pattern[str]) -> bool:
    plain = words.replace("*", " ")
    return absence.search(plain) is not None and _OTHER_REASONS.search(plain) is None


def _believed(made: Profile, matcher: Matcher, kind: Kind, message: str) -> bool:
    """Whether the profile believes this message at any of the matcher's places and with any of its types."""
    for place in matcher.at:
        for type_ in matcher.types or {"invalid_request_error"}:
            first, _, second = place.partition(".")
            body: dict[str, object] = {"error": {"type": type_}}
            body[first] = {"type": type_, second: message} if second else message
            if made.object_absent(body, kind=kind, object_id=_PROBE_ID):
                return True
    return False
