"""Rows of threads: pages that skip nothing, and instants that mean one thing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy.exc import StatementError

from worker.model.ids import ThreadId
from worker.model.thread import Account, Kind, Thread, ThreadState
from worker.store import listing, protections, siblings, threads
from worker.store.engine import Database
from worker.store.listing import Filter
from worker.store.threads import Schedule

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SCHEDULE = Schedule(evaluate_at=NOW, due_policy="all", under="sha256:0")


def thread(number: int, *, registered_at: datetime = NOW, tags: dict[str, str] | None = None) -> Thread:
    return Thread(
        id=ThreadId(f"thr_{number:02d}"),
        kind=Kind.FILE,
        external_id=f"file-{number}",
        project="demo" if number % 2 else "other",
        owner="team",
        registered_at=registered_at,
        tags=tags or {},
        account=Account(provider="openai", base_url="http://127.0.0.1/v1"),
    )


@pytest.fixture
def ten(database: Database) -> Database:
    with database.write() as db:
        for number in range(10):
            assert threads.add(db, thread(number), SCHEDULE)
    return database


def names(found: list[threads.StoredThread]) -> list[int]:
    return [int(one.thread.id.removeprefix("thr_")) for one in found]


@pytest.mark.parametrize("ascending", [True, False])
def test_pages_by_cursor_visit_every_row_once_in_both_orders(ten: Database, ascending: bool) -> None:
    seen: list[int] = []
    after: str | None = None
    with ten.read() as db:
        while page := listing.page(db, Filter(), limit=3, ascending=ascending, after=after):
            seen += names(page)
            after = page[-1].thread.id
    assert seen == (list(range(10)) if ascending else list(range(9, -1, -1)))


@pytest.mark.parametrize("ascending", [True, False])
def test_the_page_before_a_cursor_ends_just_before_it(ten: Database, ascending: bool) -> None:
    with ten.read() as db:
        page = listing.page(db, Filter(), limit=3, ascending=ascending, before="thr_05")
    assert names(page) == ([2, 3, 4] if ascending else [8, 7, 6])


def test_a_cursor_stays_valid_when_its_row_is_not_there(ten: Database) -> None:
    with ten.read() as db:
        page = listing.page(db, Filter(project="demo"), limit=2, ascending=True, after="thr_04x")
    assert names(page) == [5, 7]


def test_a_list_shows_only_the_callers_projects(ten: Database) -> None:
    with ten.read() as db:
        assert names(listing.page(db, Filter(projects=["demo"]), limit=50, ascending=True)) == [1, 3, 5, 7, 9]
        assert listing.page(db, Filter(projects=[]), limit=50) == []


def test_a_naive_instant_never_reaches_the_database(database: Database) -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(StatementError, match="naive"), database.write() as db:
        threads.add(db, thread(1, registered_at=naive), SCHEDULE)


def test_an_instant_comes_back_as_the_same_instant_in_utc(database: Database) -> None:
    berlin = NOW.astimezone(timezone(timedelta(hours=1))) + timedelta(microseconds=1)
    with database.write() as db:
        threads.add(db, thread(1, registered_at=berlin), SCHEDULE)
    with database.read() as db:
        found = threads.get(db, "thr_01")
    assert found is not None
    assert found.thread.registered_at == berlin
    assert found.thread.registered_at.tzinfo is UTC


def test_a_tag_is_compared_as_text_whatever_it_looks_like(database: Database) -> None:
    odd = {"a.b": "1", "$": "x", "0": "y", "n": "null"}
    with database.write() as db:
        threads.add(db, thread(1, tags=odd), SCHEDULE)
        threads.add(db, thread(2, tags={"a": "1"}), SCHEDULE)
    with database.read() as db:
        for tag in odd.items():
            assert names(listing.page(db, Filter(tag=tag), limit=9)) == [1]


def test_one_provider_object_is_stored_once(ten: Database) -> None:
    again = Thread(
        id=ThreadId("thr_99"),
        kind=Kind.FILE,
        external_id="file-1",
        project="third",
        owner="team",
        registered_at=NOW,
        account=Account(provider="openai", base_url="http://127.0.0.1/v1"),
    )
    with ten.write() as db:
        assert threads.add(db, again, SCHEDULE) is False
        # The transaction goes on: a refused row takes nothing along.
        assert threads.add(db, thread(50), SCHEDULE) is True


def test_siblings_are_live_and_of_the_same_account_project_and_kind(ten: Database) -> None:
    with ten.write() as db:
        threads.set_state(db, "thr_03", ThreadState.DELETED)
        threads.set_state(db, "thr_00", ThreadState.PARKED)
        threads.set_state(db, "thr_02", ThreadState.WITHDRAWN)
    with ten.read() as db:
        found = siblings.find(db, thread(1), exclude=["thr_05"], limit=9)
        assert siblings.is_expected(db, ThreadId("thr_07"))
        assert not siblings.is_expected(db, ThreadId("thr_03")), "its end came"
        assert siblings.is_expected(db, ThreadId("thr_00")), "no DELETE of it may have left"
        assert siblings.is_expected(db, ThreadId("thr_02")), "no DELETE of it ever leaves"
    assert sorted(one.id for one in found) == ["thr_07", "thr_09"]


def test_more_threads_are_looked_up_than_a_statement_has_parameters(ten: Database) -> None:
    names = [f"thr_{number:02d}" for number in range(70_000)]
    with ten.write() as db:
        assert list(threads.many(db, names, lock=True)) == [f"thr_{number:02d}" for number in range(10)]
        assert protections.circumstances(db, names).erasures == ()
