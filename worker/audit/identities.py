"""What a thread is by its entries: its kind and external id never change, its owner only by an entry."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from worker.audit.entry import EntryType
from worker.audit.grades import is_comparable
from worker.audit.reading import Body, items, mapping, text, texts

_CHANGED = EntryType.THREAD_CHANGED.value
_WHO = texts("kind", "external_id", "owner")
_CUT = "…"
_SAME: tuple[Sequence[str], Sequence[str]] = (), ()
# There are not more fields that change (schemas); a hostile entry could name one over and over.
_MOST_CHANGES = 8


@dataclass(slots=True, kw_only=True)
class Identities:
    """Holds what entries tell of a thread against what those before them told.

    Threads are numbers (pseudonyms). What is told is kept as a 64-bit hash under a secret of this process.
    """

    # By number; 0 where nothing was told yet, or an external id that no observation tells for sure.
    _objects: array[int] = field(default_factory=lambda: array("q"))
    _ids: array[int] = field(default_factory=lambda: array("q"))
    _owners: array[int] = field(default_factory=lambda: array("q"))
    # Of the few whose owner was changed: all that were told. None stands for any, where one was cut.
    _more: dict[int, set[int] | None] = field(default_factory=dict)

    def feed(self, kind: str, thread: int, body: Body) -> tuple[Sequence[str], Sequence[str]]:
        """Take an entry about a thread and give what differs of itself, and of its owner; raises Misshapen.

        An entry that changed the owner may be missing, so the second may be excused.
        """
        if "external_id" not in body:
            return _SAME
        what, external_id, owner = _WHO(body)
        if thread >= len(self._objects):
            more = [0] * (thread + 1 - len(self._objects))
            for one in (self._objects, self._ids, self._owners):
                one.extend(more)
        if not self._objects[thread] and is_comparable(external_id):
            self._ids[thread] = hash(external_id)
        stranger = self._change(thread, body) if kind == _CHANGED else False
        same, told = hash((what, external_id)) or 1, hash(owner) or 1
        # Entries of a claim may still tell the owner of before a change, so the first one stays.
        before = self._objects[thread] or same, self._owners[thread] or told
        self._objects[thread], self._owners[thread] = before
        if before == (same, told) and not stranger:
            return _SAME
        return (
            () if before[0] == same else ("the kind or external id is another than before",),
            ()
            if not stranger and (before[1] == told or self._was_owner(thread, told))
            else ("the owner is another than before, and no entry changed it",),
        )

    def may_be(self, thread: int, subject: object) -> bool:
        """Tell whether an observation's subject may be this thread; not where both are surely told."""
        known = self._ids[thread] if thread < len(self._ids) else 0
        return not known or subject is None or hash(subject) == known

    def _was_owner(self, thread: int, told: int) -> bool:
        more = self._more.get(thread, ())
        return more is None or told in more

    def _change(self, thread: int, body: Body) -> bool:
        """Take a change of owner; tells whether it is from somebody who was not the owner."""
        stranger = False
        for one in map(mapping, items(body, "changes")[:_MOST_CHANGES]):
            if text(one, "field") != "owner":
                continue
            pair = [text(one, "from"), text(one, "to")]
            former = hash(pair[0]) or 1
            known = self._owners[thread] in {0, former} or self._was_owner(thread, former)
            stranger = stranger or not (known or pair[0].endswith(_CUT))
            more = self._more.setdefault(thread, set())
            if more is None or any(owner.endswith(_CUT) for owner in pair):
                self._more[thread] = None
            else:
                more.update(hash(owner) or 1 for owner in pair)
        return stranger
