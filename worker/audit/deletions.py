"""``deletions.csv``: one row per graded entry of the window, derived from the bodies alone.

A view for people, not evidence: the verifier builds it again from the bodies and compares every byte.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence

from worker.audit.reading import Body, items, mapping, number, text, text_or_none, texts
from worker.model.evidence import Class, Grade, Step

_STEPS = ("before", "delete", "after", "control", "reread")
_SEEN = ("class", "status", "request_id", "at")
HEADER = (
    *("entry", "graded_at", "project", "thread", "kind", "external_id", "owner"),
    *("grade", "may_be_called_deleted", "grader_version", "attempts"),
    *("policy", "sweep", "bundle", "item", "fence", "eligible_at"),
    *("provider", "base_url", "credential"),
    *(f"{step}_{what}" for step in _STEPS for what in _SEEN),
    *("absent_at", "children", "later_read_class", "later_read_control"),
)
_FORMULA = frozenset("=+-@\t\r\n\0")
_UNSEEN = ("", "", "", "")
_WHOSE = texts("project", "subject", "kind", "external_id", "owner")
_WHY = texts("policy", "sweep", "bundle", "item")
_ABSENT = Class.OBJECT_ABSENT.value
# Neither reads the thread.
_OTHER_STEPS = frozenset({Step.CONTROL.value, Step.DELETE.value})
_MAY_BE_CALLED = frozenset(one.value for one in Grade if one.deleted)


class _Echo:
    """Hands a written row back, so that one writer serves all rows."""

    def write(self, row: str) -> str:
        return row


_WRITER = csv.writer(_Echo(), lineterminator="\r\n")


def rows(graded: Iterable[tuple[int, str, Body]]) -> Iterator[tuple[str, ...]]:
    """Turn graded entries (leaf index, envelope time, body) into rows; raises Misshapen."""
    for index, at, body in graded:
        yield row(index, at, body)


def row(index: int, at: str, body: Body) -> tuple[str, ...]:
    """Return one row in the order of ``HEADER``; raises Misshapen."""
    account = mapping(body["account"]) if body.get("account") is not None else {}
    grade = text(body, "grade")
    observations = [mapping(one) for one in items(body, "observations")]
    passes = items(body, "passes")
    return (
        *(str(index), at, *_WHOSE(body)),
        *(grade, _yes(grade), str(number(body, "grader_version")), str(number(body, "attempts"))),
        *_WHY(body),
        *(str(number(body, "fence")), text_or_none(body, "eligible_at") or ""),
        *(text_or_none(account, "provider") or "", text_or_none(account, "base_url") or ""),
        text(body, "credential"),
        *_observed(observations),
        _absent_at(observations),
        text(mapping(passes[-1]), "children") if passes else "",
        *_reread(body),
    )


def csv_text(lines: Iterable[Sequence[str]]) -> str:
    """Write header and rows (RFC 4180, CRLF), each cell safe to open in a spreadsheet."""
    return line(HEADER) + "".join(line(cells) for cells in lines)


def line(cells: Sequence[str]) -> str:
    """Write one row, CRLF included."""
    plain = ",".join(cells)
    # No cell needs quotation marks or an apostrophe: the writer would give the same bytes.
    if plain and plain.count(",") == len(cells) - 1 and not _marked(plain):
        return f"{plain}\r\n"
    written: str = _WRITER.writerow([guard(cell) for cell in cells])
    return written


def _marked(plain: str) -> bool:
    """Tell whether there is a quotation mark, a line's end, or what may begin a formula.

    Such a mark may stand elsewhere in a cell, all but the hyphen, of which instants are full.
    """
    return (
        ('"' in plain or "\r" in plain or "\n" in plain or "\t" in plain or "\0" in plain)
        or ("=" in plain or "+" in plain or "@" in plain)
        or (",-" in plain or plain[0] == "-")
    )


def guard(cell: str) -> str:
    """Put an apostrophe before what a spreadsheet would run as a formula."""
    return f"'{cell}" if cell[:1] in _FORMULA else cell


def _yes(grade: str) -> str:
    return "yes" if grade in _MAY_BE_CALLED else "no"


def _observed(observations: Sequence[Body]) -> list[str]:
    newest = {text(one, "step"): one for one in observations}
    cells: list[str] = []
    for step in _STEPS:
        seen = newest.get(step)
        cells += _UNSEEN if seen is None else _cells(seen)
    return cells


def _cells(seen: Body) -> tuple[str, str, str, str]:
    get = seen.get
    word, status, request, at = get("class"), get("status"), get("request_id"), get("at")
    if type(word) is str and type(request) is str and type(at) is str and type(status) is int:
        return word, str(status), request, at
    told = text_or_none(seen, "class"), text_or_none(seen, "request_id"), text_or_none(seen, "at")
    code = "" if status is None else str(number(seen, "status"))
    return told[0] or "", code, told[1] or "", told[2] or ""


def _absent_at(observations: Sequence[Body]) -> str:
    """Return when the thread was last read absent: the instant for which anything is claimed."""
    seen = [
        one for one in observations if one.get("class") == _ABSENT and text(one, "step") not in _OTHER_STEPS
    ]
    return text(seen[-1], "at") if seen else ""


def _reread(body: Body) -> tuple[str, str]:
    if body.get("reread") is None:
        return "", ""
    later = mapping(body["reread"])
    return text(later, "class"), text(later, "control")
