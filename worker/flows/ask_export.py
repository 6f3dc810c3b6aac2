"""Ask for an export: what is wanted is checked and kept, and beat's process makes it (ADR 0021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from worker.audit import bodies
from worker.model.clock import Clock, parse_rfc3339, rfc3339
from worker.model.errors import Invalid, TenureError
from worker.model.ids import new_id
from worker.store import exports, log
from worker.store.engine import Database
from worker.store.exports import StoredExport

MOST_OPEN = 3
MOST_KEPT = 20
KEPT = timedelta(hours=24)
FORGOTTEN = timedelta(days=30)


class TooManyExports(TenureError):
    """This key has as many exports as it may have."""

    code = "too_many_exports"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an export is to hold: a project's entries, or single ones of an owner or an erasure order."""

    project: str
    begin: datetime
    end: datetime
    owner: str | None = None
    erasure: str | None = None
    begin_at: int = 0
    with_policies: bool = False
    anchors: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_single(self) -> bool:
        """Whether single entries are wanted, each with a proof of its own."""
        return self.owner is not None or self.erasure is not None

    def as_json(self) -> dict[str, Any]:
        """Write it as its row keeps it."""
        return {
            "project": self.project,
            "from": rfc3339(self.begin),
            "to": rfc3339(self.end),
            "owner": self.owner,
            "erasure": self.erasure,
            "begin_at": self.begin_at,
            "with_policies": self.with_policies,
            "anchors": dict(self.anchors),
        }


def wanted_of(asked: Mapping[str, Any]) -> Wanted:
    """Read a row's words back."""
    return Wanted(
        project=asked["project"],
        begin=parse_rfc3339(asked["from"]),
        end=parse_rfc3339(asked["to"]),
        owner=asked["owner"],
        erasure=asked["erasure"],
        begin_at=asked["begin_at"],
        with_policies=asked["with_policies"],
        anchors=asked["anchors"],
    )


def check_wanted(wanted: Wanted) -> None:
    """Raise Invalid for options that do not go together."""
    whole_only = wanted.begin_at or wanted.with_policies or wanted.anchors
    if (wanted.owner is not None and wanted.erasure is not None) or (wanted.is_single and whole_only):
        problem = "An owner or an erasure goes with a project and a period only, and not with the other."
        raise Invalid(problem, repair="Export the project for policies, anchors and a later beginning.")
    names = sorted(wanted.anchors, key=str.lower)
    for one, other in pairwise(names):
        if one.lower() == other.lower():
            problem = f"The anchors {one} and {other} differ in case only."
            raise Invalid(problem, repair="Give one of them another name.", pointer="/anchors")
    if wanted.begin >= wanted.end:
        raise Invalid("The period ends before it begins.", repair="`from` lies before `to`.", pointer="/to")


def ask_export(database: Database, wanted: Wanted, *, actor: str, clock: Clock) -> StoredExport:
    """Keep the request and record it; raises Invalid, and TooManyExports for a key that has enough."""
    check_wanted(wanted)
    now = clock.now()
    new = StoredExport(
        id=new_id("exp", now), project=wanted.project, asked=wanted.as_json(), asked_by=actor, asked_at=now
    )
    with database.write() as db:
        # The head orders those who ask, so that two requests at once cannot both be the last that fits.
        log.take_head(db)
        open_, kept = exports.count_of(db, actor)
        if open_ >= MOST_OPEN or kept >= MOST_KEPT:
            problem = f"This key has {open_} exports under way, and {kept} that are kept or under way."
            repair = f"At most {MOST_OPEN} and {MOST_KEPT}: wait until they are made, or expire."
            raise TooManyExports(problem, repair=repair)
        exports.add(db, new)
        read = bodies.access_read(
            what=f"POST /v1/audit/exports {new.id}", rows=0, at=now, actor=actor, project=wanted.project
        )
        log.append(db, [read])
    return new
