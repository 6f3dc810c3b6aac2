"""Lines that stand as the writer spells them are read by a pattern just as JSON would read them."""

from __future__ import annotations

import json
import random  # noqa: TID251 - seeded, so that a run can be repeated
import re
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audit.mutations import Mutator
from worker.audit import bodies, spelled, walk
from worker.audit.bodies import Graded, Intent, Tried
from worker.audit.entry import Entry
from worker.audit.envelope import Leaf, canonical, make_leaf
from worker.audit.findings import Report
from worker.audit.members import body_line
from worker.audit.note import Ed25519Signer
from worker.audit.reading import Body, Misshapen, load, load_body_line
from worker.audit.spelled import read_line
from worker.model.chosen import ChosenChild, ChosenState
from worker.model.decision import Decision, Outcome
from worker.model.evidence import Class, Control, Grade, Observation, Pass, Reread, Step
from worker.model.ids import ThreadId
from worker.model.thread import Account, Kind, Thread
from worker.model.work import Stage

AT = datetime(2026, 11, 1, 0, 0, 0, 7, tzinfo=UTC)
THREAD = Thread(
    id=ThreadId("thr_1"),
    kind=Kind.CONVERSATION,
    external_id="conv_1",
    project="support-eu",
    owner="Zoë",
    registered_at=AT,
    created_at=AT,
    ttl="P30D",
    tags={"env": "prod", "a": "b"},
    account=Account(provider="openai", base_url="https://api.openai.com/v1"),
)
SEEN = Observation(
    step=Step.AFTER,
    seen=Class.OBJECT_ABSENT,
    at=AT,
    subject="conv_1",
    status=404,
    request_id="req_1",
    latency_ms=50,
    body_sha256="0" * 64,
    provider_date="Thu, 01 Jan 2026 00:00:00 GMT",
    detail="gone",
    provider_created_at=AT,
)
BARE = Observation(step=Step.DELETE, seen=Class.LOST, at=AT)
OF_CHILD = Observation(step=Step.BEFORE, seen=Class.PRESENT, at=AT, child="file_1", status=200)
DECISION = Decision(outcome=Outcome.DUE, decided_by="p", eligible_at=AT, rules=("p", "q"), bundle="sha256:0")
SAW = Pass(
    before=Class.PRESENT,
    armed=True,
    answer=Class.ACKNOWLEDGED,
    afters=((Class.ERROR, Control.NONE), (Class.OBJECT_ABSENT, Control.GOOD)),
)


def _entries() -> Iterator[Entry]:
    """Every type that has a pattern, with all that may be left out, and without."""
    actor, item = "worker tenure/0", "itm_1"
    for thread in (THREAD, replace(THREAD, account=None, created_at=None, owner="", tags={}, ttl=None)):
        yield bodies.thread_registered(thread, at=AT, actor="key:1")
        for seen in (SEEN, BARE, OF_CHILD):
            intent = Intent(
                item=item,
                fence=1,
                stage=Stage.CONTAINER,
                sweep="swp_1",
                policy="p",
                decision=DECISION,
                before=seen,
                protection_version=1,
            )
            yield bodies.delete_intended(thread, intent, at=AT, actor=actor)
            told: dict[str, Any] = {"item": item, "fence": 1, "at": AT, "actor": actor}
            yield bodies.delete_answered(thread, stage=Stage.CONTAINER, answer=seen, **told)
            yield bodies.delete_late_result(thread, stage=Stage.CHILDREN, late=seen, **told)
            yield bodies.thread_preread(thread, seen=seen, **told)
            yield bodies.thread_reread(thread, seen=seen, control=Control.GOOD, **told)
    for supports, seen_then in (
        ((), ()),
        (("thr_1",), (SEEN,)),
        (("thr_1", "Zoë", "x" * 3000), (BARE, SEEN)),
    ):
        yield bodies.control_probed(
            THREAD.project,
            kind=Kind.FILE,
            control=Control.ROUTE_ONLY,
            seen=seen_then,
            supports=supports,
            at=AT,
            actor=actor,
        )
    yield bodies.thread_registered(THREAD, at=AT, actor="key:1", children=["file_1", "x" * 3000])
    for tried, observations, reread in (
        ((), (), None),
        ((SAW,), (SEEN, BARE, OF_CHILD), None),
        ((Pass(before=Class.LOST), SAW), (BARE,), Reread(seen=Class.OBJECT_ABSENT, control=Control.GOOD)),
    ):
        graded = Graded(
            item=item,
            fence=2,
            sweep="swp_1",
            policy="p",
            bundle="sha256:0",
            grade=Grade.CONFIRMED,
            tried=[Tried(item=item, fence=n, saw=one) for n, one in enumerate(tried)],
            observations=observations,
            deletion_semantics="Up to 30 days.",
            attempts=1,
            reread=reread,
            eligible_at=AT if reread else None,
            chosen=[ChosenChild(id="file_1", kind=Kind.FILE, state=ChosenState.CONFIRMED)] if tried else (),
        )
        yield bodies.thread_graded(THREAD, graded, at=AT, actor=actor)


def _line(index: int, entry: Entry) -> bytes:
    made = make_leaf(entry, entry_id="0" * 32, salt=b"s" * 16, pseudonym_key=b"k" * 32)
    return body_line(index, made.body)[:-1]


LINES = [_line(n, one) for n, one in enumerate(_entries())]
TYPES = {json.loads(load_body_line(one)[1])["type"] for one in LINES}


def holds(line: bytes) -> bool:
    """Hold both readings of a line equal, refusals too; tells whether a pattern knew the line."""
    try:
        wanted = load_body_line(line)
    except Misshapen as refused:
        with pytest.raises(Misshapen, match=f"^{re.escape(str(refused))}$"):
            read_line(line)
        return False
    index, (exact, fields) = read_line(line)
    assert (index, exact.decode()) == wanted
    if fields is None:
        return False
    _hold(fields, load(exact))
    return True


def _hold(handed: object, whole: object) -> None:
    if isinstance(handed, dict):
        assert isinstance(whole, dict)
        for name, value in handed.items():
            _hold(value, whole.get(name))
    elif isinstance(handed, list):
        assert isinstance(whole, list)
        for one, other in zip(handed, whole, strict=True):
            _hold(one, other)
    else:
        assert (type(handed), handed) == (type(whole), whole)


def test_what_the_writer_writes_is_known_with_and_without_what_may_be_left_out() -> None:
    assert set(spelled._SPELLED) == TYPES
    assert [line for line in LINES if not holds(line)] == []


def test_the_writers_own_log_is_known(leaves: Sequence[Leaf]) -> None:
    told = [(load(one.body)["type"], body_line(n, one.body)[:-1]) for n, one in enumerate(leaves)]
    assert {kind for kind, line in told if holds(line)} == TYPES & {kind for kind, _ in told}
    assert [kind for kind, line in told if kind in TYPES and not holds(line)] == []


_PIECES = st.sampled_from(
    [
        b'\\"',
        b'"',
        b"\\",
        b"\\\\",
        b"\\n",
        b"\\u0041",
        b",",
        b":",
        b"{",
        b"}",
        b"[",
        b"]",
        b"},{",
        b'"}',
        b" ",
        b"0",
        b"1",
        b"-1",
        b"01",
        b"1.5",
        b"1e3",
        b"9" * 17,
        b"null",
        b"true",
        b"\t",
        b"\x00",
        b"\x7f",
        b"\xff",
        "é".encode(),
        "\u2028".encode(),
        b"\xed\xa0\x80",
        b"confirmed",
        b'\\"a\\":1,',
        b'\\"owner\\":\\"x\\",',
        b"x" * 70,
    ]
)


@settings(max_examples=600)
@given(
    st.sampled_from(LINES),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), _PIECES), min_size=1, max_size=3),
)
def test_a_damaged_line_is_read_by_a_pattern_as_by_json(
    line: bytes, damage: list[tuple[float, int, bytes]]
) -> None:
    for where, length, piece in damage:
        at = int(where * len(line))
        line = line[:at] + piece + line[at + length :]
    holds(line)


_TEXTS: list[Any] = ["", "x", 'a"b', "a\\b", "é😀", "\t", "},{", "]"]
_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [*_TEXTS, None, True, 0, 7, -7, 2**53, 2**70, [], ["x"], {}, {"a": 1}]
).map(deepcopy)


@settings(max_examples=600)
@given(st.sampled_from(LINES), st.data())
def test_a_changed_body_is_read_by_a_pattern_as_by_json(line: bytes, data: st.DataObject) -> None:
    """Fields are dropped, added, doubled and set to anything, at any depth, and written in order or not."""
    index, text = load_body_line(line)
    body: Any = json.loads(text)
    for _ in range(data.draw(st.integers(1, 2))):
        inside = body
        while data.draw(st.booleans()) and (deeper := _inside(inside)):
            inside = data.draw(st.sampled_from(deeper))
        if isinstance(inside, list):
            inside.insert(data.draw(st.integers(0, len(inside))), data.draw(_VALUES))
        elif inside and data.draw(st.booleans()):
            inside[data.draw(st.sampled_from(sorted(inside)))] = data.draw(_VALUES)
        elif inside and data.draw(st.booleans()):
            del inside[data.draw(st.sampled_from(sorted(inside)))]
        else:
            inside[data.draw(st.sampled_from(["aa", "child", "detail", "request_id", "status", "zz"]))] = (
                data.draw(_VALUES)
            )
    sorted_, tight = data.draw(st.booleans()), data.draw(st.booleans())
    separators = (",", ":") if tight else (", ", ": ")
    written = json.dumps(body, sort_keys=sorted_, separators=separators, ensure_ascii=False)
    if data.draw(st.booleans()):
        doubled = data.draw(st.sampled_from(sorted(body) or ["a"]))
        written = written[:-1] + f',"{doubled}":{json.dumps(body.get(doubled))}}}'
    holds(body_line(index, written.encode())[:-1])


def _inside(value: Any) -> list[Any]:
    values = value.values() if isinstance(value, dict) else value
    return [one for one in values if isinstance(one, dict | list)]


def test_a_text_may_be_anything_that_needs_no_escape() -> None:
    for text, known in (
        ("", True),
        ("a, {é😀}", True),
        ("],[", True),
        ("\x7f", True),
        ('"', False),
        ("\x1f", False),
    ):
        for line in LINES:
            index, written = load_body_line(line)
            body = {**json.loads(written), "owner" if "owner" in written else "actor": text}
            assert holds(body_line(index, canonical(body))[:-1]) is known
    in_detail = json.loads(load_body_line(LINES[-2])[1])
    in_detail["observations"][0]["detail"] = "a},{b"  # where objects are told apart
    assert holds(body_line(1, canonical(in_detail))[:-1]) is False


def test_no_line_makes_a_pattern_try_for_long() -> None:
    parts = (b'\\"x\\",', b"},{", b'\\"a\\":1,', b"[", b"{", b"x", b"1", b'\\"class\\":\\"x\\",')
    begun, tried = time.process_time(), 0
    for line in LINES[::3]:
        for part in parts:
            for place in (b"[", b"{", b":", b'\\"type'):
                at = line.rfind(place) + 1
                holds(line[:at] + part * (98_000 // len(part)) + line[at:])
                tried += 1
    assert (time.process_time() - begun) / tried < 0.1


class _Asked(dict[str, Any]):
    """An object that remembers what was asked of it, under the path that it stands at."""

    def __init__(self, body: Body, asked: set[str], path: str = "") -> None:
        super().__init__({name: _asked(value, asked, f"{path}{name}/") for name, value in body.items()})
        self._asked, self._path = asked, path

    def get(self, name: str, default: Any = None) -> Any:
        self._asked.add(f"{self._path}{name}")
        return super().get(name, default)

    def __getitem__(self, name: str) -> Any:
        return self.get(name)


def _asked(value: object, asked: set[str], path: str) -> Any:
    if isinstance(value, dict):
        return _Asked(value, asked, path)
    return [_asked(one, asked, path) for one in value] if isinstance(value, list) else value


def _names(value: object, path: str = "") -> set[str]:
    if isinstance(value, dict):
        inner = (_names(one, f"{path}{name}/") for name, one in value.items())
        return {f"{path}{name}" for name in value}.union(*inner)
    return set[str]().union(*(_names(one, path) for one in value)) if isinstance(value, list) else set()


def test_whatever_the_verifier_asks_of_a_body_is_handed_out(
    whole: bytes, leaves: Sequence[Leaf], check: Callable[[bytes], Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, set[str]] = {}

    def recording(raw: bytes) -> Body:
        body = load(raw)
        return _Asked(body, asked.setdefault(str(body["type"]), set()))

    monkeypatch.setattr(spelled, "_SPELLED", {})
    monkeypatch.setattr(walk, "load", recording)
    assert check(whole).problems == ()
    monkeypatch.undo()
    handed: dict[str, set[str]] = {}
    stands: dict[str, set[str]] = {}
    for line in (*LINES, *(body_line(n, one.body)[:-1] for n, one in enumerate(leaves))):
        exact, fields = read_line(line)[1]
        if fields is not None:
            kind = str(fields["type"])
            handed.setdefault(kind, set()).update(_names(fields))
            stands.setdefault(kind, set()).update(_names(load(exact)))
    assert len(asked.keys() & TYPES) > 3
    for kind in asked.keys() & TYPES:
        assert asked[kind] & stands[kind] <= handed[kind], kind


def test_a_bundle_gets_the_same_report_without_the_patterns(
    whole: bytes,
    leaves: Sequence[Leaf],
    signer: Ed25519Signer,
    check: Callable[[bytes], Report],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mutator = Mutator(whole=whole, leaves=leaves, signer=signer, dice=random.Random(7))  # noqa: S311 - damage
    damaged = [mutator.make(kind) for kind in sorted(mutator.kinds) for _ in range(8)]
    quick = [check(one) for one in [whole, *damaged]]
    monkeypatch.setattr(spelled, "_SPELLED", {})
    assert [check(one) for one in [whole, *damaged]] == quick
    assert [one.verified for one in quick].count(True) < len(quick) / 4
