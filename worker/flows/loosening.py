"""Loosening: compare a proposed bundle with the one in force, as previews and activation both must."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from sqlalchemy import Connection

from worker.policy.canonical import make_bundle
from worker.policy.compare import Comparison, compare
from worker.policy.document import Bundle, Project
from worker.policy.effects import Effect
from worker.store.previews import inhabited

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_SANDBOX_KEY = "TENURE_KEY_SANDBOX"
_CROSSES = "A real project becomes the sandbox's, or the other way round; nobody compares the sandbox's."


def compare_with(db: Connection, base: Bundle | None, head: Bundle) -> Comparison:
    """Compare by meaning, knowing which projects have threads that may still be deleted.

    Projects of the local sandbox are left out: `tenure up --sandbox` adds, moves and removes them at each
    start, and there is nothing real in them.
    """
    if base is None:
        return compare(None, head)
    added = head.projects.keys() - base.projects.keys()
    told = compare(_with_sandbox_of(base, head), head, inhabited=inhabited(db, added))
    crossing = {f"Project/{name}" for name in _crossing(base, head)}
    changes = tuple(
        replace(one, effect=Effect.LOOSENING, why=_CROSSES) if one.document in crossing else one
        for one in told.changes
    )
    # An approval is for the bundle that is in force, sandbox and all.
    return replace(told, base=base.digest, changes=changes)


def _crossing(base: Bundle, head: Bundle) -> frozenset[str]:
    """Return the projects that become the sandbox's or cease to be: what is real must not pass through it."""
    both = base.projects.keys() & head.projects.keys()
    return frozenset(
        name for name in both if is_sandbox(base.projects[name]) != is_sandbox(head.projects[name])
    )


def _with_sandbox_of(base: Bundle, head: Bundle) -> Bundle:
    """Return the base with the sandbox projects of the head in place of its own."""
    ours, theirs = _by_name(base, head), _by_name(head, base)
    if ours == theirs:
        return base
    kept = {name: one for name, one in base.projects.items() if name not in ours}
    return make_bundle(base.policies, {**kept, **theirs}.values(), base.constraints)


def _by_name(of: Bundle, other: Bundle) -> Mapping[str, Project]:
    """Return the sandbox projects; a name that is a real project on the other side is none."""
    return {
        name: one
        for name, one in of.projects.items()
        if is_sandbox(one) and (name not in other.projects or is_sandbox(other.projects[name]))
    }


def is_sandbox(project: Project) -> bool:
    """Whether this is a project of the local sandbox, by its key's name and its address."""
    return project.api_key.env == _SANDBOX_KEY and urlsplit(project.account.base_url).hostname in _LOOPBACK
