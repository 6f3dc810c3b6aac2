"""Who did it: an API key, a policy at a commit, or a system at a version. Nothing is done by nobody.

| form | example |
|---|---|
| key id | `key:aB3xK9pQ2mZ7` |
| policy and commit | `policy:support-30d@` and 40 hex digits; without git the bundle's `sha256:...` |
| system and version | `worker:host-1:4242 tenure/0.1.0` |
"""

from __future__ import annotations

import re
from functools import lru_cache

_ACTOR = re.compile(
    r"key:[A-Za-z0-9_-]{1,64}"
    r"|policy:[A-Za-z0-9._-]{1,200}@(?:[0-9a-f]{40}|[0-9a-f]{64}|sha256:[0-9a-f]{64})"
    r"|[a-z][a-z0-9_-]{0,31}(?::[^\s:]{1,253})?(?::[0-9]{1,10})? tenure/[0-9A-Za-z.+_-]{1,64}"
)


def key_actor(key_id: str) -> str:
    """Return the actor that a request with this key is."""
    return f"key:{key_id}"


def policy_actor(policy: str, *, commit: str | None, bundle: str) -> str:
    """Return the actor that a policy is: its commit, or outside of git the bundle's digest."""
    return f"policy:{policy}@{commit or bundle}"


def system_actor(role: str, version: str) -> str:
    """Return the actor that Tenure itself is in this role; ``role`` may name host and process."""
    return f"{role} tenure/{version}"


# A process names itself in most entries.
@lru_cache(maxsize=256)
def is_actor(text: str) -> bool:
    """Whether this is one of the three forms."""
    return _ACTOR.fullmatch(text) is not None
