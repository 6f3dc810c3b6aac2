from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from worker.audit.entry import BodyRefused, Entry, EntryType, Json
from worker.audit.envelope import (
    Leaf,
    canonical,
    make_leaf,
    owner_commitment,
    project_pseudonym,
    subject_pseudonym,
)
from worker.audit.merkle import leaf_hash
from worker.audit.reading import MAX_BODY, Misshapen, load, parse_envelope

AT = datetime(2026, 11, 22, 8, tzinfo=UTC)
KEY = b"k" * 32
SALT = bytes(range(16))
KEYS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_.", min_size=1, max_size=20)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def _body(**changes: Any) -> dict[str, Any]:
    fields = {"covers_until": "2026-11-22T08:00:00Z", "erasure": "era_1", "ids": [], "owner": "team"}
    return {**fields, "reason": "asked", "threads": 1, **changes}


def _leaf(body: dict[str, Any], **changes: Any) -> Leaf:
    entry = Entry(
        type=EntryType.ERASURE_ORDERED,
        at=AT,
        actor="worker tenure/0",
        project="support-eu",
        subject="thr_1",
        body=body,
    )
    given: dict[str, Any] = {"entry_id": "0" * 32, "salt": SALT, "pseudonym_key": KEY, **changes}
    return make_leaf(entry, **given)


@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_the_bytes_equal_rfc_8785_within_the_profile(body: dict[str, Json]) -> None:
    try:
        written = canonical(body)
    except BodyRefused as refused:
        assert "nests" in refused.problem  # noqa: PT017 - depth is the only bound the values reach
        return
    # rfc8785 stops one short of 2^53.
    if str(2**53) not in written.decode():
        assert written == rfc8785.dumps(body)
    assert load(written) == json.loads(written)


def test_an_envelope_has_exactly_its_keys_and_no_name() -> None:
    leaf = _leaf(_body(owner="person@example.org"))
    envelope = json.loads(leaf.envelope)
    assert list(envelope) == ["body", "id", "project", "subject", "t", "type", "v"]
    assert envelope["t"] == "2026-11-22T08:00:00.000000Z"
    assert envelope["body"] == hashlib.sha256(leaf.body).hexdigest()
    assert envelope["project"] == project_pseudonym(KEY, "support-eu")
    assert envelope["subject"] == subject_pseudonym(KEY, "thr_1")
    assert leaf.hash == leaf_hash(leaf.envelope)
    for name in (b"person", b"support-eu", b"thr_1"):
        assert name not in leaf.envelope
        assert name in leaf.body
    assert parse_envelope(leaf.envelope).type == "erasure.ordered"


def test_a_body_holds_salt_actor_type_and_what_the_entry_is_about() -> None:
    body = json.loads(_leaf(_body()).body)
    assert body == {
        **_body(),
        "actor": "worker tenure/0",
        "owner_commitment": owner_commitment(SALT, "team"),
        "project": "support-eu",
        "salt": SALT.hex(),
        "subject": "thr_1",
        "type": "erasure.ordered",
    }


def test_bytes_are_fixed_for_ever() -> None:
    assert _leaf(_body()).hash.hex() == "e1abd4e0b4a9668fff90defc9b01871e697a83cdd7ef3dd8db13e64f4c7b05cf"


def test_pseudonyms_differ_by_key_name_and_sort() -> None:
    made = {
        project_pseudonym(KEY, "a"),
        project_pseudonym(KEY, "b"),
        subject_pseudonym(KEY, "a"),
        project_pseudonym(b"x" * 32, "a"),
    }
    assert len(made) == 4
    assert all(len(one) == 32 for one in made)


def test_another_salt_hides_the_same_body_and_owner() -> None:
    other = bytes(16)
    assert _leaf(_body()).envelope != _leaf(_body(), salt=other).envelope
    assert owner_commitment(SALT, "team") != owner_commitment(other, "team")


def test_an_entry_about_nothing_in_particular_has_nulls() -> None:
    entry = Entry(type=EntryType.KEY_REVOKED, at=AT, actor="beat tenure/0", body={"key": "k1"})
    envelope = parse_envelope(make_leaf(entry, entry_id="0" * 32, salt=SALT, pseudonym_key=KEY).envelope)
    assert (envelope.project, envelope.subject) == (None, None)


@pytest.mark.parametrize(
    "body",
    [
        {"latency": 1.5},
        {"n": 2**53 + 1},
        {"Key": 1},
        {"": 1},
        {"ключ": 1},
        {1: 1},
        {"b": b"bytes"},
        {"t": AT},
        {"s": {1, 2}},
        {"x": "\ud800"},
        {"long": "x" * 9000},
        {"a": [[[[[[[[[1]]]]]]]]]},
    ],
    ids=repr,
)
def test_what_other_languages_could_write_otherwise_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(BodyRefused):
        canonical(body)


@pytest.mark.parametrize("name", ["actor", "owner_commitment", "project", "salt", "subject", "type"])
def test_what_the_entry_writes_itself_is_no_field_of_its_body(name: str) -> None:
    with pytest.raises(BodyRefused, match="which the entry itself writes"):
        _leaf(_body(**{name: "mine"}))


@pytest.mark.parametrize("changes", [{"salt": b"short"}, {"entry_id": "1"}, {"entry_id": "G" * 32}])
def test_ids_and_salts_have_their_size(changes: dict[str, Any]) -> None:
    with pytest.raises(BodyRefused):
        _leaf(_body(), **changes)


def test_a_naive_time_is_refused() -> None:
    entry = Entry(type=EntryType.LOG_SEALED, at=AT.replace(tzinfo=None), actor="beat tenure/0")
    with pytest.raises(BodyRefused):
        make_leaf(entry, entry_id="0" * 32, salt=SALT, pseudonym_key=KEY)


def test_a_body_of_the_largest_size_is_written_and_a_larger_one_refused() -> None:
    empty = len(_leaf(_body(ids=["", "", ""])).body)
    room = MAX_BODY - empty
    assert len(_leaf(_body(ids=["x" * 8000, "x" * 8000, "x" * (room - 16000)])).body) == MAX_BODY
    with pytest.raises(BodyRefused, match="16385 bytes"):
        _leaf(_body(ids=["x" * 8000, "x" * 8000, "x" * (room - 15999)]))


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b'{"a":1.0}', b'{"a":NaN}', b'{"a":1,"a":1}', b'{"a":"\\ud800"}', b"\xff", b'{"a":' * 9000],
)
def test_json_outside_the_form_is_not_read(raw: bytes) -> None:
    with pytest.raises(Misshapen):
        load(raw)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"v":1', b'"v":2'),
        (b'{"body"', b'{ "body"'),
        (b'"type":"', b'"type":"X'),
        (b"Z", b"z"),
        (b"}", b'},"x":1}'),
    ],
)
def test_an_envelope_of_any_other_form_is_not_read(old: bytes, new: bytes) -> None:
    with pytest.raises(Misshapen):
        parse_envelope(_leaf(_body()).envelope.replace(old, new))
