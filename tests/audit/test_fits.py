"""Quick answers of a schema and quick writing beside the plain: the same bytes, or refused alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audit.test_schemas import BY_TYPE, EXAMPLES, HUGE, Path, changed, parts, plain, put, written
from worker.audit.entry import BodyRefused, Entry, EntryType
from worker.audit.envelope import RESERVED, canonical, owner_commitment
from worker.audit.reading import MAX_BODY
from worker.audit.schemas import SCHEMAS, fits, flaw_in
from worker.audit.shapes import MAX_INT, MAX_STRING, Either
from worker.model.evidence import Class

SALT = bytes(16)


class Colour(Enum):
    """What the JSON library would write as its value, and no schema takes."""

    PRESENT = "present"
    ONE = 1


class Text(str):
    """A text that is not exactly one."""

    __slots__ = ()


ODD: list[object] = [
    None, True, False, 0, 1, -1, MAX_INT, MAX_INT + 1, -MAX_INT, -MAX_INT - 1, 2**70,
    1.0, -0.0, float("nan"), float("inf"),
    "", "x", 'ü\U0001f9f5"\\\x01', "\ud800", "x" * MAX_STRING, "x" * (MAX_STRING + 1), "ü" * 5000,
    "present", "2026-11-22T08:00:00Z", "2026-11-22T08:00:00.1Z\n", "٢026-11-22T08:00:00Z", "0" * 64, "F" * 64,
    Text("present"), Class.PRESENT, Colour.PRESENT, Colour.ONE, UUID(int=1), b"present", object(),
    [], (), {}, [[]], ["x"], ("x", "y"), ["x"] * 5501, [1], ["present", "good"], ("present", "good"),
    ["present"], ["present", 1], [None], {"count": 1}, {"zzz": 1}, {1: 2}, MappingProxyType({"count": 1}),
]  # fmt: skip
NAMES = [*sorted(RESERVED), "zzz", "Key", "", "reason", "count", 1]


def drop(holder: Any, last: Any) -> None:
    del holder[last]


def add(name: object, value: object) -> Callable[[Any, Any], None]:
    def change(holder: Any, last: Any) -> None:
        if isinstance(holder[last], dict):
            holder[last][name] = value

    return change


def outcome(write: Callable[[Entry], bytes], entry: Entry) -> bytes | tuple[str, str | None]:
    """Return the body's bytes, or what was refused and its repair."""
    try:
        return write(entry)
    except BodyRefused as refused:
        # Which of the texts is bad is said by whoever meets it first.
        return ("Unicode", None) if "Unicode" in refused.problem else (refused.problem, refused.repair)


def plainly(entry: Entry) -> bytes:
    """Write a body as slowly as it can be said: the schema in words, then the profile value by value."""
    if taken := sorted(RESERVED & entry.body.keys()):
        raise BodyRefused(f"The body names {taken}, which the entry itself writes.")
    if flaw := flaw_in(entry.type, entry.body):
        repair = "Its schema is in worker/audit/schemas.py."
        raise BodyRefused(f"The body of {entry.type} {flaw}.", repair=repair)
    owner = entry.body.get("owner")
    try:
        owned = {"owner_commitment": owner_commitment(SALT, owner)} if isinstance(owner, str) else {}
    except UnicodeEncodeError as e:
        raise BodyRefused("Unicode") from e
    kept = {"actor": entry.actor, "project": entry.project, "subject": entry.subject, **owned}
    body = canonical({**entry.body, **kept, "salt": SALT.hex(), "type": entry.type.value})
    if len(body) > MAX_BODY:
        raise BodyRefused(f"The body of {entry.type} has {len(body)} bytes; {MAX_BODY} is the limit.")
    return body


def quickly(entry: Entry) -> bytes:
    return written(entry).body


@st.composite
def mutated(draw: st.DrawFn, entry: Entry) -> Entry:
    """Return the entry with one to three things done to its body, at any depth."""
    for _ in range(draw(st.integers(1, 3))):
        ways: list[Path] = [path for path, _ in parts(plain(entry.body))]
        path = draw(st.sampled_from(ways))
        odd = draw(st.sampled_from(ODD) | st.text(max_size=30) | st.integers())
        changes = [add(draw(st.sampled_from(NAMES)), odd)]
        if path:
            changes += [put(odd), drop]
        entry = changed(entry, path, draw(st.sampled_from(changes)))
    return entry


@pytest.mark.parametrize("type_", EntryType)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_quick_and_plain_write_the_same_bytes_or_refuse_the_same(
    type_: EntryType, data: st.DataObject
) -> None:
    entry = data.draw(mutated(BY_TYPE[type_]))
    assert outcome(quickly, entry) == outcome(plainly, entry)


@pytest.mark.parametrize("entry", EXAMPLES, ids=lambda entry: entry.type.value)
def test_quick_and_plain_agree_on_every_odd_value_at_every_place(entry: Entry) -> None:
    """Each place takes each kind of value once, so that no check's quick question is left to chance."""
    for path, _ in list(parts(plain(entry.body)))[1:]:
        for odd in ODD:
            tried = changed(entry, path, put(odd))
            flaw = flaw_in(entry.type, tried.body)
            if fits(entry.type, tried.body):
                assert flaw is None or "is the limit" in flaw or "beyond 2^53" in flaw, (path, odd)
            assert outcome(quickly, tried) == outcome(plainly, tried), (path, odd)


def test_quick_and_plain_agree_on_how_long_a_list_may_be() -> None:
    for entry in EXAMPLES:
        for path, value in parts(plain(entry.body)):
            if isinstance(value, list) and value:
                for times in (8, 9, 12, 13, 60):
                    tried = changed(entry, path, put(value[:1] * times))
                    assert outcome(quickly, tried) == outcome(plainly, tried), (entry.type, path, times)


def test_what_the_builders_make_is_answered_quickly_and_written_alike() -> None:
    for entry in (*EXAMPLES, *HUGE):
        assert fits(entry.type, entry.body), entry.type
        assert quickly(entry) == plainly(entry)


def test_no_schema_knows_a_name_that_the_entry_itself_writes() -> None:
    """So a quick answer is none for a body that names one."""
    for schema in SCHEMAS.values():
        for form in (schema.having, schema.lacking) if isinstance(schema, Either) else (schema,):
            assert RESERVED.isdisjoint({*form.required, *form.optional})


ABOUT: list[dict[str, Any]] = [{"project": None}, {"subject": None}, {"project": '"ü', "subject": "\\"}]


@pytest.mark.parametrize("about", ABOUT, ids=repr)
def test_an_envelope_put_together_is_what_the_json_library_writes(about: dict[str, Any]) -> None:
    for entry in EXAMPLES:
        envelope = written(replace(entry, **about)).envelope
        assert envelope == canonical(json.loads(envelope))
