"""What the verifier demands of an epoch's first leaf: it says what the log follows, and what it may lack."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf

from worker.audit.entry import EntryType
from worker.audit.merkle import Frontier
from worker.audit.reading import Body, Misshapen, load, mapping, number, parse_envelope, text

# The keys of an envelope are sorted, so that its type stands at its end.
_ENDS = f'"type":"{EntryType.LOG_EPOCH.value}","v":1}}'.encode()
_SECOND = 2
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def begins(raw: bytes) -> bool:
    """Tell whether an envelope is an epoch's first leaf."""
    return raw.endswith(_ENDS)


@dataclass(slots=True, kw_only=True)
class Epochs:
    """Judges the epochs of a bundle in order; ``number`` is that of the newest, 1 where none was opened."""

    tell: Callable[[str], None]
    number: int = 1

    def judge(self, index: int, raw: bytes, body: bytes | None, *, before: Frontier | None) -> Iterator[str]:
        """Yield what is wrong with an epoch's first leaf; tell what it says.

        ``before`` is the tree before it, None in a bundle of single entries, which does not hold that tree.
        Its body belongs to no project and to every export, so that nobody can leave out what is missing.
        """
        try:
            envelope = parse_envelope(raw)
            if body is None:
                yield "the body of an epoch's first leaf is missing: nobody could tell what the log lacks"
                return
            if envelope.project is not None or hashlib.sha256(body).hexdigest() != envelope.body:
                yield "the body is not the one whose digest the envelope holds"
                return
            yield from self._compare(index, load(body), before)
        except Misshapen as broken:
            yield broken.problem

    def is_of(self, origin: str) -> bool:
        """Tell whether a checkpoint of this origin is of the newest epoch, as far as one was opened here.

        The setting that the origin is made of may be changed later, so the number alone is compared.
        """
        return self.number < _SECOND or origin.endswith(f"/{self.number}")

    def _compare(self, index: int, fields: Body, before: Frontier | None) -> Iterator[str]:
        anchored, held = mapping(fields.get("anchored")), mapping(fields.get("held"))
        stated = number(held, "size"), text(held, "root")
        if stated != (index, stated[1] if before is None else before.root().hex()):
            yield "the epoch says that it follows another tree than the leaves before it"
        agreed, size, root = number(fields, "agreed"), number(anchored, "size"), text(anchored, "root")
        origin, origins = text(fields, "origin"), (text(anchored, "origin"), text(held, "origin"))
        opened = number(fields, "number")
        if opened <= self.number:
            yield f"the epoch has the number {opened}, and {self.number} came before it"
        elif not _follows(origin, opened, origins):
            yield f"the epoch's origin is not that of number {opened} of the log that it follows"
        # A tree of another epoch may be shorter than what was anchored of the one before.
        if agreed > index or (origins[0] == origins[1] and agreed > size):
            yield f"the epoch says that both trees agree up to {agreed}, where one of them ends before"
        self.number = max(self.number, opened)
        self.tell(
            f"Entry {index} opens the epoch {origin} ({text(fields, 'reason')}). It follows {origins[0]}, "
            f"anchored at size {size} with root {root[:16]}...; behind entry {agreed} that tree may have "
            "held others."
        )


def _follows(origin: str, opened: int, others: tuple[str, ...]) -> bool:
    """Tell whether an origin is ``BASE/number``, and the others of the same base and of lower numbers."""
    base, slash, tail = origin.rpartition("/")
    if not base or not slash or tail != str(opened):
        return False
    return all(one == base or _number_of(base, one) < opened for one in others)


def _number_of(base: str, origin: str) -> float:
    """Return which epoch of the log ``base`` an origin names; infinity where it is another log's."""
    head, _, tail = origin.rpartition("/")
    return int(tail) if head == base and _NUMBER.fullmatch(tail) else inf
