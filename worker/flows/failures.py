"""Failures: what is parked for a person, grouped by a fingerprint of where, what and why."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from worker.model.errors import NotFound
from worker.store import failures
from worker.store.failures import Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One group of parked threads; the same project, kind and reason have one fingerprint, for ever."""

    fingerprint: str
    group: Group
    accepted: bool = False


def fingerprint_of(project: str, kind: str, reason: str) -> str:
    """Return `fp_` and 16 hex digits of the SHA-256 over the three, one per line."""
    text = f"{project}\n{kind}\n{reason}\n"
    return "fp_" + hashlib.sha256(text.encode()).hexdigest()[:16]


def list_failures(
    db: Connection, *, projects: Sequence[str] | None = None, accepted: bool = False
) -> list[Failure]:
    """Return the groups of these projects (None: all): those that wait, or those a person accepted."""
    return [
        Failure(fingerprint=fingerprint_of(one.project, one.kind, one.reason), group=one, accepted=accepted)
        for one in failures.groups(db, projects=projects, accepted=accepted)
    ]


def find_failure(
    db: Connection, fingerprint: str, *, projects: Sequence[str] | None = None, accepted: bool | None = False
) -> Failure:
    """Return one group, with ``accepted`` None what waits before what was accepted.

    Raises NotFound where nothing (any more) is parked under this fingerprint.
    """
    for which in (False, True) if accepted is None else (accepted,):
        for one in list_failures(db, projects=projects, accepted=which):
            if one.fingerprint == fingerprint:
                return one
    problem = "Nothing is parked under this fingerprint."
    raise NotFound(problem, repair="`tenure failures list` shows what is.")
