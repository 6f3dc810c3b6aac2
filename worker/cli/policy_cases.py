"""Reading the tests beside policies (`*.test.yaml`).

Shape: `now`; `threads`; optionally `holds`, `erasures` and `notices`; and `expect`, of which only given keys
are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from worker.model.clock import parse_rfc3339, rfc3339
from worker.model.decision import Circumstances, Erasure, Hold, HoldScope, Notice, Outcome, TagSelector
from worker.model.ids import HoldId, ThreadId
from worker.model.thread import Kind, Thread, ThreadState
from worker.policy.findings import Notes, Refused
from worker.policy.nodes import MapNode, Node, ScalarNode, documents
from worker.policy.readers import Fields, Reader, choice, glob, list_of, scalar
from worker.policy.readers import Path as At

T = TypeVar("T")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
COMPARED = ("outcome", "decided_by", "eligible_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What is expected of one thread; ``wanted`` holds the given keys only."""

    id: str
    wanted: Mapping[str, str | None]
    node: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One document of a test file."""

    now: datetime
    threads: Sequence[tuple[Thread, Node]]
    circumstances: Circumstances
    expect: Sequence[Expectation]


def read_cases(text: str, notes: Notes) -> list[Case]:
    """Return the cases of one file that could be read; every problem is noted, none raised."""
    found: list[Case] = []
    for node in documents(text, notes):
        try:
            found.append(_case(node, At(notes=notes)))
        except Refused:
            continue
    return found


def _case(node: Node, at: At) -> Case:
    fields = Fields(node, at)
    now = fields.required("now", _instant)
    threads = fields.required("threads", list_of(_thread_at(now)))
    holds = fields.optional("holds", list_of(_hold), ())
    erasures = fields.optional("erasures", list_of(_erasure), ())
    notices = fields.optional("notices", list_of(_notice), ())
    expect = fields.required("expect", list_of(_expectation))
    fields.done()
    _check_distinct(threads, at)
    return Case(
        now=now,
        threads=threads,
        circumstances=Circumstances(holds=holds, erasures=erasures, notices=_by_thread(notices)),
        expect=expect,
    )


def _check_distinct(threads: Sequence[tuple[Thread, Node]], at: At) -> None:
    known: set[str] = set()
    for thread, node in threads:
        if thread.id in known:
            raise at.notes.error(node, "RP001", f'two threads have the id "{thread.id}".', "Rename one.")
        known.add(thread.id)


def _thread_at(now: datetime) -> Reader[tuple[Thread, Node]]:
    """Make a reader of threads; one of which no date is told was registered just now."""

    def read(node: Node, at: At) -> tuple[Thread, Node]:
        fields = Fields(node, at)
        id_ = fields.required("id", _text)
        created_at = fields.optional("created_at", _maybe(_instant), None)
        registered_at = fields.optional("registered_at", _maybe(_instant), None)
        thread = Thread(
            id=ThreadId(id_),
            project=fields.required("project", _text),
            owner=fields.required("owner", _text),
            kind=fields.required("kind", choice(Kind)),
            external_id=fields.optional("external_id", _maybe(_text), None) or id_,
            tags=fields.optional("tags", _tags, {}),
            ttl=fields.optional("ttl", _maybe(_text), None),
            state=fields.optional("state", choice(ThreadState), ThreadState.LIVE),
            created_at=created_at,
            registered_at=registered_at or created_at or now,
            last_activity_at=fields.optional("last_activity_at", _maybe(_instant), None),
        )
        fields.done()
        return thread, node

    return read


def _hold(node: Node, at: At) -> Hold:
    fields = Fields(node, at)
    matter = fields.required("matter", _text)
    scope = fields.required("scope", _scope)
    fields.done()
    return Hold(id=HoldId(matter), matter=matter, scope=scope)


def _scope(node: Node, at: At) -> HoldScope:
    fields = Fields(node, at)
    scope = HoldScope(
        ids=fields.optional("ids", list_of(_text), ()),
        owners=fields.optional("owners", list_of(glob), ()),
        projects=fields.optional("projects", list_of(glob), ()),
        tags=fields.optional("tags", list_of(_selector), ()),
    )
    fields.done()
    if scope == HoldScope():
        raise at.notes.error(
            node, "RP009", "the scope of a hold is empty.", "Give ids, owners, projects or tags."
        )
    return scope


def _selector(node: Node, at: At) -> TagSelector:
    fields = Fields(node, at)
    key, operator = fields.required("key", _text), fields.required("operator", _operator)
    values = fields.optional("values", list_of(_text), ())
    fields.done()
    if bool(values) != (operator in {"In", "NotIn"}):
        raise at.notes.error(node, "RP013", "In and NotIn need values; Exists and DoesNotExist take none.")
    return TagSelector(key=key, operator=operator, values=values)


def _operator(node: Node, at: At) -> str:
    word = _text(node, at)
    if word not in {"In", "NotIn", "Exists", "DoesNotExist"}:
        raise at.notes.error(
            node, "RP013", f'operator "{word}" unknown.', "In, NotIn, Exists or DoesNotExist."
        )
    return word


def _erasure(node: Node, at: At) -> Erasure:
    fields = Fields(node, at)
    owner = fields.optional("owner", _maybe(_text), None)
    ids = fields.optional("ids", list_of(_text), ())
    instant = fields.required("at", _instant)
    fields.done()
    if (owner is None) == (not ids):
        raise at.notes.error(node, "RP025", "an erasure names either an owner or ids.")
    return Erasure(at=instant, owner=owner, ids=ids)


def _notice(node: Node, at: At) -> Notice:
    fields = Fields(node, at)
    notice = Notice(
        thread_id=ThreadId(fields.required("id", _text)),
        at=fields.required("at", _instant),
        promised=fields.optional("promised", _maybe(_instant), None),
    )
    fields.done()
    return notice


def _by_thread(notices: Sequence[Notice]) -> dict[ThreadId, tuple[Notice, ...]]:
    found: dict[ThreadId, tuple[Notice, ...]] = {}
    for one in notices:
        found[one.thread_id] = (*found.get(one.thread_id, ()), one)
    return found


def _expectation(node: Node, at: At) -> Expectation:
    fields = Fields(node, at)
    id_ = fields.required("id", _text)
    outcome = fields.optional("outcome", choice(Outcome), None)
    decided_by = fields.optional("decided_by", _maybe(_text), None)
    eligible_at = fields.optional("eligible_at", _maybe(_instant), None)
    fields.done()
    values = (outcome, decided_by, rfc3339(eligible_at) if eligible_at else None)
    wanted = {key: value for key, value in zip(COMPARED, values, strict=True) if fields.has(key)}
    if not wanted:
        raise at.notes.error(node, "RP024", f"nothing is expected of {id_}.", f"Give {', '.join(COMPARED)}.")
    return Expectation(id=id_, wanted=wanted, node=node)


def _text(node: Node, at: At) -> str:
    # Quotes do not matter here: nothing in a test is deleted by a value that reads as something else.
    return scalar(node, at).text


def _instant(node: Node, at: At) -> datetime:
    found = scalar(node, at)
    try:
        return parse_rfc3339(found.text)
    except ValueError:
        what = f'{at.label} must be an instant, and "{found.text}" is none.'
        raise at.notes.error(node, "RP025", what, 'Write it like "2026-11-22T00:00:00Z".') from None


def _maybe(reader: Reader[T]) -> Reader[T | None]:
    """Read what may also be null."""

    def read(node: Node, at: At) -> T | None:
        is_null = isinstance(node, ScalarNode) and node.plain and node.text in _NULLS
        return None if is_null else reader(node, at)

    return read


def _tags(node: Node, at: At) -> dict[str, str]:
    if not isinstance(node, MapNode):
        raise at.notes.error(node, "RP025", f"{at.label} must be a mapping.", "Write {key: value}.")
    return {key.text: _text(value, at.down(key.text)) for key, value in node.entries}
