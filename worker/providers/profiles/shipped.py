"""Which profiles there are, and how one is found: by a shipped one's name, by its file, or in a bundle."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from pathlib import Path

from worker.model.errors import TenureError
from worker.policy.document import OwnProfile
from worker.policy.findings import Notes, Refused
from worker.policy.nodes import MapNode, Node, from_json
from worker.policy.readers import Path as At
from worker.providers.profiles.family import Profile
from worker.providers.profiles.own import read_own, shipped_name
from worker.providers.profiles.read import BadProfile, read_profile

SHIPPED = ("openai", "azure_foundry", "generic")
# What a Project document calls a provider that speaks the same API.
_ALSO_CALLED = {"openai_compatible": "generic"}
_NAMES = (*SHIPPED, *_ALSO_CALLED)
_MEND = "Mend spec.profile of its Project; `tenure policy validate` shows every finding."
_LARGEST_FILE = 100_000


class UnknownProfile(TenureError):
    """A project names a profile that does not exist."""

    code = "unknown_profile"


def profile(named: str | OwnProfile) -> Profile:
    """Return the profile that a Project names or writes out, one object for equal ones.

    Raises UnknownProfile, which lists the shipped ones, or BadProfile.
    """
    return _own(named) if isinstance(named, OwnProfile) else _shipped(named)


def check_profile(node: Node, path: At) -> None:
    """Note what is wrong with the profile of a Project document; raises Refused where anything is."""
    if isinstance(node, MapNode):
        read_own(node, path, _shipped, _NAMES)
    else:
        shipped_name(node, path, _NAMES)


@lru_cache(maxsize=64)
def _own(named: OwnProfile) -> Profile:
    # Read with every check again: a bundle may have been stored by code that had fewer.
    notes = Notes("spec.profile")
    try:
        return read_own(
            from_json(json.loads(named.written)), At(notes=notes, name="profile"), _shipped, _NAMES
        )
    except Refused:
        lines = "; ".join(f"{one.code} {one.message}" for one in notes.findings)
        raise BadProfile(f"The project's own profile is refused: {lines}", repair=_MEND) from None


@cache
def _shipped(name: str) -> Profile:
    found = _ALSO_CALLED.get(name, name)
    if found not in SHIPPED:
        raise UnknownProfile(
            f"There is no profile {name!r}.",
            repair=f"Set profile to one of: {', '.join(SHIPPED)}.",
        )
    return load_profile(Path(__file__).parent / f"{found}.yaml")


def load_profile(path: Path) -> Profile:
    """Read a profile from a YAML file; it may extend a shipped one.

    Raises BadProfile with every finding (file:line:column, code, problem, repair), or UnknownProfile where
    it extends one that does not exist.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LARGEST_FILE + 1)
    except (OSError, UnicodeDecodeError) as problem:
        raise BadProfile(
            f"The profile {path.name} cannot be read ({type(problem).__name__}).",
            repair="Make it a readable UTF-8 file.",
        ) from problem
    if len(text) > _LARGEST_FILE:
        raise BadProfile(f"The profile {path.name} is larger than 100 kB.", repair="Keep to the fields.")
    return read_profile(text, file=path.name, base=profile)
