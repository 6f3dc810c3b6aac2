"""What comes at one moment is done together, and each request gets what it would have got alone."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from threading import Event
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from worker.audit import bodies
from worker.audit.entry import BodyRefused, Entry, EntryType
from worker.http.together import Together
from worker.model.thread import Thread
from worker.store.log import StoredEntry, entries_after
from worker.store.tables import thread

Answer = tuple[int, dict[str, Any]]


def test_whoever_comes_while_a_group_is_under_way_is_in_the_next_one() -> None:
    groups: list[list[int]] = []
    begun, go_on = Event(), Event()

    def do(asked: Sequence[int]) -> list[int | Exception]:
        groups.append(list(asked))
        begun.set()
        assert go_on.wait(10)
        return [2 * one for one in asked]

    async def ask() -> list[int]:
        together = Together(do, most=3)
        first = asyncio.create_task(together(1))
        await asyncio.to_thread(begun.wait, 10)
        others = [asyncio.create_task(together(number)) for number in range(2, 7)]
        # They are in the line once each has had its turn on the loop.
        await asyncio.sleep(0)
        go_on.set()
        return [await one for one in (first, *others)]

    assert asyncio.run(ask()) == [2, 4, 6, 8, 10, 12]
    assert groups == [[1], [2, 3, 4], [5, 6]]


def test_one_that_cannot_be_done_keeps_no_other_from_it() -> None:
    def do(asked: Sequence[int]) -> list[int | Exception]:
        if 13 in asked:
            raise ValueError("13")
        return [LookupError(str(one)) if one == 7 else one for one in asked]

    async def ask() -> list[Any]:
        together = Together(do, most=10)
        return await asyncio.gather(*(together(one) for one in (1, 13, 7, 2)), return_exceptions=True)

    told = asyncio.run(ask())
    assert [told[0], told[3]] == [1, 2]
    assert isinstance(told[1], ValueError)
    assert isinstance(told[2], LookupError)


def test_a_database_that_does_not_answer_is_asked_once_for_all_of_a_group() -> None:
    asked_for: list[int] = []

    def do(asked: Sequence[int]) -> list[int | Exception]:
        asked_for.append(len(asked))
        raise OperationalError("select", {}, Exception("gone"))

    async def ask() -> list[Any]:
        together = Together(do, most=10)
        return await asyncio.gather(*(together(one) for one in range(5)), return_exceptions=True)

    assert all(isinstance(one, OperationalError) for one in asyncio.run(ask()))
    assert asked_for == [5]


def test_whoever_is_gone_before_the_answer_disturbs_nobody() -> None:
    begun, go_on = Event(), Event()

    def do(asked: Sequence[int]) -> list[int | Exception]:
        begun.set()
        assert go_on.wait(10)
        return list(asked)

    async def ask() -> tuple[bool, int]:
        together = Together(do, most=10)
        leaving, staying = asyncio.create_task(together(1)), asyncio.create_task(together(2))
        await asyncio.to_thread(begun.wait, 10)
        leaving.cancel()
        go_on.set()
        told = await staying
        await asyncio.wait([leaving])
        return leaving.cancelled(), told

    assert asyncio.run(ask()) == (True, 2)


def test_it_serves_one_event_loop_after_another() -> None:
    together = Together[int, int](list, most=10)

    async def ask() -> int:
        return await together(4)

    assert [asyncio.run(ask()), asyncio.run(ask())] == [4, 4]


def _asked(app: FastAPI, requests: Sequence[tuple[str, dict[str, Any]]]) -> list[Answer]:
    """Send all registrations at once, each with its key; returns their answers in order."""

    async def ask() -> list[Answer]:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://tests") as client:

            async def one(key: str, body: dict[str, Any]) -> Answer:
                headers = {"Authorization": f"Bearer {key}", "X-Request-ID": f"of-{body['external_id']}"}
                answer = await client.post("/v1/threads", json=body, headers=headers)
                return answer.status_code, answer.json()

            return list(await asyncio.gather(*(one(key, body) for key, body in requests)))

    return asyncio.run(ask())


def _registration(external_id: str, **more: Any) -> dict[str, Any]:
    plain = {"project": "support-eu", "owner": "team-support", "created_at": "2026-11-20T08:00:00Z"}
    return {"external_id": external_id, **plain, **more}


def _entries(house: Any) -> list[StoredEntry]:
    with house.database.read() as db:
        return entries_after(db, limit=1000, type_=EntryType.THREAD_REGISTERED.value)


def test_many_identical_registrations_at_once_make_one_thread_and_one_entry(app: FastAPI, house: Any) -> None:
    key = house.key("threads:write")

    told = _asked(app, [(key, _registration("conv_1", ttl="P30D"))] * 20)

    assert Counter(status for status, _ in told) == {201: 1, 200: 19}
    assert len({body["id"] for _, body in told}) == 1
    assert len(_entries(house)) == 1
    with house.database.read() as db:
        assert db.execute(select(func.count()).select_from(thread)).scalar_one() == 1


def test_each_of_a_group_gets_its_own_answer_and_an_entry_in_the_name_of_its_key(
    app: FastAPI, house: Any
) -> None:
    first, second = house.key("threads:write"), house.key("threads:write", projects=["sales-us"])
    requests = [
        (first, _registration("conv_1", ttl="P30D")),
        (first, _registration("conv_1", ttl="P1D")),
        (second, _registration("conv_2", project="sales-us")),
        (second, _registration("conv_3")),
        (first, _registration("run_1")),
        (first, _registration("conv_1", project="support-twin")),
        (first, _registration("conv_4", tags=["keep"])),
    ]

    told = _asked(app, requests)

    assert [status for status, _ in told] == [201, 409, 201, 422, 422, 409, 201]
    assert told[1][1]["diff"] == [{"field": "ttl", "registered": "P30D", "given": "P1D"}]
    assert [body.get("code") for _, body in told[3:6]] == [
        "unknown_project",
        "wrong_kind",
        "registered_elsewhere",
    ]
    assert told[6][1]["decision"]["outcome"] == "RETAINED"
    asked_by = {one.subject: json.loads(one.body)["request_id"] for one in _entries(house)}
    assert asked_by == {told[place][1]["id"]: f"of-{told[place][1]['external_id']}" for place in (0, 2, 6)}
    by = {one.subject: json.loads(one.body)["actor"] for one in _entries(house)}
    made = {told[place][1]["id"]: f"key:{requests[place][0].split('_')[1]}" for place in (0, 2, 6)}
    assert by == made


def test_an_entry_that_cannot_be_recorded_keeps_no_other_registration_back(
    app: FastAPI, house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = bodies.thread_registered

    def strict(new: Thread, **named: Any) -> Entry:
        if new.owner == "too-much":
            raise BodyRefused("The body is too long.")
        return record(new, **named)

    monkeypatch.setattr(bodies, "thread_registered", strict)
    key = house.key("threads:write")
    told = _asked(
        app, [(key, _registration(f"conv_{n}", owner="too-much" if n == 2 else "a")) for n in range(5)]
    )

    assert [status for status, _ in told] == [201, 201, 422, 201, 201]
    assert told[2][1]["code"] == "body_refused"
    with house.database.read() as db:
        held = db.execute(select(thread.c.external_id).order_by(thread.c.external_id)).scalars().all()
    assert held == ["conv_0", "conv_1", "conv_3", "conv_4"]
    assert len(_entries(house)) == 4


def test_a_new_thread_is_answered_with_the_hold_that_covers_it(app: FastAPI, house: Any, admin: Any) -> None:
    scope = {"owners": ["team-held"]}
    placed = admin.post("/v1/holds", json={"matter": "M", "reason": "R", "scope": scope})
    assert placed.status_code == 201
    key = house.key("threads:write")

    told = _asked(app, [(key, _registration("conv_1", owner="team-held")), (key, _registration("conv_2"))])

    assert [body["decision"]["outcome"] for _, body in told] == ["HELD", "PENDING"]


def test_keys_that_are_shown_at_once_are_judged_each_by_itself(app: FastAPI, house: Any, admin: Any) -> None:
    good, revoked, lacking = (
        house.key("threads:write"),
        house.key("threads:write"),
        house.key("threads:read"),
    )
    assert admin.post(f"/v1/keys/{revoked.split('_')[1]}/revoke").status_code == 200
    forged = good[:-8] + "00000000"

    told = _asked(
        app,
        [(key, _registration(f"conv_{n}")) for n, key in enumerate((good, revoked, forged, lacking, good))],
    )

    assert [status for status, _ in told] == [201, 401, 401, 403, 201]
