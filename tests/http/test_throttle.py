"""Limits on what comes in: by key, by address, in memory and in Redis, and what happens without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.http.conftest import HandClock
from tests.servers.line import laid
from worker.flows.key import LOCAL
from worker.http.app import create_app
from worker.http.throttle import Bucket, Limits, Throttle, address_of, bucket_of

Check = Callable[..., dict[str, Any]]

SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
PLAIN = {"external_id": "conv_1", "project": "support-eu", "owner": "team-support"}
HOLD = {"matter": "M", "reason": "case", "scope": {"owners": ["x"]}}
# An hour, so that no window passes while a test runs.
FEW = Limits(requests="3/hour", registrations="5/hour", refused_keys="2/hour")


@pytest.fixture
def throttled(house: Any) -> FastAPI:
    return create_app(replace(house.services, throttle=Throttle(FEW, clock=house.clock)))


@pytest.fixture
def knock(throttled: FastAPI, house: Any) -> Callable[[], TestClient]:
    def make() -> TestClient:
        text = house.key("threads:read", "threads:write", "holds:write", "switches:write")
        return TestClient(throttled, headers={"Authorization": f"Bearer {text}"})

    return make


@SQLITE
def test_a_key_that_asks_too_often_is_told_when_to_come_back_and_another_is_not(
    knock: Callable[[], TestClient], assert_problem: Check
) -> None:
    first, second = knock(), knock()
    left = [first.get("/v1/threads").headers["ratelimit"] for _ in range(3)]

    refused = first.get("/v1/threads")

    assert [one.split(";")[1] for one in left] == ["r=2", "r=1", "r=0"]
    assert_problem(refused, 429, "too_many_requests")
    assert 1 <= int(refused.headers["retry-after"]) <= 3600
    assert refused.headers["ratelimit-policy"] == '"requests";q=3;w=3600'
    assert second.get("/v1/threads").status_code == 200


@SQLITE
def test_registering_goes_on_when_nothing_else_does_and_placing_holds_goes_on_for_ever(
    knock: Callable[[], TestClient], assert_problem: Check
) -> None:
    client = knock()
    for _ in range(4):
        client.get("/v1/threads")

    registered = [
        client.post("/v1/threads", json={**PLAIN, "external_id": f"conv_{n}"}).status_code for n in range(6)
    ]

    assert registered == [201] * 5 + [429]
    assert_problem(client.get("/v1/threads"), 429, "too_many_requests")
    assert [client.post("/v1/holds", json=HOLD).status_code for _ in range(8)] == [201] * 8
    pause = {"enabled": False, "reason": "incident", "project": "support-eu"}
    assert client.put("/v1/switches/deletes", json=pause).status_code == 200


@SQLITE
def test_an_address_with_many_bad_keys_gets_429_and_a_good_key_from_there_still_opens(
    throttled: FastAPI, knock: Callable[[], TestClient], assert_problem: Check
) -> None:
    stranger = TestClient(throttled, headers={"Authorization": "Bearer tnr_a_b_c"})
    assert [stranger.get("/v1/threads").status_code for _ in range(3)] == [401, 401, 429]

    assert "retry-after" in stranger.get("/v1/threads").headers
    assert knock().get("/v1/threads").status_code == 200


@SQLITE
def test_who_works_beside_the_database_is_not_counted(house: Any) -> None:
    services = replace(house.services, throttle=Throttle(FEW, clock=house.clock))
    client = TestClient(create_app(services, local=LOCAL))

    assert {client.get("/v1/threads").status_code for _ in range(6)} == {200}


def test_an_empty_limit_limits_nothing() -> None:
    throttle = Throttle(Limits(requests=""), clock=HandClock())

    assert asyncio.run(throttle.count(Bucket.REQUESTS, "k")) is None


def test_several_processes_count_together_in_redis(redis_url: str, redis_prefix: str) -> None:
    pair = [Throttle(FEW, clock=HandClock(), redis=redis_url, prefix=redis_prefix) for _ in range(2)]

    async def knock() -> list[bool]:
        found = [await pair[turn % 2].count(Bucket.REQUESTS, "k") for turn in range(4)]
        return [one.admitted for one in found if one is not None]

    assert asyncio.run(knock()) == [True, True, True, False]


@pytest.mark.parametrize("how", ["cut", "silent"])
def test_redis_that_is_gone_stops_nobody_and_the_count_goes_on_in_the_process(
    redis_url: str, redis_prefix: str, how: str
) -> None:
    async def knock() -> list[bool]:
        async with laid(redis_url) as line:
            throttle = Throttle(FEW, clock=HandClock(), redis=line.url, prefix=redis_prefix)
            found = [await throttle.count(Bucket.REQUESTS, "k")]
            if how == "cut":
                await line.cut()
            else:
                line.silent = True
            found += [await throttle.count(Bucket.REQUESTS, "k") for _ in range(4)]
        return [one.admitted for one in found if one is not None]

    # One that was counted in Redis, and three of this process's own.
    assert asyncio.run(knock()) == [True, True, True, True, False]


def test_redis_is_asked_again_after_some_seconds(redis_url: str, redis_prefix: str) -> None:
    clock = HandClock()

    async def knock() -> list[int]:
        async with laid(redis_url) as line:
            throttle = Throttle(FEW, clock=clock, redis=line.url, prefix=redis_prefix)
            left = [await throttle.count(Bucket.REQUESTS, "k")]
            await line.cut()
            left.append(await throttle.count(Bucket.REQUESTS, "k"))
            await line.connect()
            left.append(await throttle.count(Bucket.REQUESTS, "k"))
            clock.wait(11)
            left.append(await throttle.count(Bucket.REQUESTS, "k"))
        return [one.remaining for one in left if one is not None]

    assert asyncio.run(knock()) == [2, 2, 1, 1]


@pytest.mark.parametrize(
    ("method", "path", "bucket"),
    [
        ("POST", "/v1/holds", None),
        ("PUT", "/v1/switches/deletes", None),
        ("GET", "/v1/holds", Bucket.REQUESTS),
        ("POST", "/v1/threads", Bucket.REGISTRATIONS),
        ("POST", "/v1/threads/bulk", Bucket.REGISTRATIONS),
        ("POST", "/v1/threads/touch", Bucket.REGISTRATIONS),
        ("POST", "/v1/threads/thr_1/touch", Bucket.REGISTRATIONS),
        ("POST", "/v1/threads/thr_1/withdraw", Bucket.REQUESTS),
        ("POST", "/v1/holds/h/release", Bucket.REQUESTS),
    ],
)
def test_what_protects_is_not_counted_and_registrations_are_counted_apart(
    method: str, path: str, bucket: Bucket | None
) -> None:
    assert bucket_of(method, path) is bucket


def test_a_network_of_ipv6_is_one_address() -> None:
    assert address_of("2001:db8::1") == address_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert address_of("192.0.2.1") != address_of("192.0.2.2")
    assert address_of(None) == address_of("testclient") == "unknown"


@SQLITE
def test_headers_and_address_have_a_bound(client: Any, assert_problem: Check) -> None:
    assert_problem(client().get("/v1/threads", headers={"x-long": "a" * 17_000}), 431, "headers_too_large")
    assert_problem(client().get("/v1/threads?owner=" + "a" * 17_000), 431, "headers_too_large")
