"""The provider contract on the wire: every kind in every situation, through the real SDK over loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import pytest

from tests.providers.wire import DROP, Hang, Wire, answer
from worker.model.evidence import Class, Observation, Step
from worker.model.thread import Kind
from worker.providers.kind_facts import KindFacts
from worker.providers.openai import OpenAIProvider
from worker.providers.table import KINDS, facts

Connect = Callable[..., AbstractAsyncContextManager[OpenAIProvider]]
Raw = bytes | Hang
Build = Callable[[KindFacts], Raw]

ID = "an-id-1"
OTHER = "an-id-2"
NO_ANSWER_SECONDS = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What comes back to a GET and to a DELETE, and what each has to be called."""

    name: str
    to_read: Build
    to_delete: Build
    read: Class
    delete: Class
    retry_after: float | None = None


def _same(name: str, build: Build, read: Class, delete: Class | None = None) -> Situation:
    return Situation(name=name, to_read=build, to_delete=build, read=read, delete=delete or read)


def _always(raw: Raw) -> Build:
    return lambda _: raw


def _present(known: KindFacts, external_id: str = ID) -> bytes:
    return answer(200, {"id": external_id, "object": known.read_object, "created_at": 1764000000})


def _deleted(known: KindFacts, external_id: str = ID, *, deleted: bool = True) -> bytes:
    literal = min(known.delete_objects)
    return answer(200, {"id": external_id, "object": literal, "deleted": deleted})


def _error(
    status: int, message: str, *, code: str | None = None, headers: dict[str, str] | None = None
) -> bytes:
    error = {"type": "invalid_request_error", "code": code, "param": None, "message": message}
    return answer(status, {"error": error}, headers=headers)


def _absent(known: KindFacts) -> bytes:
    return _error(404, f"No {known.nouns[0]} found with id '{ID}'.")


def _redirected(status: int) -> Build:
    def build(known: KindFacts) -> bytes:
        body = {"id": ID, "object": min(known.delete_objects), "deleted": True}
        return answer(status, body, headers={"Location": f"/v1/{known.collection}/{ID}"})

    return build


def _endless(raw: bytes) -> bytes:
    """A well-formed body to which more seems to belong."""
    return raw.replace(b"Content-Length: ", b"Content-Length: 9000")


HTML = {"Content-Type": "text/html"}
SITUATIONS = [
    Situation(
        name="200", to_read=_present, to_delete=_deleted, read=Class.PRESENT, delete=Class.ACKNOWLEDGED
    ),
    _same("object 404", _absent, Class.OBJECT_ABSENT),
    _same(
        "object 404 in a foreign envelope",
        _always(answer(404, {"detail": f"Thing '{ID}' not found."})),
        Class.ROUTE_ABSENT,
    ),
    _same(
        "route 404",
        lambda known: _error(404, f"Invalid URL (GET /v1/{known.collection}/{ID})"),
        Class.ROUTE_ABSENT,
    ),
    _same(
        "route 404 that names the id",
        lambda known: _error(404, f"Not found: /{known.collection}/{ID}"),
        Class.ROUTE_ABSENT,
    ),
    _same(
        "404 about another id",
        _always(_error(404, f"No thread found with id '{OTHER}'.")),
        Class.ROUTE_ABSENT,
    ),
    _same("404 to everything", _always(answer(404, {"detail": "Not Found"})), Class.ROUTE_ABSENT),
    _same("404 without a body", _always(answer(404, "")), Class.ROUTE_ABSENT),
    _same("404 as a page", _always(answer(404, f"<p>{ID} not found</p>", headers=HTML)), Class.ROUTE_ABSENT),
    _same("404 as a list", _always(answer(404, [{"error": f"{ID} not found"}])), Class.ROUTE_ABSENT),
    _same("405", _always(answer(405, {"detail": "Method Not Allowed"})), Class.ROUTE_ABSENT),
    _same(
        "410",
        lambda known: answer(410, {"error": {"message": f"{known.kind} {ID} not found"}}),
        Class.ROUTE_ABSENT,
    ),
    _same(
        "wrong key 401",
        _always(_error(401, "Incorrect API key provided.", code="invalid_api_key")),
        Class.DENIED,
    ),
    _same("wrong key 404", _always(_error(404, f"{ID} not found", code="invalid_api_key")), Class.DENIED),
    _same("session key wanted", _always(_error(401, "a session key", code="missing_scope")), Class.DENIED),
    _same("403", _always(_error(403, "You have insufficient permissions")), Class.DENIED),
    _same("400", _always(_error(400, f"Invalid id {ID}: not found")), Class.ERROR),
    _same("409", _always(_error(409, "The session is running.")), Class.ERROR),
    Situation(
        name="429 with Retry-After",
        to_read=_always(_error(429, f"{ID} not found", headers={"Retry-After": "7"})),
        to_delete=_always(_error(429, f"{ID} not found", headers={"Retry-After": "7"})),
        read=Class.THROTTLED,
        delete=Class.THROTTLED,
        retry_after=7.0,
    ),
    _same("429 without Retry-After", _always(_error(429, "slow down")), Class.THROTTLED),
    _same("500", lambda known: _error(500, f"No {known.nouns[0]} found with id '{ID}'."), Class.ERROR),
    _same("502 as a page", _always(answer(502, "<html>Bad Gateway</html>", headers=HTML)), Class.ERROR),
    _same("503", _always(answer(503, "")), Class.ERROR),
    _same("timeout", _always(Hang()), Class.ERROR, Class.LOST),
    _same("reset", _always(DROP), Class.ERROR, Class.LOST),
    _same("redirect 302", _redirected(302), Class.ERROR, Class.MALFORMED),
    _same("redirect 307", _redirected(307), Class.ERROR, Class.MALFORMED),
    _same("HTML 200", _always(answer(200, f"<html>{ID}</html>", headers=HTML)), Class.ERROR, Class.MALFORMED),
    _same("empty 200", _always(answer(200, "")), Class.ERROR, Class.MALFORMED),
    _same("200 that is null", _always(answer(200, "null")), Class.ERROR, Class.MALFORMED),
    _same("204", _always(answer(204, "")), Class.ERROR, Class.MALFORMED),
    Situation(
        name="deleted: false",
        to_read=_present,
        to_delete=lambda known: _deleted(known, deleted=False),
        read=Class.PRESENT,
        delete=Class.MALFORMED,
    ),
    Situation(
        name="the answer to the other method",
        to_read=_deleted,
        to_delete=_present,
        read=Class.ERROR,
        delete=Class.MALFORMED,
    ),
    Situation(
        name="wrong id echoed",
        to_read=lambda known: _present(known, OTHER),
        to_delete=lambda known: _deleted(known, OTHER),
        read=Class.ERROR,
        delete=Class.MALFORMED,
    ),
    _same(
        "another kind",
        _always(answer(200, {"id": ID, "object": "assistant", "deleted": True})),
        Class.ERROR,
        Class.MALFORMED,
    ),
    Situation(
        name="slow body",
        to_read=lambda known: Hang(after=_endless(_present(known)), trickle=True),
        to_delete=lambda known: Hang(after=_deleted(known)[:-5]),
        read=Class.ERROR,
        delete=Class.LOST,
    ),
    Situation(
        name="truncated JSON",
        to_read=_always(answer(200, f'{{"id": "{ID}", "object":')),
        to_delete=_always(answer(200, f'{{"id": "{ID}", "deleted": true')),
        read=Class.ERROR,
        delete=Class.MALFORMED,
    ),
]
BY_NAME = {one.name: one for one in SITUATIONS}


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("name", list(BY_NAME))
def test_every_kind_in_every_situation(connect: Connect, kind: Kind, name: str) -> None:
    situation, known = BY_NAME[name], facts(kind)

    async def one(raw: Raw, *, delete: bool) -> tuple[Observation, list[str]]:
        async with Wire([raw]) as wire, connect(wire.base_url) as provider:
            seconds = NO_ANSWER_SECONDS if isinstance(raw, Hang) else 10
            seen = (
                await provider.delete(kind, ID, timeout=seconds)
                if delete
                else await provider.read(kind, ID, step=Step.AFTER, timeout=seconds)
            )
            return seen, [f"{one.method} {one.path}" for one in wire.seen]

    async def scenario() -> None:
        (read, asked), (deletion, told) = await asyncio.gather(
            one(situation.to_read(known), delete=False), one(situation.to_delete(known), delete=True)
        )
        assert (read.seen, deletion.seen) == (situation.read, situation.delete)
        assert (read.subject, deletion.subject) == (ID, ID)
        assert (read.retry_after, deletion.retry_after) == (situation.retry_after, situation.retry_after)
        path = f"/v1/{known.collection}/{ID}"
        assert (asked, told) == ([f"GET {path}"], [f"DELETE {path}"]), "one call is one request"

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if facts(kind).listable])
def test_in_no_situation_but_a_page_is_a_list_relied_on(connect: Connect, kind: Kind) -> None:
    known = facts(kind)
    raws = [one.to_read(known) for one in SITUATIONS]

    async def one(raw: Raw) -> Class:
        async with Wire([raw]) as wire, connect(wire.base_url) as provider:
            page = await provider.list_page(
                kind, after=None, timeout=NO_ANSWER_SECONDS if isinstance(raw, Hang) else 10
            )
            assert (page.objects, page.has_more, len(wire.seen)) == ((), False, 1)
            return page.observation.seen

    async def scenario() -> set[Class]:
        return {await one(raw) for raw in raws}

    assert asyncio.run(scenario()) == {Class.ROUTE_ABSENT, Class.DENIED, Class.THROTTLED, Class.ERROR}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if facts(kind).listed])
def test_in_no_situation_but_its_own_answer_is_a_child_gone_or_a_listing_relied_on(
    connect: Connect, kind: Kind
) -> None:
    known = facts(kind)

    async def one(raw: Raw) -> tuple[Class, Class]:
        seconds = NO_ANSWER_SECONDS if isinstance(raw, Hang) else 10
        async with Wire([raw, raw]) as wire, connect(wire.base_url) as provider:
            page = await provider.list_children(kind, ID, after=None, timeout=seconds)
            gone = await provider.delete_child(kind, ID, "child-1", timeout=seconds)
            assert (page.ids, page.has_more, gone.child, len(wire.seen)) == ((), False, "child-1", 2)
            return page.observation.seen, gone.seen

    async def scenario() -> None:
        # An item's DELETE is answered with its conversation, so that one answer is left out here.
        tried = [one for one in SITUATIONS if one.read is not Class.PRESENT]
        for situation in tried:
            listing, gone = await one(situation.to_read(known))
            assert listing is not Class.PRESENT, situation.name
            assert gone not in {Class.ACKNOWLEDGED, Class.OBJECT_ABSENT, Class.PRESENT}, situation.name

    asyncio.run(scenario())
