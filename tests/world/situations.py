"""Threads with all that bears on them, generated: what two engines must decide alike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import Connection, insert, literal

from worker.model.decision import (
    Circumstances,
    Decision,
    Erasure,
    Hold,
    HoldScope,
    Notice,
    TagSelector,
)
from worker.model.ids import HoldId, ThreadId
from worker.model.thread import Kind, Thread, ThreadState
from worker.policy.canonical import make_bundle
from worker.policy.compile import compile_decision
from worker.policy.document import (
    Basis,
    Bundle,
    DeleteRule,
    Match,
    Mode,
    Notify,
    Policy,
    ProducerTtl,
    RetainRule,
    Since,
    Tier,
)
from worker.policy.durations import parse_duration
from worker.policy.evaluate import decide
from worker.store import schedules
from worker.store.engine import Database
from worker.store.tables import erasure, erasure_thread, notice, thread

NOW = datetime(2026, 11, 22, tzinfo=UTC)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thread, what bears on it alone, and how far its orders lie."""

    thread: Thread
    orders: tuple[datetime, ...]
    notices: tuple[tuple[datetime, datetime | None], ...]


def _near(anchors: Sequence[datetime]) -> st.SearchStrategy[datetime]:
    """Instants around anchors, at distances that make ties and exact borders likely."""
    days = st.sampled_from([0, 1, 6, 7, 8, 20, 28, 29, 30, 31, 60, 61, 89, 90, 91, 365, 366, 400])
    micros = st.sampled_from([0, 0, 0, 1, -1, 1_000_000, 999_999])
    return st.builds(
        lambda anchor, back, off: anchor - timedelta(days=back, microseconds=off),
        st.sampled_from(anchors),
        days,
        micros,
    )


# Ends of months, a leap day, and midnight of the clocks below.
_ANCHORS = [NOW, datetime(2026, 3, 31, tzinfo=UTC), datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)]
_ODD = st.sampled_from(
    [
        NOW + timedelta(minutes=30),
        NOW + timedelta(hours=1),
        NOW + timedelta(hours=1, microseconds=1),
        NOW + timedelta(days=3),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1970, 1, 21, tzinfo=UTC),
        datetime(2019, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2020, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 1, tzinfo=UTC),
        FIRST,
        LAST,
    ]
)
WHEN = st.one_of(_near(_ANCHORS), _near(_ANCHORS), _near(_ANCHORS), _near(_ANCHORS), _ODD)
_CLOCKS = st.one_of(
    st.just(NOW),
    st.just(NOW),
    _near(_ANCHORS),
    st.sampled_from([datetime(2026, 1, 29, 3, tzinfo=UTC), LAST, FIRST + timedelta(days=900)]),
)
_LENGTHS = st.sampled_from(
    [
        "1h",
        "7d",
        "20d",
        "30d",
        "4w",
        "P28D",
        "P1M",
        "P1MT6H",
        "P2M",
        "P3M",
        "P90D",
        "365d",
        "P12M",
        "P1Y",
        "P100Y",
    ]
).map(parse_duration)
TTLS = st.sampled_from(
    [
        *[
            "P7D",
            "30d",
            "P1M",
            "4w",
            "36h",
            "P1Y2M3W4DT5H6M7S",
            "P0Y030D",
            "PT90S",
            "P100Y",
            "36525d",
            "P1200M",
        ],
        *[
            "",
            "not a duration",
            "30m",
            "30M",
            "30",
            "0d",
            "P0D",
            "PT",
            "P",
            "P1",
            "-30d",
            "P100YT1S",
            "36526d",
        ],
        *[
            "030d",
            "1d\n",
            " 1d",
            "P1M1Y",
            "PT1H1H",
            "P999999999Y",
            "P999999999D",
            "999999999w",
            "P1.5D",
            "p1d",
        ],
        *["P\u0661D", "\u0661d", "PT876600H", "PT876601H", "1000000000d", "P1YT", "P1W1D", "'; --", "P1201M"],
    ]
)
_KEYS = ["keep", "env", 'a"b', "a.b"]
_TAGS = st.dictionaries(st.sampled_from(_KEYS), st.sampled_from(["true", "prod", "eu", ""]), max_size=2)
_SELECTORS = st.one_of(
    st.builds(TagSelector, key=st.sampled_from(_KEYS), operator=st.sampled_from(["Exists", "DoesNotExist"])),
    st.builds(
        TagSelector,
        key=st.sampled_from(_KEYS),
        operator=st.sampled_from(["In", "NotIn"]),
        values=st.sampled_from([("prod",), ("true", "eu")]),
    ),
)
_PROJECTS = ["support-eu", "support_eu", "sales"]
_OWNERS = ["team-a", "team-legal", "Team-a"]
MATCHES = st.one_of(
    st.just(Match(all=True)),
    st.just(Match(all=True)),
    st.sampled_from(
        [Match(projects=("support-*", "s?les")), Match(owners=("team-?",)), Match(owners=("*",))]
    ),
    st.builds(
        Match,
        projects=st.sampled_from([(), (), ("support?eu",), ("sales", "*-eu")]),
        kinds=st.sampled_from([(), (), (Kind.CONVERSATION,)]),
        owners=st.sampled_from([(), (), ("team-*",)]),
        tags=st.lists(_SELECTORS, max_size=1).map(tuple),
    ),
)
_DELETES = st.builds(
    DeleteRule,
    after=_LENGTHS,
    since=st.sampled_from(Since),
    producer_ttl=st.sampled_from([ProducerTtl.SHORTEN] * 4 + [ProducerTtl.IGNORE]),
)
RETAINS = st.builds(
    RetainRule,
    length=st.one_of(st.none(), _LENGTHS, _LENGTHS, _LENGTHS),
    since=st.sampled_from(Since),
    basis=st.sampled_from(Basis),
)
_NAMES = st.sampled_from(
    ["p-a", "p-b", "p-c", "P-d", "p-\u00e4", "p", "\U0001f600", "\uffee", "a'b", "p:a", "%s"]
)
POLICIES = st.builds(
    Policy,
    name=_NAMES,
    owner=st.just("tests"),
    match=MATCHES,
    except_=st.one_of(st.none(), st.none(), st.none(), MATCHES),
    mode=st.sampled_from([Mode.ENFORCE] * 6 + [Mode.AUDIT, Mode.DISABLED]),
    tier=st.sampled_from([Tier.SPECIFIC, Tier.SPECIFIC, Tier.DEFAULT]),
    delete=st.one_of(st.none(), _DELETES, _DELETES, _DELETES),
    retain=st.one_of(st.none(), st.none(), RETAINS),
    notify=st.one_of(st.none(), st.none(), st.builds(Notify, to=st.just("owner"), grace=_LENGTHS)),
)
_BUNDLES = st.lists(POLICIES, max_size=7, unique_by=lambda policy: policy.name).map(
    lambda policies: make_bundle(policies, (), None)
)
_SCOPES = st.one_of(
    st.builds(
        HoldScope,
        ids=st.sampled_from([(), ("thr_01", "x3"), ("nobody",)]),
        owners=st.sampled_from([(), ("team-l*",), ("team-a",)]),
        projects=st.sampled_from([(), ("sales*",)]),
        tags=st.lists(_SELECTORS, max_size=1).map(tuple),
    ).filter(lambda scope: scope != HoldScope()),
    st.just(HoldScope(ids=("thr_00",))),
)
_MATTERS = st.sampled_from(["b", "a", "A", "\u00e4", "a:b"])
_HOLDS = st.lists(st.builds(Hold, id=st.just(HoldId("hld_1")), matter=_MATTERS, scope=_SCOPES), max_size=3)
_INSTANTS = st.one_of(st.just(()), st.lists(WHEN, max_size=3, unique=True).map(tuple))
_NOTICES = st.one_of(
    st.just(()),
    st.lists(
        st.tuples(_near(_ANCHORS), st.one_of(st.none(), WHEN)), max_size=3, unique_by=lambda one: one[0]
    ).map(tuple),
)


@st.composite
def _cases(draw: st.DrawFn) -> list[Case]:
    return [_case(draw, number) for number in range(draw(st.integers(1, 24)))]


def _case(draw: st.DrawFn, number: int) -> Case:
    made = Thread(
        id=ThreadId(f"thr_{number:02}"),
        kind=draw(st.sampled_from([Kind.CONVERSATION, Kind.THREAD])),
        external_id=f"x{number}",
        project=draw(st.sampled_from(_PROJECTS)),
        owner=draw(st.sampled_from(_OWNERS)),
        registered_at=draw(WHEN),
        tags=draw(_TAGS),
        ttl=draw(st.one_of(st.none(), st.none(), TTLS)),
        created_at=draw(st.one_of(st.none(), WHEN, WHEN, WHEN)),
        last_activity_at=draw(st.one_of(st.none(), st.none(), WHEN)),
        state=draw(st.sampled_from([ThreadState.LIVE] * 12 + [ThreadState.DELETED, ThreadState.PARKED])),
    )
    return Case(thread=made, orders=draw(_INSTANTS), notices=draw(_NOTICES))


def _rows(cases: Sequence[Case]) -> Iterator[Mapping[str, Any]]:
    for case in cases:
        one = case.thread
        yield {
            "id": one.id,
            "kind": one.kind.value,
            "external_id": one.external_id,
            "project": one.project,
            "owner": one.owner,
            "tags": dict(one.tags),
            "ttl": one.ttl,
            "created_at": one.created_at,
            "last_activity_at": one.last_activity_at,
            "registered_at": one.registered_at,
            "state": one.state.value,
            "provider": "",
            "base_url": "",
            "organization": "",
            "provider_project": "",
            "children": [],
        }


def store(db: Connection, cases: Sequence[Case]) -> None:
    db.execute(insert(thread), list(_rows(cases)))
    instants = sorted({at for case in cases for at in case.orders})
    order: dict[str, Any] = {"owner": None, "ids": [], "reason": "", "ordered_at": NOW, "ordered_by": ""}
    if instants:
        orders = [{"id": f"era_{n}", "at": at, **order} for n, at in enumerate(instants)]
        db.execute(insert(erasure), orders)
        covered = [
            {"erasure_id": f"era_{instants.index(at)}", "thread_id": case.thread.id}
            for case in cases
            for at in case.orders
        ]
        db.execute(insert(erasure_thread), covered)
    delivered = [
        {"thread_id": case.thread.id, "at": at, "promised": promised}
        for case in cases
        for at, promised in case.notices
    ]
    if delivered:
        db.execute(insert(notice), delivered)


def bearing_on(case: Case, holds: Sequence[Hold]) -> Circumstances:
    id_ = case.thread.id
    return Circumstances(
        holds=tuple(holds),
        erasures=tuple(Erasure(at=at, ids=(id_,)) for at in case.orders),
        notices={
            id_: tuple(Notice(thread_id=id_, at=at, promised=promised) for at, promised in case.notices)
        },
    )


@contextlib.contextmanager
def undone(database: Database) -> Iterator[Connection]:
    """A transaction that leaves nothing behind."""
    with database.engine.connect() as db, db.begin() as whole:
        yield db
        whole.rollback()


def _told(decision: Decision) -> tuple[Any, ...]:
    return (
        decision.outcome.value,
        decision.decided_by,
        decision.swept_by,
        decision.eligible_at,
        decision.evaluate_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Threads with all that bears on them, the rules, and the time."""

    bundle: Bundle
    cases: list[Case]
    holds: Sequence[Hold] = ()
    now: datetime = NOW

    def function(self) -> dict[str, Any]:
        """What ``decide`` says."""
        return {
            case.thread.id: _told(
                decide(
                    case.thread, bundle=self.bundle, circumstances=bearing_on(case, self.holds), now=self.now
                )
            )
            for case in self.cases
        }

    def statement(self, db: Connection) -> dict[str, Any]:
        """What the statement says."""
        schedules.plainly(db)
        now = literal(self.now, thread.c.registered_at.type)
        query = compile_decision(self.bundle, schedules.rows_of(), now=now, holds=self.holds)
        return {row.id: tuple(row)[1:] for row in db.execute(query)}


SITUATIONS = st.builds(Situation, bundle=_BUNDLES, cases=_cases(), holds=_HOLDS, now=_CLOCKS)
