"""What the verifier demands of an epoch's first leaf: it says what the log follows, and what it may lack."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from worker.audit.entry import EntryType
from worker.audit.merkle import Frontier
from worker.audit.reading import Body, Misshapen, load, mapping, number, parse_envelope, text

# The keys of an envelope are sorted, so that its type stands at its end.
_ENDS = f'"type":"{EntryType.LOG_EPOCH.value}","v":1}}'.encode()


def begins(raw: bytes) -> bool:
    """Tell whether an envelope is an epoch's first leaf."""
    return raw.endswith(_ENDS)


def judge(
    index: int, raw: bytes, body: bytes | None, *, before: Frontier | None, tell: Callable[[str], None]
) -> Iterator[str]:
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
        yield from _compare(index, load(body), before, tell)
    except Misshapen as broken:
        yield broken.problem


def _compare(index: int, fields: Body, before: Frontier | None, tell: Callable[[str], None]) -> Iterator[str]:
    anchored, held = mapping(fields.get("anchored")), mapping(fields.get("held"))
    stated = number(held, "size"), text(held, "root")
    if stated != (index, stated[1] if before is None else before.root().hex()):
        yield "the epoch says that it follows another tree than the leaves before it"
    agreed, size, root = number(fields, "agreed"), number(anchored, "size"), text(anchored, "root")
    tell(
        f"Entry {index} opens the epoch {text(fields, 'origin')} ({text(fields, 'reason')}). It follows "
        f"{text(anchored, 'origin')}, anchored at size {size} with root {root[:16]}...; behind entry "
        f"{agreed} that tree may have held others."
    )
