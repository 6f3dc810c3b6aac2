"""What the verifier demands of a project's own entries, in the order of the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from worker.audit.entry import EntryType
from worker.audit.observed import Tried, read_reread, read_tried
from worker.audit.reading import Body, items, mapping, number, text
from worker.model.evidence import GRADER_VERSION, Class, Control, Grade, Step, fold, grade
from worker.model.work import Stage

_NEEDS_ABSENT_READ = frozenset({Grade.CONFIRMED, Grade.SUSTAINED, Grade.INFERRED, Grade.ABSENT})
_OBSERVED = frozenset(
    {
        EntryType.DELETE_ANSWERED,
        EntryType.DELETE_LATE_RESULT,
        EntryType.THREAD_PREREAD,
        EntryType.THREAD_REREAD,
    }
)


@dataclass(slots=True, kw_only=True)
class Trail:
    """Remembers intents and observations, and judges each grade by them.

    Keys are 64-bit hashes of the ids under a secret of this process, so that the trails of a million
    threads fit in memory.
    """

    _intents: dict[int, Class] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)

    def feed(self, kind: str, body: Body) -> Iterator[str]:
        """Take the next own entry and yield what is wrong with it; raises Misshapen, ValueError."""
        if kind == EntryType.DELETE_INTENDED:
            yield from self._intend(body)
        elif kind in _OBSERVED:
            self._see(text(body, "subject"), mapping(body.get("observation")))
        elif kind == EntryType.CONTROL_PROBED:
            if Control(text(body, "control")) in {Control.GOOD, Control.ROUTE_ONLY}:
                self._seen.add(hash(("control", text(body, "kind"))))
        elif kind == EntryType.THREAD_GRADED:
            yield from self._judge(body)

    def _intend(self, body: Body) -> Iterator[str]:
        if text(body, "stage") != Stage.CONTAINER:
            return
        before = mapping(body.get("before"))
        seen = Class(text(before, "class"))
        if seen is not Class.PRESENT:
            yield f"a DELETE was intended although the read before it says {seen.value}"
        self._intents[hash((text(body, "subject"), text(body, "item"), number(body, "fence")))] = seen
        self._see(text(body, "subject"), before)

    def _see(self, thread: str, observation: Body) -> None:
        if observation.get("child") is None:
            self._seen.add(hash((thread, text(observation, "class"))))

    def _judge(self, body: Body) -> Iterator[str]:
        version = number(body, "grader_version")
        if version != GRADER_VERSION:
            yield f"grader version {version} is not known here, so the grade could not be checked"
            return
        thread, stated = text(body, "subject"), text(body, "grade")
        tried = [read_tried(one) for one in items(body, "passes")]
        evidence = fold([one.saw for one in tried], reread=read_reread(body.get("reread")))
        found = grade(evidence)
        if found.value != stated:
            yield f"the grade is stated as {stated}, but what was seen supports {found.value}"
        for one in tried:
            yield from self._armed(thread, one)
        yield from self._backed(thread, body, found)

    def _armed(self, thread: str, one: Tried) -> Iterator[str]:
        if not one.saw.armed:
            return
        before = self._intents.get(hash((thread, one.item, one.fence)))
        if before is None:
            yield f"no intent for item {one.item} with fence {one.fence} stands before this grade"
        elif before is not one.saw.before:
            yield f"the intent of item {one.item} saw {before.value}, the grade says {one.saw.before.value}"

    def _backed(self, thread: str, body: Body, found: Grade) -> Iterator[str]:
        """Demand that what a grade leans on was also recorded as an observation."""
        controlled = hash(("control", text(body, "kind"))) in self._seen
        for one in map(mapping, items(body, "observations")):
            if text(one, "step") != Step.CONTROL:
                self._see(thread, one)
            elif text(one, "class") == Class.PRESENT:
                controlled = True
        if found not in _NEEDS_ABSENT_READ:
            return
        if hash((thread, Class.OBJECT_ABSENT.value)) not in self._seen:
            yield f"the grade {found.value} leans on a read that no entry holds"
        if not controlled:
            yield f"the grade {found.value} leans on a control that no entry holds"
        if found is Grade.CONFIRMED and hash((thread, Class.ACKNOWLEDGED.value)) not in self._seen:
            yield "the grade confirmed leans on an acknowledged DELETE that no entry holds"
