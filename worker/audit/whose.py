"""Whether single entries are of the owner, or the erasure order, that their bundle says they are of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from worker.audit import manifest
from worker.audit.entry import EntryType
from worker.audit.manifest import Manifest
from worker.audit.reading import Body, items, mapping, text

_CHANGED, _ORDERED, _ANSWERED = (
    EntryType.THREAD_CHANGED.value,
    EntryType.ERASURE_ORDERED.value,
    EntryType.ERASURE_ANSWERED.value,
)
_CUT = "…"


@dataclass(slots=True, kw_only=True)
class Whose:
    """Holds single entries to what ``stated`` says they are of. Of a project's whole range it asks nothing.

    An owner's threads are those that the owner answers for, so each names the owner somewhere: at its
    registration, or where it changed hands. Threads are numbers (pseudonyms); a bundle has 50,000 entries.
    """

    stated: Manifest
    # Threads that do not name the owner yet, and the leaf that told of each first; and those that do.
    _strange: dict[int, int] = field(default_factory=dict)
    _named: set[int] = field(default_factory=set)
    _ordered: bool = False

    def feed(self, index: int, kind: str, thread: int | None, body: Body) -> Iterator[str]:
        """Take an entry of the project, or of none, and give what is wrong with it; raises Misshapen."""
        scope = self.stated.scope
        if thread is None:
            if scope == manifest.ERASURE and kind in {_ORDERED, _ANSWERED}:
                if text(body, "erasure") != self.stated.of:
                    yield "the entry is of another erasure order"
                self._ordered = self._ordered or kind == _ORDERED
            elif scope != manifest.PROJECT:
                yield f"the entry is of none of the threads of this {scope}"
        elif scope == manifest.OWNER and thread not in self._named:
            if any(map(self._is_owner, _owners(kind, body))):
                self._named.add(thread)
                self._strange.pop(thread, None)
            else:
                self._strange.setdefault(thread, index)

    def lacking(self) -> Iterator[tuple[str, int | None, str]]:
        """Yield (member, leaf, what) of what all entries together do not hold.

        A thread whose owner no entry names may have lost the one that did, and so may an order: then the
        manifest states that bodies are gone, one at least for each.
        """
        missing = [*sorted(self._strange.values()), *([None] if self._lacks_order else [])]
        if len(missing) <= self.stated.gone:
            return
        for index in missing:
            if index is None:
                yield manifest.MANIFEST, None, "the order itself is not here, and not stated as gone"
            else:
                yield manifest.BODIES, index, "no entry of this thread names the owner whose it should be"

    @property
    def _lacks_order(self) -> bool:
        return self.stated.scope == manifest.ERASURE and not self._ordered

    def _is_owner(self, told: object) -> bool:
        of = self.stated.of or ""
        if not isinstance(told, str):
            return False
        # A long name is cut where it changed (fields.said).
        return told == of or (told.endswith(_CUT) and of.startswith(told.removesuffix(_CUT)))


def _owners(kind: str, body: Body) -> Iterator[object]:
    """Yield the owners that an entry about a thread states."""
    yield body.get("owner")
    if kind != _CHANGED:
        return
    for one in map(mapping, items(body, "changes")):
        if text(one, "field") == "owner":
            yield one.get("from")
            yield one.get("to")
