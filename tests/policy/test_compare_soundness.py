"""What a comparison does not flag never makes a thread due that was not due before.

The proof is looked for by trial: edits are kept as long as the comparison calls none of them a loosening,
and then no thread, at no instant, may be due under the edited bundle and not under the first one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

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
_EXAMPLES = 300

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
_GUARDS = Guards(max_deletes=10, max_percent=10, min_population=10, window=parse_duration("24h"))
_MODES = st.sampled_from([Mode.ENFORCE, Mode.ENFORCE, Mode.ENFORCE, Mode.AUDIT, Mode.DISABLED])
_TIERS = st.sampled_from([Tier.SPECIFIC, Tier.SPECIFIC, Tier.DEFAULT])
_NAMES = st.sampled_from(["a", "b", "c", "d"])
_PARTS: dict[str, st.SearchStrategy[Any]] = {
    "match": _MATCHES,
    "except_": _EXCEPTS,
    "mode": _MODES,
    "tier": _TIERS,
    "delete": st.one_of(st.none(), _DELETES, _DELETES, _DELETES),
    "retain": st.one_of(st.none(), st.none(), _RETAINS),
    "notify": _NOTIFIES,
}
_POLICIES = st.builds(
    Policy,
    name=_NAMES,
    owner=st.just("tests"),
    guards=st.just(_GUARDS),
    schedule=st.just(Schedule(cron="0 3 * * *")),
    **_PARTS,
)


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
            case part if found and part in _PARTS:
                return (*others, replace(found, **{part: self.value}))
            case _:
                return tuple(policies)


_VALUES_OF: dict[str, st.SearchStrategy[Any]] = {
    **_PARTS,
    "gone": st.none(),
    "new": _POLICIES,
    "after": _LENGTHS,
    "since": st.sampled_from(Since),
    "producer_ttl": st.sampled_from(ProducerTtl),
    "length": st.one_of(st.none(), _LENGTHS),
    "basis": st.sampled_from(Basis),
}
_EDITS = st.sampled_from(sorted(_VALUES_OF)).flatmap(
    lambda part: st.builds(Edit, name=_NAMES, part=st.just(part), value=_VALUES_OF[part])
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
    erasures=st.one_of(st.just(()), st.just(()), _few(st.builds(Erasure, at=_PAST, ids=st.just((_ID,))), 1)),
    notices=st.one_of(st.just({}), _few(_NOTICES).map(lambda some: {_ID: some})),
)
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


@settings(max_examples=_EXAMPLES, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(
    st.lists(_POLICIES, min_size=1, max_size=3, unique_by=lambda policy: policy.name),
    st.lists(_EDITS, min_size=1, max_size=8),
    st.lists(_THREADS, min_size=1, max_size=4),
    _CIRCUMSTANCES,
)
def test_what_is_not_flagged_makes_no_thread_due_earlier(
    policies: list[Policy], edits: list[Edit], threads: list[Thread], circumstances: Circumstances
) -> None:
    base, head = _edited(policies, edits)
    comparison = compare(base, head)
    assert comparison.changed == (base.digest != head.digest)
    assume(comparison.changed)
    for thread in threads:
        for now in _instants(thread, (base, head), circumstances):
            after = decide(thread, bundle=head, circumstances=circumstances, now=now)
            if after.outcome is Outcome.DUE:
                before = decide(thread, bundle=base, circumstances=circumstances, now=now)
                assert before.outcome is Outcome.DUE, (thread, now, before, after, comparison)


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
