"""What a thread is by its entries: kind, external id and account never change, its owner only by an entry."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from worker.audit.entry import EntryType
from worker.audit.grades import is_comparable
from worker.audit.reading import Body, Misshapen, items, mapping, text, texts

_CHANGED = EntryType.THREAD_CHANGED.value
_ACCOUNT = texts("base_url", "organization", "provider", "provider_project")
_WHO = texts("kind", "external_id", "owner")
_CUT = "…"
_NOTHING = object()
_SAME: tuple[Sequence[str], Sequence[str]] = (), ()
# There are not more fields that change (schemas); a hostile entry could name one over and over.
_MOST_CHANGES = 8


@dataclass(slots=True, kw_only=True)
class Identities:
    """Holds what entries tell of a thread against what those before them told.

    Threads are numbers (pseudonyms). What is told is kept as a 64-bit hash under a secret of this process.
    """

    # By number; 0 where nothing was told yet, or an external id that no observation tells for sure. Until an
    # entry tells what the thread is, its id is that of its first observation.
    _objects: array[int] = field(default_factory=lambda: array("q"))
    _ids: array[int] = field(default_factory=lambda: array("q"))
    _owners: array[int] = field(default_factory=lambda: array("q"))
    _accounts: array[int] = field(default_factory=lambda: array("q"))
    # The account that was read last, which most threads share, and its hash.
    _account: tuple[object, int] = (_NOTHING, 0)
    # Of the few whose owner was changed: all that were told. None stands for any, where one was cut.
    _more: dict[int, set[int] | None] = field(default_factory=dict)

    def feed(self, kind: str, thread: int, body: Body) -> tuple[Sequence[str], Sequence[str]]:
        """Take an entry about a thread and give what differs of itself, and of its owner; raises Misshapen.

        An entry that changed the owner may be missing, so the second may be excused.
        """
        if "external_id" not in body:
            return _SAME
        what, external_id, owner = _WHO(body)
        self._make_room(thread)
        account = self._hash_of_account(body.get("account"))
        stranger = self._change(thread, body) if kind == _CHANGED else False
        same, told = hash((what, external_id)) or 1, hash(owner) or 1
        strange = self._objects[thread] == 0 and self._begin(thread, external_id)
        # Entries of a claim may still tell the owner of before a change, so the first one stays.
        before = self._objects[thread] or same, self._owners[thread] or told
        where = self._accounts[thread] or account
        self._objects[thread], self._owners[thread] = before
        self._accounts[thread] = where
        if before == (same, told) and where == account and not (stranger or strange):
            return _SAME
        return (
            ()
            if before[0] == same and where == account and not strange
            else ("the kind, external id or account is another than before",),
            ()
            if not stranger and (before[1] == told or self._was_owner(thread, told))
            else ("the owner is another than before, and no entry changed it",),
        )

    def may_be(self, thread: int, subject: object) -> bool:
        """Tell whether an observation's subject may be this thread; not where both are surely told."""
        if subject is None:
            return True
        if not isinstance(subject, str):
            raise Misshapen("The subject of an observation is no text.")
        self._make_room(thread)
        known = self._ids[thread]
        if known:
            return hash(subject) == known
        if not self._objects[thread] and is_comparable(subject):
            self._ids[thread] = hash(subject)
        return True

    def twins(self) -> Iterator[int]:
        """Yield the numbers of threads that are the object of another one: an object is registered once."""
        twice = {one for one, after in pairwise(sorted(self._objects)) if one == after and one}
        met = set[int]()
        for thread, one in enumerate(self._objects) if twice else ():
            if one in met:
                yield thread
            elif one in twice:
                met.add(one)

    def _make_room(self, thread: int) -> None:
        if thread >= len(self._objects):
            more = [0] * (thread + 1 - len(self._objects))
            for one in (self._objects, self._ids, self._owners, self._accounts):
                one.extend(more)

    def _begin(self, thread: int, external_id: str) -> bool:
        """Take the external id that is told first; tells whether observations before it were of another."""
        seen = self._ids[thread]
        self._ids[thread] = hash(external_id) if is_comparable(external_id) else 0
        return bool(seen and self._ids[thread]) and seen != self._ids[thread]

    def _hash_of_account(self, told: object) -> int:
        known, found = self._account
        if told is not known:
            found = hash(_ACCOUNT(mapping(told))) if told is not None else 1
            self._account = told, found
        return found

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
