"""The faults in force: which one strikes the next request, and how often it still may."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from worker.sandbox.faults import Fault, FaultRule
from worker.sandbox.kinds import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """What befalls one request, and by which rule."""

    fault: Fault | None = None
    slow: bool = False
    rule: FaultRule | None = field(default=None, compare=False)


@dataclass(slots=True)
class _Entry:
    rule: FaultRule
    skip: int
    left: int | None

    def take(self, target: Target) -> bool:
        if not self.rule.strikes(target) or self.left == 0:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.left is not None:
            self.left -= 1
        return True


class FaultBook:
    """Thread-safe; may be changed while requests are under way."""

    def __init__(self, rules: Iterable[FaultRule] = ()) -> None:
        self._lock = threading.Lock()
        self._entries: list[_Entry] = []
        self.replace(rules)

    def replace(self, rules: Iterable[FaultRule]) -> None:
        """Put these faults in force instead of the present ones, with fresh counts."""
        entries = [_Entry(rule=rule, skip=rule.skip, left=rule.count) for rule in rules]
        with self._lock:
            self._entries = entries

    def rules(self) -> tuple[FaultRule, ...]:
        """Return the faults in force, used-up ones included."""
        with self._lock:
            return tuple(entry.rule for entry in self._entries)

    def strike(self, target: Target) -> Strike:
        """Take the first fault that concerns this request; ``slow`` comes on top of another."""
        slow = False
        with self._lock:
            for entry in self._entries:
                if entry.rule.fault is Fault.SLOW:
                    slow = entry.take(target) or slow
                elif entry.take(target):
                    slow = slow or self._is_slow(entry, target)
                    return Strike(fault=entry.rule.fault, slow=slow, rule=entry.rule)
        return Strike(slow=slow)

    def _is_slow(self, after: _Entry, target: Target) -> bool:
        later = self._entries[self._entries.index(after) + 1 :]
        return any(entry.take(target) for entry in later if entry.rule.fault is Fault.SLOW)
