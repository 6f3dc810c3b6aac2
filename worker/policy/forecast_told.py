"""A forecast as the object that is stored, answered and shown: plain JSON values, every list bounded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from worker.policy.document import Bundle
from worker.policy.forecast import Counts, Forecast, Listed, Share
from worker.policy.guards import GuardVerdict

Told: TypeAlias = dict[str, object]
MOST_PROJECTS = 20
MOST_OVERLAPS = 20


def forecast_told(forecast: Forecast) -> Told:
    """Return the counts, with the first ids of what a person should look at."""
    return {
        "threads": forecast.threads,
        "held": forecast.held,
        "unaffected": forecast.unaffected,
        "outcomes": {
            name: {outcome.value: counts[outcome] for outcome in sorted(counts)}
            for name, counts in (("before", forecast.before), ("after", forecast.after))
        },
        "policies": list(_policies(forecast)),
        "newly_due": _listed(forecast.newly_due),
        "earlier": _listed(forecast.earlier),
        "protection_removed": {
            **_listed(forecast.unprotected),
            "rules": [{"rule": name, **_listed(one)} for name, one in sorted(forecast.lost_floors.items())],
        },
        "overlaps": list(_overlaps(forecast)),
    }


def guard_told(
    head: Bundle, policy: str, verdict: GuardVerdict, *, planned: int, released: int, population: int
) -> Told:
    """Return what the guards would say to a sweep of this policy now, with the figures they judge by."""
    guards = head.policy(policy).guards
    word = "blocked" if verdict.blocked else "needs_approval" if verdict.needs_approval else "fits"
    return {
        "policy": policy,
        "verdict": word,
        "planned": planned,
        "released": released,
        "population": population,
        "limits": guards
        and {
            "max_deletes": guards.max_deletes,
            # As text: 0.1 has no exact number, and the log and the database know no floats.
            "max_percent": f"{guards.max_percent:g}",
            "min_population": guards.min_population,
            "window": guards.window.canonical,
            "require_approval_over": guards.require_approval_over,
        },
        "reasons": list(verdict.reasons),
    }


def _policies(forecast: Forecast) -> Iterator[Told]:
    for name, total, projects in forecast.by_policy():
        yield {
            "policy": name,
            **_share(total),
            "projects": [
                {"project": project, **_share(share)} for project, share in projects[:MOST_PROJECTS]
            ],
            "more_projects": max(0, len(projects) - MOST_PROJECTS),
        }


def _share(share: Share) -> Told:
    return {
        "due": {name: _counts(counts) for name, counts in share.due.items()},
        "earlier": share.earlier,
        "later": share.later,
    }


def _counts(counts: Counts) -> Mapping[str, int]:
    return {"before": counts.before, "after": counts.after, "newly": counts.newly}


def _listed(listed: Listed) -> Told:
    return {"threads": listed.threads, "ids": list(listed.ids)}


def _overlaps(forecast: Forecast) -> Iterator[Told]:
    largest = sorted(forecast.overlaps.items(), key=lambda one: (-one[1].threads, one[0]))
    for pair, overlap in largest[:MOST_OVERLAPS]:
        yield {
            "policies": list(pair),
            "threads": overlap.threads,
            "decided_by": dict(sorted(overlap.decided_by.items())),
        }
