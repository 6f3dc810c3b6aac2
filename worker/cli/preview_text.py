"""A preview for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from worker.cli.output import Record, printable
from worker.cli.preview_words import (
    HORIZONS,
    MOST_OVERLAPS,
    affected,
    and_more,
    arrow,
    by_project,
    guard_text,
    guards_of,
    ids_of,
    next_step,
    outcome_of,
    overlap_text,
    rules_of,
    unaffected,
    verdict,
)

_MOST_CHANGES = 40


def text_lines(made: Record) -> Iterator[str]:
    """Yield the preview for a terminal."""
    yield f"Preview {made['id']} at {made['snapshot_at']}: {verdict(made)}"
    yield f"proposed  {_side(made['head'])}"
    yield f"in force  {_side(made['base'])}"
    if not made["changed"]:
        yield "Nothing changes: both bundles mean the same."
        return
    yield ""
    shown = sorted(made["changes"][:_MOST_CHANGES], key=_document)
    for document, changes in groupby(shown, key=_document):
        yield printable(document)
        for change in changes:
            yield printable(f"  {change['line']}")
    yield from and_more(len(made["changes"]) - _MOST_CHANGES + made["more_changes"], "changes")
    yield ""
    for one in affected(made):
        yield from _policy(made, one)
    yield from _sums(made)
    yield ""
    if made["awaiting"]:
        which = "this bundle" if made["awaiting"] == made["head"]["digest"] else made["awaiting"]
        yield f"The policies folder of the service holds {which}, which waits for an approval."
    yield next_step(made)


def _policy(made: Record, one: Record) -> Iterator[str]:
    yield one["policy"]
    for key, title in HORIZONS:
        why = f"   {by_project(one, key)}" if key == "now" else ""
        yield f"  due {title:<8} {arrow(one['due'][key])}{why}".rstrip()
    yield f"  dates        {one['earlier']} earlier, {one['later']} later"
    for guard in guards_of(made, one["policy"]):
        yield f"  guard        {guard_text(guard)}"


def _document(change: Record) -> str:
    return f"{change['document']} ({change['source']})" if change["source"] else str(change["document"])


def _sums(made: Record) -> Iterator[str]:
    removed = made["protection_removed"]
    if removed["threads"]:
        yield f"protection removed  {removed['threads']}   ({rules_of(removed)}: {ids_of(removed)})"
    if made["newly_due"]["threads"]:
        yield f"newly due now       {made['newly_due']['threads']}   ({ids_of(made['newly_due'])})"
    for name in ("UNMANAGED", "NOTIFY", "UNKNOWN"):
        before, after = outcome_of(made, name)
        if before or after:
            yield f"{name.lower():<19} {before} -> {after}"
    yield f"held                {made['held']}   unaffected {unaffected(made)}"
    for overlap in made["overlaps"][:MOST_OVERLAPS]:
        yield f"overlap             {overlap_text(overlap)}"


def _side(side: Record) -> str:
    commit = f" at commit {side['commit']}" if side["commit"] else ""
    return f"{side['digest']}{commit}" if side["digest"] else "nothing yet"
