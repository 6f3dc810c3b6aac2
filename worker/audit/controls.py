"""Controls that entries hold, from each to the grade of the thread that it supports.

A control has to be read after the read that it supports, so its entry stands behind that read's, and
whatever was there before the read supports nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from worker.audit.grades import is_comparable
from worker.audit.reading import Body, items, mapping, text
from worker.audit.words import is_fitting
from worker.model.evidence import Class, Control, Step
from worker.model.thread import Kind

_PRESENT = Class.PRESENT.value
# Another item's first read may serve as a control, beside a read that is nothing else.
_STEPS = frozenset({Step.CONTROL.value, Step.BEFORE.value})
_COUNTING = frozenset({Control.GOOD, Control.ROUTE_ONLY})
# What control it is, of which kind, and the hash of the object that was read.
_Probe = tuple[Control, str, int]
_NONE: frozenset[_Probe] = frozenset()
# Between a read and its grade there is one; a hostile log could hold controls without end.
_MOST = 8
_ROOM = 1000


@dataclass(slots=True, kw_only=True)
class Controls:
    """Remembers controls by the 64-bit hash of the thread's id. ``lost`` are those whose body is gone."""

    lost: int = 0
    _probes: dict[int, frozenset[_Probe]] = field(default_factory=dict)

    def add(self, body: Body, *, threads: int) -> None:
        """Take an entry of a control that read something present; raises Misshapen, ValueError.

        ``threads`` is how many are known: others need no controls, and a hostile log could name them.
        """
        control, kind = Control(text(body, "control")), Kind(text(body, "kind")).value
        observations = [mapping(one) for one in items(body, "observations")]
        present = [text(one, "subject") for one in observations if _is_control(one)]
        if control not in _COUNTING or not present:
            return
        probe = control, kind, hash(present[-1])
        for one in items(body, "supports"):
            known = self._probes.get(key := hash(one) if isinstance(one, str) else 0, _NONE)
            if len(known) < _MOST and (known or len(self._probes) < _ROOM + 2 * threads):
                self._probes[key] = known | {probe}

    def forget(self, thread: str) -> None:
        """Let what stands before a read of a thread support nothing."""
        self._probes.pop(hash(thread), None)

    def take(self, body: Body, control: Control) -> bool:
        """Tell whether such a control, of its kind and of another object, supports a grade, and no other."""
        probes, external_id = self._probes.pop(hash(text(body, "subject")), _NONE), text(body, "external_id")
        wanted, itself = (control, text(body, "kind")), hash(external_id)
        for probe in probes:
            if probe[:2] == wanted and (probe[2] != itself or not is_comparable(external_id)):
                return True
        return False


def _is_control(seen: Body) -> bool:
    step, word = text(seen, "step"), text(seen, "class")
    is_other = seen.get("child") is None and is_fitting(step, word, seen.get("status"))
    return word == _PRESENT and step in _STEPS and is_other
