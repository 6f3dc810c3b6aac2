from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from worker.audit.bodies import Graded, Tried, thread_graded
from worker.audit.envelope import make_leaf
from worker.audit.observed import (
    child_counts,
    chosen_body,
    observation_bodies,
    observation_body,
    read_tried,
    telling_passes,
    tried_body,
)
from worker.audit.reading import MAX_BODY
from worker.model.chosen import ChosenChild, ChosenState, Kept
from worker.model.evidence import Children, Class, Control, Grade, Observation, Pass, Step, fold, grade
from worker.model.ids import ThreadId
from worker.model.thread import Account, Kind, Thread

AT = datetime(2026, 11, 22, 8, tzinfo=UTC)
READS = st.lists(st.tuples(st.sampled_from(Class), st.sampled_from(Control)), max_size=9)
PASSES = st.lists(
    st.builds(
        Pass,
        before=st.sampled_from([Class.PRESENT, Class.OBJECT_ABSENT, Class.ERROR]),
        control=st.sampled_from(Control),
        armed=st.booleans(),
        answer=st.sampled_from([Class.NONE, Class.UNSENT, Class.ACKNOWLEDGED, Class.LOST, Class.DENIED]),
        afters=READS.map(tuple),
        children=st.sampled_from(Children),
    ),
    max_size=30,
)


def _tried(passes: Sequence[Pass]) -> list[Tried]:
    return [Tried(item="itm_1", fence=n, saw=one) for n, one in enumerate(passes)]


@given(PASSES)
def test_leaving_out_passes_that_do_not_tell_never_changes_the_grade(passes: list[Pass]) -> None:
    told = telling_passes(_tried(passes))
    assert len(told) <= 12
    assert all(len(one.saw.afters) <= 4 for one in told)
    assert grade(fold([one.saw for one in told])) is grade(fold(passes))


@given(PASSES)
def test_a_pass_survives_being_written_and_read(passes: list[Pass]) -> None:
    for one in _tried(passes):
        assert read_tried(json.loads(json.dumps(tried_body(one)))) == one


def test_an_observation_is_written_without_floats_and_without_what_is_unknown() -> None:
    one = Observation(step=Step.AFTER, seen=Class.THROTTLED, at=AT, status=429, retry_after=1.5)
    assert observation_body(one) == {
        "at": "2026-11-22T08:00:00Z",
        "class": "throttled",
        "status": 429,
        "step": "after",
    }


def test_the_newest_observation_of_each_kind_is_kept_and_children_are_counted() -> None:
    early = Observation(step=Step.BEFORE, seen=Class.PRESENT, at=AT)
    errors = [
        Observation(step=Step.AFTER, seen=Class.ERROR, at=AT + timedelta(seconds=n)) for n in range(1, 100)
    ]
    children = [
        Observation(step=Step.DELETE, seen=Class.ACKNOWLEDGED, at=AT, child=f"msg_{n}") for n in range(999)
    ]
    kept = observation_bodies([*children, *errors, early])
    assert len(kept) == 12
    assert kept[0] == observation_body(early)
    assert kept[-1] == observation_body(errors[-1])
    assert child_counts([*children, early]) == [{"class": "acknowledged", "count": 999, "step": "delete"}]


def test_no_answer_however_hostile_makes_a_grade_too_big_to_be_recorded() -> None:
    noise = '\x01"\\é' * 500
    seen = [
        Observation(
            step=step,
            seen=one,
            at=AT + timedelta(microseconds=n),
            subject=noise,
            status=404,
            request_id=noise,
            latency_ms=10**9,
            body_sha256="0" * 64,
            provider_date=noise,
            detail=noise,
            provider_created_at=AT + timedelta(microseconds=n),
        )
        for n, (step, one) in enumerate((step, one) for step in Step for one in Class)
    ]
    reads = ((Class.OBJECT_ABSENT, Control.ROUTE_ONLY), (Class.OBJECT_ABSENT, Control.GOOD)) * 9
    passes = [
        Pass(
            before=Class.OBJECT_ABSENT,
            control=Control.ROUTE_ONLY,
            armed=True,
            answer=Class.ACKNOWLEDGED,
            afters=reads,
        )
    ] * 50
    tried = [Tried(item="itm_" + "0" * 32, fence=10**9, saw=one) for one in passes]
    thread = Thread(
        id=ThreadId("thr_" + "0" * 32),
        kind=Kind.CHAT_COMPLETION,
        external_id="chatcmpl-" + "x" * 128,
        project="🧵" * 200,
        owner="🧵" * 200,
        registered_at=AT,
        account=Account(provider="openai", base_url="https://" + "x" * 200, organization="x" * 100),
    )
    graded = Graded(
        item="itm_1",
        fence=1,
        sweep="swp_1",
        policy="p" * 200,
        bundle="sha256:" + "0" * 64,
        grade=Grade.CONFIRMED,
        tried=tried,
        observations=seen,
        deletion_semantics="s" * 5000,
        chosen=[ChosenChild(id=f"file-{number:0155}", kind=Kind.FILE) for number in range(1000)],
        attempts=50,
    )
    leaf = make_leaf(
        thread_graded(thread, graded, at=AT, actor="worker tenure/0"),
        entry_id="0" * 32,
        salt=bytes(16),
        pseudonym_key=b"k",
    )
    assert len(leaf.body) <= MAX_BODY


def test_chosen_children_are_counted_and_all_that_are_not_confirmed_are_named() -> None:
    states = {
        "file-1": (ChosenState.CONFIRMED, None),
        "file-2": (ChosenState.LEFT, None),
        "file-3": (ChosenState.ABSENT, None),
        "file-4": (ChosenState.KEPT, Kept.HELD),
        "file-5": (ChosenState.CHOSEN, None),
    }
    chosen = [
        ChosenChild(id=one, kind=Kind.FILE, state=state, reason=reason)
        for one, (state, reason) in states.items()
    ]
    assert chosen_body(chosen) == {
        "found": 3,
        "confirmed": 1,
        "others": ["file-4 held", "file-3 absent", "file-5 chosen", "file-2 left"],
    }


def test_a_thousand_chosen_children_take_no_more_room_than_a_body_has() -> None:
    chosen = [
        ChosenChild(
            id=f"file-{number:0155}", kind=Kind.FILE, state=ChosenState.KEPT, reason=Kept.SHARED_REFERENCE
        )
        for number in range(1000)
    ]
    body = chosen_body(chosen)
    assert len(json.dumps(body)) < 1000
    assert body["others_count"] == 1000
