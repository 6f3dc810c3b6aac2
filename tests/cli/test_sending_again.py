"""An order over HTTP whose connection is lost is sent again under its key, and done once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.cli.conftest import _served
from tests.cli.ran import Run
from worker.cli.client import Answer, Call, Unreachable
from worker.cli.local import local
from worker.cli.wires import Remote
from worker.flows.key import ADMIN_SCOPES
from worker.http.app import create_app
from worker.http.services import Services
from worker.model.clock import SystemClock

ORDER = Call(method="POST", path="/v1/holds", body=b"{}")
LOST = httpx2.RemoteProtocolError("Server disconnected without sending a response.")
BROKEN = httpx2.ReadError("connection reset")
NOBODY = httpx2.ConnectError("connection refused")
IN_USE = (409, {"code": "idempotency_key_in_use"})
DONE = (201, {"id": "hold_1"})
Scripted = Exception | tuple[int, Any]


class HandClock:
    """Time that passes when it is waited for."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 11, 29, tzinfo=UTC) + timedelta(seconds=sum(self.waits))

    def monotonic(self) -> float:
        return sum(self.waits)

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)


class Wire:
    """A service that does in turn what is written; the last thing again and again."""

    def __init__(self, *script: Scripted) -> None:
        self._script = list(script)
        self.asked: list[httpx2.Request] = []
        self.clock = HandClock()

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        now = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(now, Exception):
            raise now
        status, body = now
        headers = {"retry-after": "2"} if status == 409 else {}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx2.Response(status, content=content, headers=headers)

    def send(self, call: Call) -> Answer:
        transport = httpx2.MockTransport(self._answer)
        with httpx2.Client(transport=transport, base_url="http://tenure.example") as client:
            return Remote(client, self.clock).send(call)

    @property
    def keys(self) -> list[str | None]:
        return [one.headers.get("idempotency-key") for one in self.asked]


def test_every_order_has_a_key_of_its_own_and_a_question_has_none() -> None:
    wire = Wire(DONE)
    for _ in range(3):
        wire.send(ORDER)
    wire.send(Call(method="GET", path="/v1/holds"))
    wire.send(Call(method="PUT", path="/v1/switches/deletes", body=b"{}"))

    *orders, question, switch = wire.keys
    assert len(set(orders)) == 3
    assert all(one and one.startswith('"') and len(one) == 34 for one in orders)
    assert (question, switch) == (None, None)


@pytest.mark.parametrize("lost", [[LOST], [BROKEN, LOST], [LOST, NOBODY, BROKEN]])
@pytest.mark.parametrize("call", [ORDER, Call(method="GET", path="/v1/holds")], ids=["POST", "GET"])
def test_what_was_lost_on_the_way_is_sent_again_under_the_same_key(
    lost: Sequence[Exception], call: Call
) -> None:
    wire = Wire(*lost, DONE)

    assert wire.send(call).status == 201
    assert wire.clock.waits == [1.0, 2.0, 4.0][: len(lost)]
    assert len(wire.asked) == len(lost) + 1
    assert len(set(wire.keys)) == 1


def test_it_ends_after_four_sendings() -> None:
    wire = Wire(LOST)

    with pytest.raises(Unreachable, match="does not answer"):
        wire.send(ORDER)
    assert len(wire.asked) == 4


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (ORDER, NOBODY),
        (ORDER, httpx2.ReadTimeout("too slow")),
        (Call(method="PUT", path="/v1/switches/deletes", body=b"{}"), LOST),
    ],
    ids=["nobody is there", "too slow", "no key"],
)
def test_what_need_not_or_must_not_be_repeated_is_sent_once(call: Call, error: Exception) -> None:
    wire = Wire(error)

    with pytest.raises(Unreachable):
        wire.send(call)
    assert len(wire.asked) == 1


def test_lines_are_sent_again_without_a_key_since_registering_is_idempotent() -> None:
    wire = Wire(LOST, (200, b"{}\n"))

    wire.send(Call(method="POST", path="/v1/threads/bulk", body=b"{}", media_type="application/x-ndjson"))
    assert wire.keys == [None, None]


def test_who_comes_back_waits_for_the_first_sending() -> None:
    wire = Wire(LOST, IN_USE, IN_USE, DONE)

    assert wire.send(ORDER).status == 201
    assert wire.clock.waits == [1.0, 2.0, 2.0]


def test_nobody_waits_for_it_for_ever() -> None:
    wire = Wire(LOST, IN_USE)

    assert wire.send(ORDER).status == 409
    assert 180 <= sum(wire.clock.waits) <= 190


@pytest.mark.parametrize("answer", [(409, {"code": "conflict"}), (409, b"<html>"), (409, b"[]")])
def test_another_conflict_is_told_at_once(answer: tuple[int, Any]) -> None:
    wire = Wire(LOST, answer)

    assert wire.send(ORDER).status == 409
    assert len(wire.asked) == 2


def test_a_hold_whose_answer_was_lost_is_placed_once(
    tenure: Run, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del folder
    scopes = [part for scope in ADMIN_SCOPES for part in ("--scope", scope)]
    key = tenure("keys", "create", "--label", "tests", *scopes, "-o", "json").json["key"]
    monkeypatch.setattr(SystemClock, "wait", lambda *_: None)
    with local() as wired:
        services = Services(
            database=wired.database,
            clock=wired.clock,
            lease=wired.lease,
            sealer=wired.sealer,
            wake=lambda _credential: None,
            source=wired.source,
        )
        with _served(_losing(create_app(services), "/v1/holds")) as url:
            monkeypatch.setenv("TENURE_URL", url)
            monkeypatch.setenv("TENURE_API_KEY", key)
            placed = tenure("hold", "place", "--matter", "m", "--reason", "r", "--owner", "me", "-o", "json")
            listed = tenure("hold", "list", "-o", "json").json
    assert [one["id"] for one in listed] == [placed.json["id"]]


def _losing(app: ASGIApp, path: str) -> Callable[[Scope, Receive, Send], Any]:
    """Serve the first POST of a path to its end, and cut the connection instead of answering."""
    lost: list[Message] = []

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") != path or scope.get("method") != "POST" or lost:
            await app(scope, receive, send)
            return

        async def swallow(message: Message) -> None:
            lost.append(message)

        await app(scope, receive, swallow)
        await send({"type": "http.response.start", "status": 201, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return serve
