"""A comparison as lines for a person, in the shape that Terraform's plans made familiar."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from worker.policy.compare import Change, Comparison
from worker.policy.effects import Effect

_SHOWN = 200


def comparison_lines(comparison: Comparison) -> tuple[str, ...]:
    """Return a heading for each document, a line for each change, and a sum."""
    if not comparison.changed:
        return ("Nothing changes: both bundles mean the same.",)
    return (*_body(comparison), _sum(comparison))


def _body(comparison: Comparison) -> Iterator[str]:
    for document, changes in groupby(comparison.changes, key=lambda change: change.document):
        listed = list(changes)
        source = next((change.source for change in listed if change.source), None)
        yield f"{document} ({source})" if source else document
        for change in listed:
            yield f"  {change_line(change)}"


def change_line(change: Change) -> str:
    """Return ``~ path  before -> after   # effect: why``, with ``+`` and ``-`` for what comes and goes."""
    return f"{_sign(change)} {change.path}  {_values(change)}   # {change.effect}: {change.why}"


def _sign(change: Change) -> str:
    if change.before is None:
        return "+"
    return "-" if change.after is None else "~"


def _values(change: Change) -> str:
    return " -> ".join(_clipped(value) for value in (change.before, change.after) if value is not None)


def _clipped(value: str) -> str:
    """Show a value on one line: a document may hold line breaks and characters that steer a terminal."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."


def _sum(comparison: Comparison) -> str:
    counts = {effect: sum(change.effect is effect for change in comparison.changes) for effect in Effect}
    said = ", ".join(f"{count} {effect}" for effect, count in counts.items())
    needs = "It needs approval." if comparison.loosening else "It needs no approval."
    return f"{said}. {needs}"
