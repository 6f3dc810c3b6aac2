"""What a comparison does not flag never makes a thread due that was not due before.

The proof is looked for by trial: edits are kept as long as the comparison calls none of them a loosening,
and then no thread, at no instant, may be due under the edited bundle and not under the first one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from worker.model.decision import Circumstances, Erasure, Notice, Outcome, TagSelector
from worker.model.ids import ThreadId
from worker.model.thread import Kind, Thread
from worker.policy.canonical import make_bundle
from worker.policy.compare import compare
from worker.policy.document import (
    Basis,
    Bundle,
    DeleteRule,
    Guards,
    Match,
    Mode,
    Notify,
    Policy,
    ProducerTtl,
    RetainRule,
    Schedule,
    Since,
    Tier,
)
from worker.policy.durations import Duration, parse_duration
from worker.policy.evaluate import decide
from worker.policy.lengths import lasts_as_long

_NOW = datetime(2026, 11, 22, tzinfo=UTC)
_ID = ThreadId("thr_1")
_EXAMPLES = 100

_LENGTHS = st.sampled_from(["1h", "7d", "28d", "30d", "31d", "P1M", "P3M", "90d", "P1Y", "365d"]).map(
    parse_duration
)
_GLOBS = st.sampled_from(["*", "s*", "support-*", "support-eu", "support-??", "sales", "*s", "?ales"])
_OWNERS = st.sampled_from(["team-*", "team-?", "team-a", "team-legal", "*-legal"])
_VALUES = st.lists(st.sampled_from(["prod", "dev", "eu"]), min_size=1, max_size=2, unique=True).map(tuple)
_TAGS = st.one_of(
    st.builds(
        TagSelector,
        key=st.sampled_from(["env", "keep"]),
        operator=st.sampled_from(["In", "NotIn"]),
        values=_VALUES,
    ),
    st.builds(
        TagSelector,
        key=st.sampled_from(["env", "keep"]),
        operator=st.sampled_from(["Exists", "DoesNotExist"]),
    ),
)


def _few(strategy: st.SearchStrategy[Any], at_most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=at_most).map(tuple)


_KEYED = st.builds(
    Match,
    projects=_few(_GLOBS),
    kinds=_few(st.sampled_from([Kind.CONVERSATION, Kind.THREAD])),
    owners=_few(_OWNERS, 1),
    tags=_few(_TAGS),
).filter(lambda match: match != Match())
_MATCHES = st.one_of(
    st.just(Match(all=True)), st.builds(lambda glob: Match(projects=(glob,)), _GLOBS), _KEYED
)
_EXCEPTS = st.one_of(st.none(), st.none(), st.builds(lambda owner: Match(owners=(owner,)), _OWNERS), _KEYED)
_DELETES = st.builds(
    DeleteRule,
    after=_LENGTHS,
    since=st.sampled_from(Since),
    producer_ttl=st.sampled_from(ProducerTtl),
)
_RETAINS = st.builds(
    RetainRule,
    length=st.one_of(st.none(), _LENGTHS),
    since=st.sampled_from(Since),
    basis=st.sampled_from(Basis),
)
_NOTIFIES = st.one_of(st.none(), st.none(), st.builds(Notify, to=st.just("owner"), grace=_LENGTHS))
_GRACES = st.sampled_from(["1d", "7d", "90d"]).map(parse_duration)
_GUARDS = Guards(max_deletes=10, max_percent=10, min_population=10, window=parse_duration("24h"))
_MODES = st.sampled_from([Mode.ENFORCE, Mode.ENFORCE, Mode.ENFORCE, Mode.AUDIT, Mode.DISABLED])
_TIERS = st.sampled_from([Tier.SPECIFIC, Tier.SPECIFIC, Tier.DEFAULT])
_NAMES = st.sampled_from(["a", "b", "c"])
_Parts = dict[str, st.SearchStrategy[Any]]
# Everything that a policy may say.
_WIDE: _Parts = {
    "match": _MATCHES,
    "except_": _EXCEPTS,
    "mode": _MODES,
    "tier": _TIERS,
    "delete": st.one_of(st.none(), _DELETES, _DELETES, _DELETES),
    "retain": st.one_of(st.none(), st.none(), _RETAINS),
    "notify": _NOTIFIES,
}
# Few rules over the same threads, so that they meet, tie and lend each other notice.
_CROWDED: _Parts = {
    "match": st.sampled_from([Match(all=True), Match(all=True), Match(projects=("support-*",))]),
    "except_": st.just(None),
    "mode": st.sampled_from([Mode.ENFORCE, Mode.ENFORCE, Mode.ENFORCE, Mode.DISABLED]),
    "tier": _TIERS,
    "delete": st.builds(
        DeleteRule,
        after=st.sampled_from(["7d", "30d", "60d"]).map(parse_duration),
        since=st.sampled_from([Since.CREATED_AT, Since.CREATED_AT, Since.REGISTERED_AT]),
        producer_ttl=st.sampled_from([ProducerTtl.SHORTEN, ProducerTtl.SHORTEN, ProducerTtl.IGNORE]),
    ),
    "retain": st.just(None),
    "notify": st.one_of(st.none(), st.builds(Notify, to=st.just("owner"), grace=_GRACES)),
}


_MEETING = st.sampled_from([Match(all=True), Match(projects=("support-*",)), Match(owners=("team-*",))])
# One delete rule, enforced, so that an edit of any field tells.
_LONE: _Parts = {
    "match": st.one_of(_MEETING, _MATCHES),
    "except_": st.one_of(st.none(), st.just(Match(owners=("team-legal",))), _EXCEPTS),
    "mode": st.just(Mode.ENFORCE),
    "tier": st.just(Tier.SPECIFIC),
    "delete": _DELETES,
    "retain": st.just(None),
    "notify": _CROWDED["notify"],
}
# One retain rule, beside a rule that deletes everything early.
_RETAINING: _Parts = {**_LONE, "delete": st.just(None), "retain": _RETAINS, "notify": st.just(None)}


def _policies(parts: _Parts) -> st.SearchStrategy[Policy]:
    guards, schedule = st.just(_GUARDS), st.just(Schedule(cron="0 3 * * *"))
    return st.builds(Policy, name=_NAMES, owner=st.just("tests"), guards=guards, schedule=schedule, **parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What becomes of the policy of that name: a part replaced, or all of it gone or new."""

    name: str
    part: str
    value: Any

    def apply(self, policies: Sequence[Policy]) -> tuple[Policy, ...]:
        others = tuple(one for one in policies if one.name != self.name)
        found = next((one for one in policies if one.name == self.name), None)
        match self.part:
            case "gone":
                return others
            case "new":
                return (*others, replace(self.value, name=self.name))
            case "after" | "since" | "producer_ttl" if found and found.delete:
                return (*others, replace(found, delete=replace(found.delete, **{self.part: self.value})))
            case "length" | "basis" if found and found.retain:
                return (*others, replace(found, retain=replace(found.retain, **{self.part: self.value})))
            case part if found and part in _WIDE:
                return (*others, replace(found, **{part: self.value}))
            case _:
                return tuple(policies)


def _edits(parts: _Parts, only: Sequence[str] = ()) -> st.SearchStrategy[Edit]:
    values: _Parts = {
        **parts,
        "mode": _MODES,
        "tier": _TIERS,
        "gone": st.none(),
        "new": _policies(parts),
        "after": _LENGTHS,
        "since": st.sampled_from(Since),
        "producer_ttl": st.sampled_from(ProducerTtl),
        "length": st.one_of(st.none(), _LENGTHS),
        "basis": st.sampled_from(Basis),
    }
    return st.sampled_from(only or sorted(values)).flatmap(
        lambda part: st.builds(Edit, name=_NAMES, part=st.just(part), value=values[part])
    )


_PAST = st.builds(lambda days: _NOW - timedelta(days=days), st.sampled_from([0, 1, 7, 29, 31, 60, 120, 400]))
_THREADS = st.builds(
    Thread,
    id=st.just(_ID),
    kind=st.sampled_from([Kind.CONVERSATION, Kind.THREAD]),
    external_id=st.just("conv_1"),
    project=st.sampled_from(["support-eu", "support-x", "sales"]),
    owner=st.sampled_from(["team-a", "team-legal", "x"]),
    registered_at=_PAST,
    tags=st.dictionaries(st.sampled_from(["env", "keep"]), st.sampled_from(["prod", "dev", "eu"])),
    ttl=st.sampled_from([None, None, "P7D", "P40D"]),
    created_at=st.one_of(st.none(), _PAST, _PAST, _PAST),
    last_activity_at=st.one_of(st.none(), _PAST),
)
# A notice that promised nothing always counts; see the example of one that promised a later date.
_NOTICES = st.builds(Notice, thread_id=st.just(_ID), at=_PAST)
_CIRCUMSTANCES = st.builds(
    Circumstances,
    erasures=st.one_of(
        st.just(()), st.just(()), st.just(()), _few(st.builds(Erasure, at=_PAST, ids=st.just((_ID,))), 1)
    ),
    notices=st.one_of(st.just({}), _few(_NOTICES).map(lambda some: {_ID: some})),
)
_ERASED = st.just(Circumstances(erasures=(Erasure(at=_NOW, ids=(_ID,)),)))
_GRID = tuple(_NOW + timedelta(days=days) for days in (-100, -30, 0, 20, 100, 400, 1200))


def _edited(policies: Sequence[Policy], edits: Iterable[Edit]) -> tuple[Bundle, Bundle]:
    """Return the first bundle and the one after every edit that keeps the comparison from loosening."""
    base = make_bundle(policies, (), None)
    head = base
    for edit in edits:
        edited = make_bundle(edit.apply(head.policies), (), None)
        if not compare(base, edited).loosening:
            head = edited
    return base, head


_EARLY = Policy(
    name="z",
    owner="tests",
    mode=Mode.ENFORCE,
    match=Match(all=True),
    delete=DeleteRule(after=parse_duration("1h"), since=Since.REGISTERED_AT),
    guards=_GUARDS,
)


def _named(parts: _Parts, at_least: int) -> st.SearchStrategy[list[Policy]]:
    return st.lists(_policies(parts), min_size=at_least, max_size=3, unique_by=lambda policy: policy.name)


_STEPPING_BACK = ("after", "after", "gone", "gone", "match", "mode", "notify", "producer_ttl", "tier")
_DELETING = ("after", "except_", "match", "mode", "new", "notify", "producer_ttl", "since", "since")
_PROTECTING = ("basis", "except_", "gone", "length", "length", "match", "mode", "since")
_MANY = st.lists(_THREADS, min_size=5, max_size=5)
_searched = settings(
    max_examples=_EXAMPLES, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)


@_searched
@given(_named(_WIDE, 1), st.lists(_edits(_WIDE), min_size=1, max_size=8), _MANY, _CIRCUMSTANCES)
def test_what_is_not_flagged_makes_no_thread_due_earlier(
    policies: list[Policy], edits: list[Edit], threads: list[Thread], circumstances: Circumstances
) -> None:
    _assert_sound(policies, edits, threads, circumstances)


@_searched
@given(
    _named(_CROWDED, 2),
    st.lists(_edits(_CROWDED, _STEPPING_BACK), min_size=1, max_size=4),
    _MANY,
    _CIRCUMSTANCES,
)
def test_nor_do_rules_that_meet_over_the_same_threads(
    policies: list[Policy], edits: list[Edit], threads: list[Thread], circumstances: Circumstances
) -> None:
    _assert_sound(policies, edits, threads, circumstances)


@_searched
@given(_policies(_LONE), _edits(_LONE, _DELETING), _MANY, _CIRCUMSTANCES)
def test_nor_does_one_edit_of_one_delete_rule(
    policy: Policy, edit: Edit, threads: list[Thread], circumstances: Circumstances
) -> None:
    _assert_sound([replace(policy, name="a")], [replace(edit, name="a")], threads, circumstances)


@_searched
@given(_policies(_RETAINING), _edits(_RETAINING, _PROTECTING), _MANY, st.one_of(_CIRCUMSTANCES, _ERASED))
def test_nor_does_one_edit_of_one_retain_rule(
    policy: Policy, edit: Edit, threads: list[Thread], circumstances: Circumstances
) -> None:
    _assert_sound([replace(policy, name="a"), _EARLY], [replace(edit, name="a")], threads, circumstances)


def _assert_sound(
    policies: list[Policy], edits: list[Edit], threads: list[Thread], circumstances: Circumstances
) -> None:
    base, head = _edited(policies, edits)
    comparison = compare(base, head)
    assert comparison.changed == (base.digest != head.digest)
    assume(comparison.changed)
    for thread in threads:
        assert _freed(thread, base, head, circumstances) is None, (thread, comparison)


def _freed(thread: Thread, base: Bundle, head: Bundle, circumstances: Circumstances) -> datetime | None:
    """Return an instant at which the thread is due under the head and not under the base."""
    for now in sorted(_instants(thread, (base, head), circumstances)):
        after = decide(thread, bundle=head, circumstances=circumstances, now=now)
        if after.outcome is Outcome.DUE:
            before = decide(thread, bundle=base, circumstances=circumstances, now=now)
            if before.outcome is not Outcome.DUE:
                return now
    return None


def _instants(thread: Thread, bundles: Iterable[Bundle], circumstances: Circumstances) -> set[datetime]:
    """Return a grid of instants, and each at which either bundle's answer changes."""
    found = set(_GRID)
    for bundle in bundles:
        for now in _GRID:
            decision = decide(thread, bundle=bundle, circumstances=circumstances, now=now)
            found |= {at for at in (decision.eligible_at, decision.evaluate_at) if at}
    return found


@given(_LENGTHS, _LENGTHS, st.timedeltas(timedelta(), timedelta(days=99 * 365)))
def test_a_length_that_lasts_as_long_never_ends_earlier(
    one: Duration, other: Duration, since: timedelta
) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC) + since
    if lasts_as_long(one, other):
        assert one.add_to(start) >= other.add_to(start)


_P = Policy(
    name="a",
    owner="tests",
    mode=Mode.ENFORCE,
    match=Match(all=True),
    delete=DeleteRule(after=parse_duration("30d")),
    guards=_GUARDS,
)
_WARNED = replace(_P, notify=Notify(to="owner", grace=parse_duration("7d")))
_LATER = replace(_P, name="b", delete=DeleteRule(after=parse_duration("60d")))


def _ruled(policy: Policy, **parts: Any) -> Policy:
    return replace(policy, delete=replace(policy.delete, **parts))  # type: ignore[type-var]


_LESS_IS_MORE: dict[str, tuple[Policy, Policy | None, Policy]] = {
    "a silenced default rule applies": (
        _ruled(_P, after=parse_duration("365d")),
        None,
        replace(_LATER, tier=Tier.DEFAULT),
    ),
    "where it matches no more": (
        _ruled(_P, after=parse_duration("365d")),
        replace(_ruled(_P, after=parse_duration("365d")), match=Match(owners=("else",))),
        replace(_LATER, tier=Tier.DEFAULT),
    ),
    "it joins the default tier": (
        _ruled(_P, after=parse_duration("365d")),
        replace(_ruled(_P, after=parse_duration("365d")), tier=Tier.DEFAULT),
        replace(_LATER, tier=Tier.DEFAULT),
    ),
    "it leaves the default tier": (replace(_P, tier=Tier.DEFAULT), _P, _LATER),
    "a date that was unknown is needed no more": (_P, None, _ruled(_LATER, since=Since.REGISTERED_AT)),
    "a TTL that was ignored counts": (_ruled(_P, producer_ttl=ProducerTtl.IGNORE), None, _LATER),
    "a rule without notice decides": (_WARNED, _ruled(_WARNED, after=parse_duration("90d")), _LATER),
    "a rule without notice is left": (_WARNED, None, _LATER),
    "a TTL lends its notice no more": (
        _P,
        _ruled(_P, producer_ttl=ProducerTtl.IGNORE),
        replace(_ruled(_WARNED, after=parse_duration("60d")), name="b"),
    ),
}


@pytest.mark.parametrize("case", sorted(_LESS_IS_MORE))
def test_less_of_a_rule_that_makes_a_thread_due_is_flagged(case: str) -> None:
    before, after, beside = _LESS_IS_MORE[case]
    base = make_bundle((before, beside), (), None)
    head = make_bundle((*([after] if after else []), beside), (), None)
    assert compare(base, head).loosening
    assert any(_freed(thread, base, head, Circumstances()) for thread in _SAMPLES)


_KEPT = Policy(
    name="a",
    owner="tests",
    mode=Mode.ENFORCE,
    match=Match(all=True),
    retain=RetainRule(length=parse_duration("90d")),
)
_TOLD = Circumstances(notices={_ID: (Notice(thread_id=_ID, at=_NOW),)})
_ORDERED = Circumstances(erasures=(Erasure(at=_NOW, ids=(_ID,)),))
_NONE = Circumstances()


def _kept(**parts: Any) -> Policy:
    return replace(_KEPT, retain=replace(_KEPT.retain, **parts))  # type: ignore[type-var]


_LOOSENED: dict[str, tuple[Policy | None, Policy | None, Circumstances]] = {
    "deleted earlier": (_P, _ruled(_P, after=parse_duration("20d")), _NONE),
    "deleted from another date": (_P, _ruled(_P, since=Since.REGISTERED_AT), _NONE),
    "deleted by a TTL": (_ruled(_P, producer_ttl=ProducerTtl.IGNORE), _P, _NONE),
    "matched by more": (replace(_P, match=Match(owners=("team-b",))), _P, _NONE),
    "excepted by less": (replace(_P, except_=Match(owners=("team-*",))), _P, _NONE),
    "enforced": (replace(_P, mode=Mode.AUDIT), _P, _NONE),
    "new": (None, _P, _NONE),
    "without notice": (_WARNED, _P, _NONE),
    "with less grace": (
        replace(_WARNED, notify=Notify(to="owner", grace=parse_duration("60d"))),
        _WARNED,
        _TOLD,
    ),
    "retained shorter": (_KEPT, _kept(length=parse_duration("60d")), _NONE),
    "retained from another date": (_KEPT, _kept(since=Since.REGISTERED_AT), _NONE),
    "retained no more": (_KEPT, None, _NONE),
    "retained no more by a document that deletes": (replace(_P, retain=_KEPT.retain), _P, _NONE),
    "retained on paper": (_KEPT, replace(_KEPT, mode=Mode.AUDIT), _NONE),
    "retained by less": (_KEPT, replace(_KEPT, match=Match(projects=("sales",))), _NONE),
    "retained but for some": (_KEPT, replace(_KEPT, except_=Match(owners=("team-a",))), _NONE),
    "retained against no erasure": (_kept(basis=Basis.LEGAL), _KEPT, _ORDERED),
}


@pytest.mark.parametrize("case", sorted(_LOOSENED))
def test_each_kind_of_loosening_makes_some_thread_due(case: str) -> None:
    before, after, circumstances = _LOOSENED[case]
    # What is retained would be deleted early by another rule.
    beside = [_EARLY] if "retained" in case else []
    base, head = (make_bundle([*beside, *([rule] if rule else [])], (), None) for rule in (before, after))
    assert compare(base, head).loosening
    assert any(_freed(thread, base, head, circumstances) for thread in _SAMPLES)


_SAMPLES = [
    Thread(
        id=_ID,
        kind=Kind.CONVERSATION,
        external_id="conv_1",
        project="support-eu",
        owner="team-a",
        registered_at=_NOW,
        created_at=created_at,
        ttl=ttl,
    )
    for created_at in (None, _NOW)
    for ttl in (None, "P7D")
]
