"""What an entry that cannot be read leaves behind for those after it, and what is excused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from worker.audit.observed import cut
from worker.audit.reading import Misshapen
from worker.audit.trail import Trail

_PASS: dict[str, Any] = {
    "afters": [["object_absent", "good"]],
    "answer": "acknowledged",
    "armed": True,
    "before": "present",
    "children": "none",
    "control": "none",
    "fence": 1,
    "item": "itm_1",
}
_CONTROL = {"class": "present", "status": 200, "step": "control", "subject": "conv_2"}
_GONE = {"class": "object_absent", "status": 404, "at": "2026-11-01T00:00:00Z", "step": "after"}
_PROBE = {"control": "good", "kind": "conversation", "observations": [_CONTROL], "supports": ["thr_1"]}
_TRY = {"fence": 1, "item": "itm_1", "subject": "thr_1"}
_INTENDED: dict[str, Any] = {
    **_TRY,
    "before": {"class": "present", "status": 200, "step": "before"},
    "children_confirmed": 0,
    "children_found": 0,
    "decision": {"outcome": "DUE"},
    "stage": "container",
}
_ANSWERED = {
    **_TRY,
    "stage": "container",
    "observation": {"class": "acknowledged", "status": 200, "step": "delete"},
}
_REREAD: dict[str, Any] = {
    **_TRY,
    "control": "good",
    "observation": _GONE,
}
_GRADED: dict[str, Any] = {
    **_TRY,
    "attempts": 1,
    "external_id": "conv_1",
    "grade": "confirmed",
    "grader_version": 1,
    "kind": "conversation",
    "observations": [_GONE, _CONTROL],
    "owner": "team",
    "passes": [_PASS],
    "passes_made": 1,
    "reread": None,
}
_STORY: list[tuple[str, dict[str, Any]]] = [
    ("delete.intended", _INTENDED),
    ("delete.answered", _ANSWERED),
    ("thread.reread", _REREAD),
    ("thread.graded", _GRADED),
]


def _register(trail: Trail, thread: int = 0) -> None:
    """Register the thread, unless it was; in a range that begins later that may lie before it."""
    known = thread < len(trail._flags) and trail._flags[thread] & 1
    if trail.whole and not known:
        assert trail.feed(0, "thread.registered", thread, {}) == ()


def _feed(trail: Trail, story: Sequence[tuple[str, dict[str, Any]]], *, controls: bool = True) -> list[str]:
    """Feed a story of one thread; each absent read since the DELETE brings its control."""
    found: list[str] = []
    _register(trail)
    for at, (kind, body) in enumerate(story, 1):
        found += trail.feed(at, kind, 0, body)
        if controls and kind == "thread.reread" and body["observation"]["class"] == "object_absent":
            trail.feed(at, "control.probed", None, _PROBE)
    return found


def _told(trail: Trail, *without: str) -> list[str]:
    return _feed(trail, [one for one in _STORY if one[0] not in without])


def test_a_story_that_is_whole_leaves_nothing_to_say() -> None:
    assert _told(Trail()) == []


@pytest.mark.parametrize(
    "broken", [None, {}, {"class": 1, "step": "after"}, {"class": "present", "status": 200, "step": 1}]
)
def test_a_misshapen_grade_counts_for_nothing_wherever_it_breaks_off(broken: Any) -> None:
    """Else what a later grade may lean on would hang on the order in which observations are read."""
    trail = Trail()
    assert _told(trail, "thread.graded") == []
    for observations in ([_CONTROL, broken], [broken, _CONTROL]):
        with pytest.raises(Misshapen):
            trail.feed(3, "thread.graded", 0, {**_GRADED, "observations": observations})
    # It is not called deleted yet: whatever finds it present is not behind its grade.
    trail.feed(4, "thread.preread", 0, {**_BEFORE, "fence": 2})
    assert list(trail.back()) == []


@pytest.mark.parametrize("at", ["", "yesterday", "2026-13-01T00:00:00Z", "2026-11-01T00:00:00", "0001-01-01"])
def test_a_read_at_no_instant_is_misshapen(at: str) -> None:
    seen = {"class": "object_absent", "status": 404, "at": at, "step": "after"}
    with pytest.raises(Misshapen, match="no instant"):
        Trail().feed(0, "thread.reread", 0, {**_REREAD, "observation": seen})


def test_what_may_lie_before_a_range_is_excused_until_the_thread_is_registered_in_it() -> None:
    early = Trail(whole=False)
    assert _told(early, "delete.intended", "thread.reread") == []
    assert early.unbacked == 2  # the answer, and the grade
    registered = Trail(whole=False)
    registered.feed(0, "thread.registered", 0, {})
    assert len(_told(registered, "delete.intended", "thread.reread")) > 1
    assert registered.unbacked == 0


def test_a_thread_some_of_whose_bodies_are_gone_is_excused_and_no_other() -> None:
    trail = Trail()
    trail.lose("delete.intended", 0)
    assert _told(trail, "delete.intended") == []
    assert trail.unbacked == 3  # the answer, the read since, and the grade
    _register(trail, 1)
    told = trail.feed(9, "delete.answered", 1, {**_ANSWERED, "subject": "thr_2"})
    assert list(told) == ["a DELETE was answered, and no intent stands before it"]


def test_no_word_that_is_none_is_remembered() -> None:
    seen = {"class": "x" * 16_000, "at": "2026-11-01T00:00:00Z", "step": "after"}
    for kind, body in (
        ("delete.answered", {**_ANSWERED, "observation": seen}),
        ("thread.preread", {**_TRY, "observation": seen}),
        ("thread.reread", {**_REREAD, "observation": seen}),
        ("thread.reread", {**_REREAD, "control": "x" * 16_000}),
    ):
        trail = Trail()
        with pytest.raises(ValueError, match="is not a valid"):
            trail.feed(0, kind, 0, body)
        assert trail._attempts == {}


def test_controls_of_threads_that_nobody_met_take_no_memory_without_end() -> None:
    trail = Trail()
    for number in range(100):
        supports = [f"thr_{number}_{one}" for one in range(100)]
        trail.feed(number, "control.probed", None, {**_PROBE, "supports": supports})
    assert len(trail._controls._probes) == 1000


def _changed(kind: str, **changes: Any) -> tuple[str, dict[str, Any]]:
    """Return the story's entry of this type, changed."""
    return kind, {**dict(_STORY)[kind], **changes}


_BEFORE = {**_TRY, "observation": {"class": "present", "status": 200, "step": "before"}}
_IS_THERE = {"control": "none", "observation": {"class": "present", "status": 200, "step": "after"}}
_IS_BACK = {"control": "none", "observation": {"class": "present", "status": 200, "step": "reread"}}
_A_DAY_LATER = {
    "observation": {"class": "object_absent", "status": 404, "at": "2026-11-02T00:00:00Z", "step": "reread"}
}
_AGAIN = {"class": "object_absent", "control": "good"}
_SUSTAINED = _changed(
    "thread.graded",
    grade="sustained",
    observations=[_A_DAY_LATER["observation"], _CONTROL],
    reread=_AGAIN,
)
_REFUTED = _changed("thread.graded", grade="still_present", reread={"class": "present", "control": "none"})
_FIVE_DAYS_BEFORE = {"class": "object_absent", "status": 404, "at": "2026-10-27T00:00:00Z", "step": "before"}
_BY_FENCE_2 = {**_PASS, "fence": 2}
_SECOND = [
    _changed("delete.intended", fence=2),
    _changed("delete.answered", fence=2, observation={"class": "denied", "status": 403, "step": "delete"}),
    _changed("thread.reread", fence=2, **_IS_THERE),
]

# What stands behind a whole story (or in place of it), and what is said of it.
ORDERS: dict[str, tuple[list[tuple[str, dict[str, Any]]], str]] = {
    "a later claim that saw it": (
        [*_STORY[:3], ("thread.preread", {**_BEFORE, "fence": 2}), _STORY[3]],
        "an entry of another attempt stands between",
    ),
    "a later attempt that is not told": (
        [*_STORY[:3], *_SECOND, _changed("thread.graded", attempts=2, passes_made=2)],
        "an entry of another attempt stands between",
    ),
    "two attempts in another order": (
        [
            *_STORY[:3],
            *_SECOND,
            _changed("thread.graded", attempts=2, passes=[_BY_FENCE_2, _PASS], passes_made=2),
        ],
        "not stand in the order of their intents",
    ),
    "an earlier attempt that is not told": (
        [
            *_STORY[:2],
            ("thread.preread", {**_TRY, "fence": 2, "observation": _FIVE_DAYS_BEFORE}),
            _changed(
                "thread.graded",
                fence=2,
                grade="absent",
                passes=[{**_PASS, "armed": False, "answer": "none", "before": "object_absent", "fence": 2}],
            ),
        ],
        "passes are said to have been made",
    ),
    "an attempt before the told ones": (
        [
            _STORY[0],
            _changed("delete.intended", fence=2),
            _changed("delete.answered", fence=2),
            _changed("thread.reread", fence=2),
            _changed("thread.graded", attempts=2, fence=2, passes=[_PASS, _BY_FENCE_2][1:], passes_made=1),
        ],
        "passes are said to have been made",
    ),
    "a read before the intent": (
        [_STORY[2], *_STORY[:2], _STORY[3]],
        "a read since the DELETE stands there, and no intent before it",
    ),
    "a read before the answer": (
        [_STORY[0], _STORY[2], _STORY[1], _STORY[3]],
        "an answer stands behind",
    ),
    "an answer behind the grade": (
        [*_STORY, _STORY[1]],
        "an answer stands behind",
    ),
    "a first read behind the answer": (
        [*_STORY[:3], ("thread.preread", _BEFORE), _STORY[3]],
        "a first read stands behind",
    ),
    "the same grade again": ([*_STORY, _STORY[3]], "the claim was graded before"),
    "a grade after it was back": (
        [*_STORY, _changed("thread.reread", **_IS_BACK), _REFUTED, _STORY[3]],
        "the claim was graded before",
    ),
    "sustained after it was back": (
        [
            *_STORY,
            _changed("thread.reread", **_A_DAY_LATER),
            _changed("thread.reread", **_IS_BACK),
            _REFUTED,
            _SUSTAINED,
        ],
        "the claim was graded before",
    ),
    "another claim's read, dated back": (
        [
            *_STORY,
            ("thread.preread", {**_TRY, "item": "itm_2", "observation": _FIVE_DAYS_BEFORE}),
            _changed(
                "thread.reread",
                observation={
                    "class": "object_absent",
                    "status": 404,
                    "at": "2026-11-01T00:00:01Z",
                    "step": "reread",
                },
            ),
            _SUSTAINED,
        ],
        "no entry holds the later read",
    ),
    "a later read without a control of its own": (
        [*_STORY, _changed("thread.reread", **_A_DAY_LATER), _SUSTAINED],
        "leans on a control that no entry holds",
    ),
    "a later read before the grade that it sustains": (
        [*_STORY[:3], _changed("thread.reread", **_A_DAY_LATER), _STORY[3], _SUSTAINED],
        "a later read stands there, and no grade before it",
    ),
    "a read behind the grade": ([*_STORY, _STORY[2]], "a read since the DELETE stands behind"),
    "a fence with the same hash": (
        [
            *_STORY[:3],
            _changed("thread.graded", fence=2**61, passes=[{**_PASS, "fence": 2**61}]),
        ],
        "no intent stands before this grade",
    ),
    "an intent that saw a child": (
        [
            _changed(
                "delete.intended",
                before={"class": "present", "status": 200, "child": "msg_1", "step": "before"},
            ),
            *_STORY[1:],
        ],
        "of another step, of a child or of another object",
    ),
    "an intent that leans on a control": (
        [
            _changed("delete.intended", before={"class": "present", "status": 200, "step": "control"}),
            *_STORY[1:],
        ],
        "of another step, of a child or of another object",
    ),
    "a thread that was withdrawn": (
        [("thread.withdrawn", {}), *_STORY],
        "the thread had been withdrawn",
    ),
    "an intent told again, otherwise": (
        [_changed("delete.intended", children_found=3), *_STORY],
        "intended twice, and each time otherwise",
    ),
    "an answer told again": ([*_STORY[:2], *_STORY[1:]], "answered twice"),
    "an older claim that speaks behind a newer one": (
        [*_STORY[:2], ("thread.preread", {**_BEFORE, "fence": 2}), *_STORY[2:]],
        "a read since the DELETE stands behind",
    ),
    "an absent read told again, dated back": (
        [
            *_STORY[:3],
            _changed("thread.reread", observation={**_FIVE_DAYS_BEFORE, "step": "after"}),
            _STORY[3],
            _changed(
                "thread.reread",
                observation={
                    "class": "object_absent",
                    "status": 404,
                    "at": "2026-11-01T00:00:01Z",
                    "step": "reread",
                },
            ),
            _SUSTAINED,
        ],
        "a read since the DELETE stands behind one like it",
    ),
    "an intent told again behind the answer": (
        [*_STORY[:2], _STORY[0], *_STORY[2:]],
        "an intent stands behind",
    ),
    "a late answer before the grade of its claim": (
        [*_STORY[:3], ("delete.late_result", _ANSWERED), _STORY[3]],
        "an answer came late to a claim that was graded",
    ),
    "a late answer behind the grade of its claim": (
        [*_STORY, ("delete.late_result", _ANSWERED)],
        "an answer came late to a claim that was graded",
    ),
    "a withdrawal behind the grade": (
        [*_STORY, ("thread.withdrawn", {})],
        "withdrawn although it was called deleted",
    ),
    "a grade behind a withdrawal": (
        [*_STORY[:3], ("thread.withdrawn", {}), _STORY[3]],
        "graded although it had been withdrawn",
    ),
    "a thread that was registered again": (
        [*_STORY, ("thread.registered", {})],
        "registered before",
    ),
    "a late answer that nobody asked for": (
        [*_STORY, ("delete.late_result", {**_ANSWERED, "fence": 9})],
        "no intent stands before it",
    ),
    "a word that nothing was deleted, behind the answer": (
        [*_STORY[:2], ("delete.spared", _TRY), *_STORY[2:]],
        "a word that nothing was deleted stands behind",
    ),
    "a first read that saw what its intent did not": (
        [
            _STORY[0],
            (
                "thread.preread",
                {**_TRY, "observation": {**_FIVE_DAYS_BEFORE, "class": "denied", "status": 403}},
            ),
            *_STORY[1:],
        ],
        "a first read stands behind",
    ),
    "sustained while it is back": (
        [
            *_STORY,
            _changed("thread.reread", **_IS_BACK),
            _changed("thread.reread", **_A_DAY_LATER),
            _SUSTAINED,
        ],
        "sustained although the thread was read present again",
    ),
    "an instant of no read": (
        [
            *_STORY[:3],
            _changed("thread.graded", observations=[{**_GONE, "at": "2031-01-01T00:00:00Z"}, _CONTROL]),
        ],
        "shown with an instant that no entry tells",
    ),
    "no absent read shown": (
        [*_STORY[:3], _changed("thread.graded", observations=[_CONTROL])],
        "shows no read that found the thread absent",
    ),
    "a read shown that no pass tells": (
        [
            *_STORY[:3],
            _changed(
                "thread.graded",
                observations=[{"class": "denied", "status": 403, "step": "before"}, _GONE, _CONTROL],
            ),
        ],
        "denied is shown for before, and no pass tells of it",
    ),
    "an absent read that came with another status": (
        [*_STORY[:2], _changed("thread.reread", observation={**_GONE, "status": 500}), _STORY[3]],
        "comes with no such status",
    ),
    "an answer that only a read can have": (
        [
            _STORY[0],
            _changed("delete.answered", observation={"class": "present", "status": 200, "step": "delete"}),
        ],
        "is none of its step",
    ),
    "a status shown that no such read has": (
        [*_STORY[:3], _changed("thread.graded", observations=[{**_GONE, "status": None}, _CONTROL])],
        "has a class that comes with no such status",
    ),
    "a read shown that no pass tells, beside one told twice": (
        [
            *_STORY[:2],
            *_SECOND,
            _changed(
                "thread.graded",
                attempts=2,
                fence=2,
                grade="still_present",
                observations=[{"class": "denied", "status": 403, "step": "before"}],
                passes=[
                    {**_PASS, "afters": [*_PASS["afters"]] * 2},
                    {**_BY_FENCE_2, "afters": [["present", "none"]], "answer": "denied"},
                ],
                passes_made=2,
            ),
        ],
        "denied is shown for before, and no pass tells of it",
    ),
    "a read shown of a child": (
        [*_STORY[:3], _changed("thread.graded", observations=[{**_GONE, "child": "msg_1"}, _CONTROL])],
        "beside the grade is of a child or of another object",
    ),
    "a read shown of another object": (
        [*_STORY[:3], _changed("thread.graded", observations=[{**_GONE, "subject": "conv_9"}, _CONTROL])],
        "beside the grade is of a child or of another object",
    ),
    "a read told twice": (
        [*_STORY[:3], _changed("thread.graded", passes=[{**_PASS, "afters": [*_PASS["afters"]] * 2}])],
        "stands there twice",
    ),
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_story_whose_entries_contradict_each_other_is_found(order: str) -> None:
    story, what = ORDERS[order]
    told = _feed(Trail(), story, controls=not order.startswith("a later read without"))
    assert any(what in one for one in told), told


@pytest.mark.parametrize(
    "entry",
    [
        _changed("thread.reread", **_IS_BACK),
        _changed("thread.reread", fence=2, **_IS_THERE),
        ("thread.preread", {**_BEFORE, "fence": 2}),
        _changed("delete.intended", fence=2),
    ],
)
def test_whatever_sees_a_deleted_thread_again_has_to_be_graded(entry: tuple[str, dict[str, Any]]) -> None:
    trail = Trail()
    assert _told(trail) == []
    trail.feed(7, entry[0], 0, entry[1])
    trail.lose("thread.accepted", 0)
    assert list(trail.back()) == [7]
    before = trail.unbacked
    # A body that is gone behind it may be the one that says so.
    trail.lose("thread.graded", 0)
    assert list(trail.back()) == []
    assert trail.unbacked == before + 1


def test_what_entries_contradict_is_excused_by_no_body_that_is_gone() -> None:
    trail = Trail()
    trail.lose("thread.accepted", 0)
    assert _told(trail, "thread.graded", "delete.answered") == []
    denied = {**_ANSWERED, "observation": {"class": "denied", "status": 403, "step": "delete"}}
    trail = Trail()
    trail.lose("thread.accepted", 0)
    story = [_STORY[0], ("delete.answered", denied), _STORY[2], _STORY[3]]
    told = _feed(trail, story)
    assert told == ["item itm_1, fence 1: the answer was denied, the grade says acknowledged"]


@pytest.mark.parametrize("kind", ["thread.graded", "delete.intended", "thread.reread"])
def test_an_entry_about_a_deletion_is_about_a_thread(kind: str) -> None:
    assert list(Trail().feed(0, kind, None, {})) == ["the entry is about no thread"]


def test_no_entry_makes_a_thread_its_own_control() -> None:
    trail = Trail()
    itself = [{**_CONTROL, "subject": "conv_1"}]
    assert _feed(trail, _STORY[:3], controls=False) == []
    trail.feed(4, "control.probed", None, {**_PROBE, "observations": itself})
    assert _feed(trail, _STORY[3:]) == ["the grade confirmed leans on a control that no entry holds"]


def test_no_control_stands_before_the_read_that_it_supports() -> None:
    trail = Trail()
    trail.feed(0, "control.probed", None, _PROBE)
    assert _feed(trail, _STORY, controls=False) == [
        "the grade confirmed leans on a control that no entry holds"
    ]


@pytest.mark.parametrize(
    "seen",
    [
        [],
        [{"class": "denied", "status": 403, "step": "control", "subject": "conv_2"}],
    ],
)
def test_a_control_that_saw_nothing_supports_nothing(seen: list[dict[str, Any]]) -> None:
    trail = Trail()
    trail.feed(0, "control.probed", None, {**_PROBE, "observations": seen})
    assert trail._controls._probes == {}


@pytest.mark.parametrize(
    ("later", "grade"), [(_A_DAY_LATER, _SUSTAINED), (_IS_BACK, _REFUTED)], ids=["sustained", "still present"]
)
def test_a_later_read_of_what_was_graded_before_the_range_is_excused(
    later: dict[str, Any], grade: tuple[str, dict[str, Any]]
) -> None:
    trail = Trail(whole=False)
    assert list(trail.feed(9, "thread.reread", 0, _changed("thread.reread", **later)[1])) == []
    trail.feed(10, "control.probed", None, _PROBE)
    assert list(trail.feed(11, grade[0], 0, grade[1])) == []
    assert list(trail.back()) == []
    assert trail.unbacked == 2


def test_of_many_attempts_the_newest_eleven_are_told_and_none_of_them_is_left_out() -> None:
    def story(told: Sequence[int]) -> list[str]:
        trail, found = Trail(), list[str]()
        _register(trail)
        for fence in range(1, 17):
            answer = "acknowledged" if fence == 16 else "throttled"
            for kind, changes in (
                ("delete.intended", {}),
                (
                    "delete.answered",
                    {
                        "observation": {
                            "class": answer,
                            "status": 200 if fence == 16 else 429,
                            "step": "delete",
                        }
                    },
                ),
            ):
                found += trail.feed(fence, kind, 0, _changed(kind, fence=fence, **changes)[1])
        passes = [{**_PASS, "answer": "throttled", "afters": [], "fence": fence} for fence in told[:-1]]
        graded = _changed(
            "thread.graded", attempts=16, fence=16, passes=[*passes, {**_PASS, "fence": 16}], passes_made=16
        )
        again = {**graded[1], **_SUSTAINED[1], "attempts": 16, "fence": 16}
        again = {**again, "passes": graded[1]["passes"], "passes_made": len(told)}
        for kind, body in (
            _changed("thread.reread", fence=16),
            graded,
            _changed("thread.reread", fence=16, **_A_DAY_LATER),
            ("thread.graded", again),
        ):
            found += _feed(trail, [(kind, body)])
        return found

    assert story(range(6, 17)) == []
    assert set(story([*range(5, 12), *range(13, 17)])) == {"a DELETE was intended that no pass tells of"}
    assert story(range(7, 17)) == [
        "16 passes are said to have been made, 10 of 16 are told",
        "10 passes are said to have been made, 10 of 16 are told",
    ]


_NAMED = ("thread.registered", {"external_id": "conv_1", "kind": "conversation", "owner": "team"})


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize(
    ("changes", "is_lie"),
    [
        ({"subject": "conv_1"}, False),
        ({}, False),
        ({"subject": "conv_9"}, True),
        ({"step": "control"}, True),
        ({"child": "msg_1"}, True),
    ],
)
def test_an_observation_is_of_the_thread_and_of_the_step_that_its_entry_tells(
    at: int, changes: dict[str, Any], *, is_lie: bool
) -> None:
    kind, body = _STORY[at]
    name = "before" if kind == "delete.intended" else "observation"
    story = [_NAMED, *_STORY[:at], (kind, {**body, name: {**body[name], **changes}}), *_STORY[at + 1 :]]
    what = "an observation is told of another step, of a child or of another object"
    assert (what in _feed(Trail(whole=False), story)) is is_lie


@pytest.mark.parametrize("external_id", ["x" * 80, "conv_é", "conv_?", "conv_\\", "conv_\t"])
def test_what_cannot_be_told_for_sure_of_an_id_is_not_compared(external_id: str) -> None:
    """A subject is cut, and made printable (observed.cut): it may read as another's, or as what it is not."""
    named = _NAMED[0], {**_NAMED[1], "external_id": external_id}
    changed = {**_INTENDED, "before": {**_INTENDED["before"], "subject": cut(external_id, 80)}}
    assert _feed(Trail(whole=False), [named, ("delete.intended", changed), *_STORY[1:3]]) == []


def test_an_answer_that_came_late_to_an_older_claim_is_no_lie() -> None:
    late = (
        "delete.late_result",
        {**_ANSWERED, "fence": 0, "observation": {"class": "present", "status": 200, "step": "after"}},
    )
    trail = Trail()
    assert _feed(trail, [*_STORY, late]) == []
    assert list(trail.back()) == []


@pytest.mark.parametrize("subject", [["conv_1"], {"id": "conv_1"}, 7])
def test_a_subject_that_is_no_text_is_misshapen(subject: object) -> None:
    trail = Trail(whole=False)
    for kind, body in _STORY[:3]:
        name = "before" if kind == "delete.intended" else "observation"
        with pytest.raises(Misshapen):
            trail.feed(0, kind, 0, {**body, name: {**body[name], "subject": subject}})
    with pytest.raises(Misshapen):
        trail.feed(0, "control.probed", None, {**_PROBE, "observations": [{**_CONTROL, "subject": subject}]})


def test_a_thread_that_no_entry_registers_is_found_once() -> None:
    trail = Trail()
    told = [*trail.feed(0, *_in_order(0)), *trail.feed(1, *_in_order(1))]
    assert told == ["no registration of the thread stands before its first entry"]
    # One that comes behind it is not told of as well; but a second one is.
    assert trail.feed(2, "thread.registered", 0, {}) == ()
    assert trail.feed(3, "thread.registered", 0, {}) == ("the thread was registered before",)
    gone = Trail()
    gone.lose("thread.registered", 0)
    assert list(gone.feed(0, *_in_order(0))) == []


def _in_order(at: int) -> tuple[str, int, dict[str, Any]]:
    kind, body = _STORY[at]
    return kind, 0, body


def test_a_body_that_is_gone_excuses_only_what_it_may_have_told() -> None:
    trail = Trail()
    trail.lose("notice.delivered", 0)
    assert len(_told(trail, "delete.intended", "delete.answered", "thread.reread")) > 4
    assert trail.unbacked == 0
    trail = Trail()
    trail.lose("delete.answered", 0)
    assert _told(trail, "delete.answered") == []
    assert _told(Trail(partial=True, single=True), "delete.answered") == []


def test_where_the_absent_read_is_here_its_instant_is_not_excused() -> None:
    dated = _changed("thread.graded", observations=[{**_GONE, "at": "2031-01-01T00:00:00Z"}, _CONTROL])
    what = "the absent read is shown with an instant that no entry tells"
    for without, found in (((), [what]), (("thread.reread",), [])):
        trail = Trail()
        trail.lose("thread.preread", 0)
        trail.lose("thread.reread", 0)
        trail.lose("control.probed", None)
        assert _feed(trail, [one for one in [*_STORY[:3], dated] if one[0] not in without]) == found


def test_as_many_deletes_are_excused_as_intents_are_gone() -> None:
    for lost, excused in ((2, True), (1, False)):
        trail = Trail()
        for kind in ("delete.answered", "thread.reread", *["delete.intended"] * lost):
            trail.lose(kind, 0)
        trail.lose("control.probed", None)
        passes = [{**_PASS, "afters": [], "answer": "throttled"}, _BY_FENCE_2]
        told = _feed(trail, [_changed("thread.graded", attempts=2, fence=2, passes=passes, passes_made=2)])
        assert (told == []) is excused


def test_what_stood_between_two_passes_may_be_what_is_gone() -> None:
    """The thread changed hands while a claim read it, and the later owner's bodies were shredded."""
    graded = _changed(
        "thread.graded",
        attempts=2,
        fence=2,
        passes=[{**_PASS, "afters": [], "answer": "throttled"}, _BY_FENCE_2],
        passes_made=2,
    )
    throttled = _changed(
        "delete.answered", observation={"class": "throttled", "status": 429, "step": "delete"}
    )
    trail = Trail()
    assert _feed(trail, [_STORY[0], throttled]) == []
    for kind in ("delete.intended", "delete.answered", "thread.reread"):
        trail.lose(kind, 0)
    trail.lose("control.probed", None)
    assert _feed(trail, [graded]) == []


def test_an_object_is_registered_once() -> None:
    trail = Trail()
    for thread, external_id in enumerate(("conv_1", "conv_2", "conv_1")):
        trail.feed(thread, "thread.registered", thread, {**_NAMED[1], "external_id": external_id})
    assert list(trail.twins()) == [2]


def test_reads_before_the_range_tells_what_a_thread_is_are_held_to_it() -> None:
    seen = {
        **_BEFORE,
        "observation": {"class": "present", "status": 200, "step": "before", "subject": "conv_9"},
    }
    graded = _changed("thread.graded", grade="still_present")[1]
    for external_id, found in (("conv_1", True), ("conv_9", False), ("x" * 80, False)):
        trail = Trail(whole=False)
        trail.feed(0, "thread.preread", 0, seen)
        told = trail.feed(1, "thread.graded", 0, {**graded, "external_id": external_id})
        assert ("the kind, external id or account is another than before" in told) is found


def test_the_account_stays() -> None:
    account = {"provider": "openai", "base_url": "https://a/v1", "organization": "", "provider_project": ""}
    for other, found in (
        (dict(account), False),
        ({**account, "base_url": "https://b/v1"}, True),
        (None, True),
    ):
        trail = Trail()
        trail.feed(0, "thread.registered", 0, {**_NAMED[1], "account": account})
        told = trail.feed(1, "thread.withdrawn", 0, {**_NAMED[1], "account": other})
        assert ("the kind, external id or account is another than before" in told) is found
