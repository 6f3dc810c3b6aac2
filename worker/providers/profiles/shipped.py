"""Which profiles there are, and how one is found: by the name of a shipped one, or by its file."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from worker.model.errors import TenureError
from worker.providers.profiles.family import Profile
from worker.providers.profiles.read import BadProfile, read_profile

SHIPPED = ("openai", "azure_foundry", "generic")
# What a Project document calls a provider that speaks the same API.
_ALSO_CALLED = {"openai_compatible": "generic"}
_LARGEST_FILE = 100_000


class UnknownProfile(TenureError):
    """A project names a profile that does not exist."""

    code = "unknown_profile"


@cache
def profile(name: str) -> Profile:
    """Return a shipped profile by its name; raises UnknownProfile, which lists them."""
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
