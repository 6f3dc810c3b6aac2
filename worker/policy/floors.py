"""Floors: how long a thread must be kept. The latest one counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from worker.model.thread import Thread
from worker.policy.ages import date_of
from worker.policy.document import Basis, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The floor that counts; ``until`` None has no end. ``rule`` is the policy's name."""

    rule: str
    until: datetime | None

    def runs(self, now: datetime) -> bool:
        """Whether it still protects at that instant."""
        return self.until is None or self.until > now

    def outlasts(self, at: datetime) -> bool:
        """Whether it ends later than that instant."""
        return self.until is None or self.until > at


def counting(matching: Sequence[Policy], *, erased: bool) -> list[Policy]:
    """Return the policies whose retain rule counts: an erasure leaves the legal ones only."""
    return [
        policy for policy in matching if policy.retain and (not erased or policy.retain.basis is Basis.LEGAL)
    ]


def lacks_date(thread: Thread, retaining: Sequence[Policy]) -> bool:
    """Whether the end of any counting floor cannot be told."""
    return any(
        policy.retain and policy.retain.length and date_of(thread, policy.retain.since) is None
        for policy in retaining
    )


def latest(thread: Thread, retaining: Sequence[Policy]) -> Floor | None:
    """Return the latest floor, equal ones by name; every needed date is known."""
    floors = [_floor(thread, policy) for policy in retaining]
    endless = [floor for floor in floors if floor.until is None]
    if endless:
        return min(endless, key=_name)
    ending = [(floor.until, floor) for floor in floors if floor.until is not None]
    if not ending:
        return None
    last = max(until for until, _ in ending)
    return min((floor for until, floor in ending if until == last), key=_name)


def _floor(thread: Thread, policy: Policy) -> Floor:
    if policy.retain is None or policy.retain.length is None:
        return Floor(rule=policy.name, until=None)
    start = date_of(thread, policy.retain.since)
    # Without its date a floor must not end; the caller has answered UNKNOWN before.
    return Floor(rule=policy.name, until=policy.retain.length.add_to(start) if start else None)


def _name(floor: Floor) -> str:
    return floor.rule
