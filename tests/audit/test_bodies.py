from __future__ import annotations

import inspect
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from worker.audit import bodies
from worker.audit.bodies import Intent, Plan
from worker.audit.entry import BodyRefused, Entry
from worker.audit.envelope import make_leaf
from worker.audit.order_bodies import MOST_RANGES
from worker.model.decision import Decision, Erasure, Hold, HoldScope, Outcome, TagSelector
from worker.model.evidence import Class, Control, Observation, Step
from worker.model.ids import HoldId, ThreadId
from worker.model.receipt import LineStatus, OrderStatus
from worker.model.thread import Kind, Thread
from worker.model.work import Stage

AT = datetime(2026, 11, 22, 8, tzinfo=UTC)
THREAD = Thread(
    id=ThreadId("thr_1"),
    kind=Kind.CONVERSATION,
    external_id="conv_1",
    project="support-eu",
    owner="team",
    registered_at=AT,
    tags={"Any Key!": "v"},
)
SEEN = Observation(step=Step.BEFORE, seen=Class.PRESENT, at=AT, status=200)
DUE = Decision(outcome=Outcome.DUE, decided_by="p", eligible_at=AT, rules=("p",), bundle="sha256:0")
SELECTOR = TagSelector(key="env", operator="In", values=("prod",))
HOLD = Hold(id=HoldId("hld_1"), matter="M-1", scope=HoldScope(owners=("team-*",), tags=(SELECTOR,)))
PLAN = Plan(
    sweep="swp_1",
    policy="p",
    slot="2026-11-22",
    bundle="sha256:0",
    digest="sha256:1",
    planned=1,
    population=9,
)
INTENT = Intent(
    item="itm_1",
    fence=1,
    stage=Stage.CONTAINER,
    sweep="swp_1",
    policy="p",
    decision=DUE,
    before=SEEN,
    protection_version=3,
)
GAP = bodies.Gap(
    why="log_behind",
    anchored=bodies.Tree(origin="example.org/log", size=9, root=bytes(32)),
    held=bodies.Tree(origin="example.org/log", size=4, root=bytes(32)),
    agreed=3,
)
ENTRIES: list[Entry] = [
    bodies.thread_registered(THREAD, at=AT, actor="key:1"),
    bodies.thread_changed(THREAD, changes={"ttl": (None, "P30D")}, at=AT, actor="key:1"),
    bodies.thread_withdrawn(THREAD, reason="mistake", at=AT, actor="key:1"),
    bodies.thread_retried(THREAD, reason="fixed", at=AT, actor="key:1"),
    bodies.thread_accepted(THREAD, reason="known", at=AT, actor="key:1"),
    bodies.delete_intended(THREAD, INTENT, at=AT, actor="worker tenure/0"),
    bodies.delete_spared(
        THREAD, item="itm_1", fence=1, decision=DUE, reason="held", at=AT, actor="worker tenure/0"
    ),
    bodies.delete_answered(
        THREAD, item="itm_1", fence=1, stage=Stage.CHILDREN, answer=SEEN, at=AT, actor="worker tenure/0"
    ),
    bodies.thread_preread(THREAD, item="itm_1", fence=1, seen=SEEN, at=AT, actor="worker tenure/0"),
    bodies.thread_reread(
        THREAD, item="itm_1", fence=1, seen=SEEN, control=Control.GOOD, at=AT, actor="worker tenure/0"
    ),
    bodies.control_probed(
        "support-eu",
        kind=Kind.THREAD,
        control=Control.GOOD,
        seen=[SEEN],
        supports=["thr_1"],
        at=AT,
        actor="worker tenure/0",
    ),
    bodies.delete_late_result(
        THREAD, item="itm_1", fence=1, stage=Stage.CONTAINER, late=SEEN, at=AT, actor="worker tenure/0"
    ),
    bodies.hold_placed(HOLD, reason="r", matched=2, too_late=["thr_2"], uncertain=[], at=AT, actor="key:1"),
    bodies.hold_released(HOLD, reason="r", at=AT, actor="key:1"),
    bodies.erasure_ordered(
        Erasure(at=AT, owner="team"),
        id="era_1",
        reason="asked",
        threads=3,
        deadline=AT,
        at=AT,
        actor="key:1",
    ),
    bodies.sweep_planned(PLAN, state="releasing", at=AT, actor="beat tenure/0"),
    bodies.sweep_blocked(PLAN, guard="max_deletes 500 < 501", at=AT, actor="beat tenure/0"),
    bodies.sweep_approved(PLAN, reason="seen", at=AT, actor="key:2"),
    bodies.bundle_activated("sha256:0", previous=None, policies=2, at=AT, actor="beat tenure/0"),
    bodies.bundle_refused(digest=None, problems=["a.yaml:1:1 RP001 no"], at=AT, actor="beat tenure/0"),
    bodies.bundle_approved(
        "sha256:1",
        base="sha256:0",
        preview="prv_1",
        proposed_by="key_1",
        commit=None,
        expires_at=AT,
        reason="seen",
        at=AT,
        actor="key:2",
    ),
    bodies.switch_changed(enabled=False, reason="incident", at=AT, actor="key:1"),
    bodies.key_created(key="k1", label="ci", scopes=["audit:read"], projects=["*"], at=AT, actor="key:1"),
    bodies.key_revoked(key="k1", at=AT, actor="key:1"),
    bodies.notice_delivered(
        THREAD, channel="webhook", promised=AT, policies=["p"], at=AT, actor="beat tenure/0"
    ),
    bodies.erasure_answered(
        id="era_1",
        status=OrderStatus.ANSWERED,
        counts={LineStatus.DELETED: 1, LineStatus.REFUSED: 1},
        threads=["thr_1 deleted confirmed", "thr_2 refused"],
        at=AT,
        actor="beat tenure/0",
    ),
    bodies.access_read(what="GET /v1/threads", rows=20, at=AT, actor="key:1"),
    bodies.key_rotated(
        origin="example.org/log",
        vkey="example.org/log+1+A",
        previous="example.org/log+0+A",
        since=5,
        both_sign=24,
        reason="yearly",
        at=AT,
        actor="key:1",
    ),
    bodies.log_sealed(origin="example.org/log", size=4, root=bytes(32), at=AT, actor="beat tenure/0"),
    bodies.log_epoch(
        number=2, origin="example.org/log/2", gap=GAP, reason="restored", at=AT, actor="cli:host tenure/0"
    ),
    bodies.body_shredded("support-eu", leaves=[(0, 2), (5, 6)], reason="order", at=AT, actor="key:1"),
    bodies.log_pruned(leaves=[(0, 4)], reason="400 days", at=AT, actor="beat tenure/0"),
    bodies.export_made("support-eu", window=(AT, AT), size=4, root=bytes(32), at=AT, actor="key:1"),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.type.value)
def test_each_builder_makes_an_entry_that_can_be_written(entry: Entry) -> None:
    leaf = make_leaf(entry, entry_id="0" * 32, salt=bytes(16), pseudonym_key=b"k")
    assert json.loads(leaf.body)["type"] == entry.type.value


def test_every_builder_is_tried() -> None:
    builders = {name for name in bodies.__all__ if inspect.isfunction(getattr(bodies, name))}
    tried = {entry.type.value.replace(".", "_") for entry in ENTRIES}
    assert builders - {"thread_graded", "api_key_rotated"} == tried


def test_a_rotated_key_of_the_api_names_its_successor_and_mixes_with_no_signing_key() -> None:
    entry = bodies.api_key_rotated(key="k1", successor="k2", ends_at=AT, at=AT, actor="key:1")
    leaf = make_leaf(entry, entry_id="0" * 32, salt=bytes(16), pseudonym_key=b"k")
    assert json.loads(leaf.body)["successor"] == "k2"
    mixed = replace(entry, body={**entry.body, "vkey": "example.org/log+1+A"})
    with pytest.raises(BodyRefused, match="vkey"):
        make_leaf(mixed, entry_id="0" * 32, salt=bytes(16), pseudonym_key=b"k")


def test_an_intent_holds_what_was_decided_and_what_was_seen_before() -> None:
    body = bodies.delete_intended(THREAD, INTENT, at=AT, actor="worker tenure/0").body
    assert body["before"] == {
        "at": "2026-11-22T08:00:00Z",
        "class": "present",
        "status": 200,
        "step": "before",
    }
    assert (body["item"], body["fence"], body["stage"], body["protection_version"]) == (
        "itm_1",
        1,
        "container",
        3,
    )
    assert body["decision"] == {
        "bundle": "sha256:0",
        "decided_by": "p",
        "eligible_at": "2026-11-22T08:00:00Z",
        "outcome": "DUE",
        "rules": ["p"],
    }


def test_a_long_list_is_cut_with_its_length_and_digest() -> None:
    ids = tuple(f"thr_{n:032x}" for n in range(5000))
    hold = Hold(id=HoldId("hld_1"), matter="M-1", scope=HoldScope(ids=ids))
    entry = bodies.hold_placed(
        hold, reason="🧵" * 9000, matched=1, too_late=ids, uncertain=ids, at=AT, actor="key:1"
    )
    assert entry.body["ids_count"] == 5000
    make_leaf(entry, entry_id="0" * 32, salt=bytes(16), pseudonym_key=b"k")


def test_the_ranges_of_one_entry_are_bounded_and_all_of_them_fit() -> None:
    widest = [(10**15 + 2 * n, 10**15 + 2 * n + 1) for n in range(MOST_RANGES)]
    entry = bodies.log_pruned(leaves=widest, reason="x" * 2000, at=AT, actor="beat tenure/0")
    make_leaf(entry, entry_id="0" * 32, salt=bytes(16), pseudonym_key=b"k")
    with pytest.raises(BodyRefused, match="too many"):
        bodies.log_pruned(leaves=[*widest, (0, 1)], reason="x", at=AT, actor="beat tenure/0")
