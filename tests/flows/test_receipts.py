"""An order's receipt, its deadline, and the entries that say how it was answered."""

from __future__ import annotations

import gzip
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.flows.test_failures import lied_to, parked, take_note, take_up
from tests.flows.test_late_registrations import registration
from tests.flows.test_log import exported
from tests.flows.test_orders import FLOORS, run_erasures
from tests.world.world import ACTOR, PROJECT, World, project_document
from worker.audit.verify import verify_bundle
from worker.flows import answer
from worker.flows.answer import answer_orders
from worker.flows.attest import BEGINNING, attest
from worker.flows.erase import order_erasure
from worker.flows.hold import release_hold
from worker.flows.receipt import receipt
from worker.flows.register import register
from worker.model.decision import HoldScope
from worker.model.errors import Invalid
from worker.model.receipt import LineStatus, OrderStatus, Receipt
from worker.model.thread import Kind
from worker.store import orders, threads
from worker.store.orders import StoredOrder, Wanted

DAY = timedelta(days=1)


def erase(world: World, owner: str | None = None, **more: Any) -> Receipt:
    given = {"ids": (), "at": None, "reason": "art. 17", **more}
    return order_erasure(world.database, owner=owner, actor=ACTOR, clock=world.clock, **given)


def now_of(world: World, order: Receipt) -> Receipt:
    with world.database.read() as db:
        return receipt(db, order.id, now=world.clock.now())


def statuses(world: World, order: Receipt) -> dict[str, tuple[LineStatus, str | None]]:
    return {one.id: (one.status, one.reason) for one in now_of(world, order).lines}


def kept(world: World, order: Receipt) -> StoredOrder:
    with world.database.read() as db:
        found = orders.get(db, order.id)
    assert found is not None
    return found


def look(world: World, *, later: timedelta = timedelta()) -> int:
    world.clock.move(later)
    return answer_orders(world.database, actor=ACTOR, clock=world.clock)


def answers(world: World) -> list[dict[str, Any]]:
    return world.entries("erasure.answered")


def test_every_thread_has_its_own_line_and_the_order_stands_as_the_least_settled_one(world: World) -> None:
    world.rules(FLOORS)
    gone = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann")
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.vanish(gone)
    taken = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann")
    withdrawn = world.withdraw(world.register(kind=Kind.FILE, age=3 * DAY, owner="ann"))
    legal = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann", tags={"invoice": "1"})
    held = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann")
    hold = world.hold(HoldScope(ids=(held.thread.id,)))
    order = erase(world, "ann")
    assert order.status is OrderStatus.OPEN

    run_erasures(world)

    told = now_of(world, order)
    assert {one.id: (one.status, one.reason, one.grade) for one in told.lines} == {
        gone.thread.id: (LineStatus.ABSENT, None, "absent"),
        taken.thread.id: (LineStatus.DELETED, None, "confirmed"),
        withdrawn.thread.id: (LineStatus.REFUSED, "withdrawn: registered by mistake", None),
        legal.thread.id: (LineStatus.REFUSED, "tax", None),
        held.thread.id: (LineStatus.HELD, "hold:case-7", None),
    }
    by_id = {one.id: one for one in told.lines}
    assert legal.thread.created_at is not None
    until = by_id[legal.thread.id].until
    assert until == legal.thread.created_at.replace(year=legal.thread.created_at.year + 10)
    [graded] = world.entries("thread.graded", taken)
    assert by_id[taken.thread.id].entry is not None
    assert graded["grade"] == "confirmed"
    assert told.status is OrderStatus.HELD

    release_hold(world.database, hold.hold.id, reason="over", actor=ACTOR, clock=world.clock)
    assert now_of(world, order).status is OrderStatus.OPEN
    run_erasures(world)
    assert now_of(world, order).status is OrderStatus.ANSWERED


def test_a_legal_rule_whose_date_nobody_knows_refuses_by_its_name(world: World) -> None:
    world.rules(FLOORS)
    one = world.register(kind=Kind.FILE, age=20_000 * DAY, owner="ann", tags={"invoice": "1"})
    order = erase(world, "ann")
    assert statuses(world, order)[one.thread.id] == (LineStatus.REFUSED, "tax: QUARANTINED")


def test_an_order_has_a_month_from_its_instant_and_its_own_deadline_where_it_gives_one(
    world: World,
) -> None:
    now = world.clock.now()
    instant = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert erase(world, "ann", at=instant).deadline == datetime(2026, 2, 28, 12, tzinfo=UTC)
    own = now + timedelta(days=10)
    assert kept(world, erase(world, "ann", deadline=own)).deadline == own
    late = erase(world, "ann", at=now - 3 * DAY, deadline=now - DAY)
    assert late.deadline == now - DAY
    for wrong in (now - timedelta(seconds=1), now + 93 * DAY):
        with pytest.raises(Invalid) as raised:
            erase(world, "ann", at=now, deadline=wrong)
        assert raised.value.pointer == "/deadline"
    ordered = world.entries("erasure.ordered")
    assert ordered[0]["deadline"] == "2026-02-28T12:00:00Z"


def test_each_new_standing_is_an_entry_of_each_project_with_its_own_threads(world: World) -> None:
    url = world.sandbox.base_url
    world.policies(FLOORS + project_document(url) + project_document(url, "twin", "provider_project: proj_2"))
    here = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann")
    there = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann", project="twin")
    hold = world.hold(HoldScope(projects=(PROJECT, "twin")))
    order = erase(world, "ann")

    assert {one["project"]: (one["status"], one["held"], one["threads"]) for one in answers(world)} == {
        PROJECT: ("held", 1, [f"{here.thread.id} held"]),
        "twin": ("held", 1, [f"{there.thread.id} held"]),
    }
    assert (kept(world, order).status, kept(world, order).counts) == (OrderStatus.HELD, {"held": 2})

    assert look(world) == 0
    assert look(world, later=timedelta(minutes=59)) == 0
    assert look(world, later=timedelta(minutes=2)) == 1
    assert len(answers(world)) == 2

    release_hold(world.database, hold.hold.id, reason="over", actor=ACTOR, clock=world.clock)
    assert look(world, later=timedelta(minutes=61)) == 1
    assert kept(world, order).status is OrderStatus.OPEN
    assert len(answers(world)) == 2
    world.withdraw(here)
    world.withdraw(there)
    assert look(world, later=timedelta(minutes=2)) == 1
    assert [one["refused"] for one in answers(world)[2:]] == [1, 1]
    assert look(world, later=30 * DAY) == 0


def test_what_was_deleted_is_looked_at_until_it_was_read_a_second_time(world: World) -> None:
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.register(kind=Kind.FILE, age=3 * DAY, owner="ann")
    order = erase(world, "ann")
    run_erasures(world)
    assert look(world, later=timedelta(minutes=2)) == 1
    [told] = answers(world)
    assert (told["status"], told["deleted"], told["erasure"]) == ("done", 1, order.id)
    assert look(world, later=timedelta(minutes=61)) == 1
    world.clock.move(DAY)
    world.drain()
    assert look(world) == 1
    assert look(world, later=30 * DAY) == 0
    assert [one["status"] for one in answers(world)] == ["done"]


def test_an_order_that_covers_nothing_says_so_at_once(world: World) -> None:
    order = erase(world, "nobody")
    [told] = answers(world)
    assert (told["status"], told["project"], told["threads"]) == ("empty", None, [])
    assert kept(world, order).status is OrderStatus.EMPTY
    assert look(world, later=30 * DAY) == 0


def test_a_late_registration_opens_an_empty_order_again(world: World) -> None:
    order = erase(world, "ann")
    assert kept(world, order).status is OrderStatus.EMPTY
    with world.database.write() as db:
        register(db, registration(world), actor=ACTOR, now=world.clock.now() - DAY)
    assert look(world) == 1
    assert kept(world, order).status is OrderStatus.OPEN


def test_an_order_past_its_deadline_is_told_once_and_listed(world: World) -> None:
    due = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann")
    order = erase(world, "ann", deadline=world.clock.now() + DAY)
    late = erase(world, "bob", deadline=world.clock.now() + DAY)
    with capture_logs() as lines:
        assert look(world, later=DAY) == 1
        assert look(world, later=timedelta(minutes=2)) == 1
    alerts = [one for one in lines if one["event"] == "alert.raised"]
    assert [(one["alert"], one["erasure"], one["pending"]) for one in alerts] == [
        ("erasure.overdue", order.id, 1)
    ]
    with world.database.read() as db:
        now = world.clock.now()
        assert orders.count_overdue(db, now) == 1
        page = orders.page(
            db, Wanted(overdue=True, now=now), limit=9, ascending=False, after=None, before=None
        )
    assert [one.id for one in page] == [order.id]
    assert kept(world, late).status is OrderStatus.EMPTY

    world.withdraw(due)
    look(world, later=timedelta(minutes=2))
    with world.database.read() as db:
        assert orders.count_overdue(db, world.clock.now()) == 0


def test_what_is_parked_keeps_an_order_open_until_a_person_accepts_it_and_opens_it_again_when_taken_up(
    world: World,
) -> None:
    due = lied_to(world)
    order = erase(world, ids=(due.thread.id,))
    assert statuses(world, order)[due.thread.id][0] is LineStatus.PARKED
    assert look(world) == 0
    assert kept(world, order).status is OrderStatus.OPEN
    [failure] = parked(world)
    take_note(world, failure.fingerprint)
    assert look(world, later=timedelta(minutes=2)) == 1
    assert [one["status"] for one in answers(world)] == ["answered"]
    assert look(world, later=30 * DAY) == 0
    take_up(world, failure.fingerprint)
    assert look(world) == 1
    assert kept(world, order).status is OrderStatus.OPEN


def test_two_looks_at_once_write_one_entry(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.register(kind=Kind.FILE, age=3 * DAY, owner="ann")
    hold = world.hold(HoldScope(owners=("ann",)))
    order = erase(world, "ann")
    release_hold(world.database, hold.hold.id, reason="over", actor=ACTOR, clock=world.clock)
    assert look(world, later=timedelta(minutes=61)) == 1
    world.hold(HoldScope(owners=("ann",)))
    before = len(answers(world))
    made: list[int] = []

    def meanwhile(db: Any, erasure_id: str, *, now: datetime) -> Receipt:
        found = receipt(db, erasure_id, now=now)
        if not made:
            made.append(1)
            monkeypatch.setattr(answer, "receipt", receipt)
            assert look(world) == 1
        return found

    monkeypatch.setattr(answer, "receipt", meanwhile)
    assert look(world, later=timedelta(minutes=2)) == 1
    assert len(answers(world)) == before + 1
    assert kept(world, order).status is OrderStatus.HELD


def test_an_order_that_cannot_be_looked_at_keeps_no_other_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner in ("ann", "bob"):
        world.register(kind=Kind.FILE, age=3 * DAY, owner=owner)
    bad, good = erase(world, "ann"), erase(world, "bob")
    world.hold(HoldScope(owners=("bob",)))

    def refuse(db: Any, erasure_id: str, *, now: datetime) -> Receipt:
        if erasure_id == bad.id:
            raise Invalid("It cannot be read.")
        return receipt(db, erasure_id, now=now)

    monkeypatch.setattr(answer, "receipt", refuse)
    with capture_logs() as lines:
        assert look(world, later=timedelta(minutes=2)) == 2
    assert [one["erasure"] for one in lines if one["event"] == "erasure.look_failed"] == [bad.id]
    assert kept(world, good).status is OrderStatus.HELD


def test_the_answer_is_in_the_projects_export_and_in_that_of_the_order(world: World, tmp_path: Path) -> None:
    url = world.sandbox.base_url
    world.policies(FLOORS + project_document(url) + project_document(url, "twin", "provider_project: proj_2"))
    here = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann")
    there = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann", project="twin")
    world.hold(HoldScope(owners=("ann",)))
    order = erase(world, "ann")
    whole, single = tmp_path / "whole.zip", tmp_path / "single.zip"
    assert exported(world, whole).problems == ()
    attest(
        world.database,
        world.sealer,
        project=PROJECT,
        erasure=order.id,
        window=(BEGINNING, world.clock.now()),
        out=single,
        actor=ACTOR,
        clock=world.clock,
    )
    report = verify_bundle(single)
    assert report.problems == ()
    # Its thread's registration, the order, and how it stands in this project.
    assert report.bodies == 3
    for file in (whole, single):
        with zipfile.ZipFile(file) as members:
            bodies = gzip.decompress(members.read("bodies.jsonl.gz")).decode()
        assert f"{here.thread.id} held" in bodies
        assert there.thread.id not in bodies


def test_two_lists_by_owner_and_status_page_in_both_directions(world: World) -> None:
    made = [erase(world, owner) for owner in ("ann", "bob", "ann")]

    def ids(*, ascending: bool = False, limit: int = 9, **more: Any) -> list[str]:
        after, before = more.pop("after", None), more.pop("before", None)
        with world.database.read() as db:
            found = orders.page(
                db, Wanted(**more), limit=limit, ascending=ascending, after=after, before=before
            )
        return [one.id for one in found]

    names = [one.id for one in made]
    assert ids() == names[::-1]
    assert ids(owner="ann", ascending=True) == [names[0], names[2]]
    assert ids(status=OrderStatus.OPEN) == []
    assert ids(status=OrderStatus.EMPTY, limit=1) == names[2:]
    assert ids(after=names[2], limit=1) == [names[1]]
    assert ids(before=names[0], limit=1) == [names[1]]
    assert ids(before=names[2], limit=1, ascending=True) == [names[1]]
    assert ids(projects=["elsewhere"], actor="somebody") == []
    assert ids(projects=["elsewhere"], actor=ACTOR) == names[::-1]


def test_a_bound_caller_is_shown_orders_whose_threads_are_all_its_own(world: World) -> None:
    one = world.register(kind=Kind.FILE, age=3 * DAY, owner="ann")
    order = erase(world, "ann")
    with world.database.read() as db:
        assert threads.get(db, one.thread.id) is not None

        def seen(*projects: str) -> list[str]:
            wanted = Wanted(projects=projects, actor="key:other")
            return [
                each.id for each in orders.page(db, wanted, limit=9, ascending=False, after=None, before=None)
            ]

        assert seen(PROJECT) == seen(PROJECT, "twin") == [order.id]
        assert seen("twin") == []
