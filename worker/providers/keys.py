"""Where a provider key comes from: one variable or one file, and only those that are allowed.

A policy file may be written by many; it must not be able to carry another secret to a provider.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from worker.model.errors import TenureError
from worker.policy.document import KeyRef
from worker.policy.match import glob_matches

_LONGEST_KEY = 16_384


class KeyMissing(TenureError):
    """The variable or file that should hold the provider key holds none."""

    code = "key_missing"


class KeyNotAllowed(TenureError):
    """The project names a variable or file outside TENURE_PROVIDER_KEYS."""

    code = "key_not_allowed"


def resolve_key(ref: KeyRef, *, allowed: Sequence[str], environ: Mapping[str, str] | None = None) -> str:
    """Return the key that ``ref`` points to. ``allowed`` are globs over variable names and file paths.

    Raises KeyNotAllowed, or KeyMissing when there is no key of printable ASCII without spaces.
    """
    if ref.env is not None:
        _must_be_allowed(ref.env, allowed)
        place = f"The variable {ref.env}"
        found = (os.environ if environ is None else environ).get(ref.env, "")
    else:
        place = f"The file {ref.file}"
        found = _read(ref.file or "", allowed)
    key = found.strip()
    if not key:
        raise KeyMissing(f"{place} holds no provider key.", repair="Set it for every process that deletes.")
    # Anything else could not be one header value.
    if not (key.isascii() and key.isprintable() and " " not in key and len(key) <= _LONGEST_KEY):
        raise KeyMissing(f"{place} does not hold one provider key.", repair="Put the key alone on one line.")
    return key


def _read(path: str, allowed: Sequence[str]) -> str:
    # "/run/secrets/*" would also match "/run/secrets/../x".
    if not Path(path).is_absolute() or os.path.normpath(path) != path:
        raise KeyNotAllowed(
            f"{path!r} is not an absolute, plain path.", repair="Write it without '..' and '//'."
        )
    _must_be_allowed(path, allowed)
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.read(_LONGEST_KEY + 1)
    except (OSError, UnicodeDecodeError) as problem:
        raise KeyMissing(
            f"The file {path} cannot be read ({type(problem).__name__}).",
            repair="Mount it for every process that deletes, readable for its user.",
        ) from problem


def _must_be_allowed(name: str, allowed: Sequence[str]) -> None:
    if not any(glob_matches(pattern, name) for pattern in allowed):
        raise KeyNotAllowed(
            f"A project names {name} as the place of a key, which is not allowed.",
            repair=f"Add it to TENURE_PROVIDER_KEYS (now: {', '.join(allowed) or 'nothing'}).",
        )
