"""The adapter for OpenAI and for servers that speak the same API, through the official SDK.

DANGER. `delete` sends what cannot be taken back. Invariants: one call is one request (see `transport`);
whatever fails after a DELETE may have left is `lost`, never `unsent`; nothing but the arguments decides
where a request goes and with which key. The SDK is used below its models, with raw answers: its models
accept ``deleted: false``, a foreign object and an HTML page alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal

import httpx2
from openai import APIStatusError, AsyncOpenAI, Omit

from worker import __version__
from worker.model.clock import Clock
from worker.model.errors import Invalid
from worker.model.evidence import Class, Observation, Step
from worker.model.thread import Account, Kind
from worker.providers.base import ChildPage
from worker.providers.classify import (
    Answer,
    Verdict,
    classify_child_delete,
    classify_delete,
    classify_read,
    created_at,
    is_object_id,
    read_listing,
)
from worker.providers.keys import KeyMissing
from worker.providers.profiles import Profile
from worker.providers.retry_after import retry_after
from worker.providers.table import facts
from worker.providers.transport import limits, make_http_client, never_connected

_CHILDREN_PER_PAGE = 100
_LONGEST_HEADER = 128


class _Client(AsyncOpenAI):
    """The SDK with a closed list of headers.

    It takes foreign ones from OPENAI_CUSTOM_HEADERS, which beat even an explicit key, and fills a missing
    organisation or project from OPENAI_ORG_ID and OPENAI_PROJECT_ID. Here the list below is the whole.
    """

    def __init__(self, account: Account, api_key: str, http_client: httpx2.AsyncClient) -> None:
        headers = {
            "Accept": "application/json",
            "User-Agent": f"tenure/{__version__}",
            "Authorization": f"Bearer {api_key}",
            "OpenAI-Organization": account.organization,
            "OpenAI-Project": account.provider_project,
        }
        self._headers = {name: value for name, value in headers.items() if value}
        super().__init__(
            base_url=account.base_url,
            api_key=api_key,
            admin_api_key="",
            http_client=http_client,
            max_retries=0,
        )

    @property
    def default_headers(self) -> dict[str, str | Omit]:
        return dict(self._headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exchange:
    """One request and what came of it; without an answer, ``unsent`` says whether it surely never left."""

    at: datetime
    latency_ms: int
    answer: Answer | None = None
    unsent: bool = False
    problem: str | None = None


class OpenAIProvider:
    """One account with one credential (see `base.Provider`); connects on first use, to that loop."""

    def __init__(self, account: Account, api_key: str, profile: Profile, clock: Clock) -> None:
        if not api_key:
            raise KeyMissing("The provider key is empty.", repair="Resolve it with resolve_key first.")
        self._client = _Client(account, api_key, make_http_client())
        self._profile = profile
        self._clock = clock

    async def read(self, kind: Kind, external_id: str, *, step: Step, timeout: float) -> Observation:
        """GET the object."""
        known = facts(kind)
        exchange = await self._send("GET", known.path(_checked(external_id)), known.headers, timeout)
        return _observation(
            exchange,
            step=step,
            subject=external_id,
            judge=lambda answer: classify_read(kind, external_id, answer, self._profile),
        )

    async def delete(self, kind: Kind, external_id: str, *, timeout: float) -> Observation:
        """DELETE the object."""
        known = facts(kind)
        exchange = await self._send("DELETE", known.path(_checked(external_id)), known.headers, timeout)
        return _observation(
            exchange,
            step=Step.DELETE,
            subject=external_id,
            judge=lambda answer: classify_delete(kind, external_id, answer, self._profile),
        )

    async def list_children(
        self,
        kind: Kind,
        external_id: str,
        *,
        after: str | None,
        timeout: float,
        step: Step = Step.BEFORE,
    ) -> ChildPage:
        """GET one page of children, oldest first."""
        known = facts(kind)
        params = {"limit": str(_CHILDREN_PER_PAGE), "order": "asc"} | ({"after": after} if after else {})
        path = known.children_path(_checked(external_id))
        exchange = await self._send("GET", path, known.headers, timeout, params=params)
        listing = read_listing(kind, external_id, exchange.answer, self._profile) if exchange.answer else None
        observation = _observation(
            exchange,
            step=step,
            subject=external_id,
            judge=lambda _: listing.verdict if listing else Verdict(seen=Class.ERROR),
        )
        if listing is None:
            return ChildPage(observation=observation)
        return ChildPage(
            observation=observation, ids=listing.ids, has_more=listing.has_more, last=listing.last
        )

    async def delete_child(
        self,
        kind: Kind,
        external_id: str,
        child_id: str,
        *,
        timeout: float,
    ) -> Observation:
        """DELETE one child of the object."""
        known = facts(kind)
        path = f"{known.children_path(_checked(external_id))}/{_checked(child_id)}"
        exchange = await self._send("DELETE", path, known.headers, timeout)
        return _observation(
            exchange,
            step=Step.DELETE,
            subject=external_id,
            child=child_id,
            judge=lambda answer: classify_child_delete(kind, external_id, child_id, answer, self._profile),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _send(
        self,
        method: Literal["GET", "DELETE"],
        path: str,
        headers: Mapping[str, str],
        seconds: float,
        *,
        params: Mapping[str, str] | None = None,
    ) -> _Exchange:
        """Send one request; nothing that happens to it is raised."""
        began = self._clock.monotonic()
        answer, problem, unsent = None, None, False
        call = self._client.get if method == "GET" else self._client.delete
        try:
            # The client's own limits are per read: a server that trickles would never reach them.
            async with asyncio.timeout(seconds):
                response = await call(
                    path,
                    cast_to=httpx2.Response,
                    options={
                        "headers": headers,
                        "params": params or {},
                        "timeout": limits(seconds),
                        "max_retries": 0,
                    },
                )
            answer = _answer(response)
        except APIStatusError as refused:
            answer = _answer(refused.response)
        except Exception as failure:  # noqa: BLE001 - after sending, even an unforeseen failure is an observation
            problem, unsent = _innermost(failure), never_connected(failure)
        latency = self._clock.monotonic() - began
        return _Exchange(
            at=self._clock.now(),
            latency_ms=round(latency * 1000),
            answer=answer,
            unsent=unsent,
            problem=problem,
        )


def _checked(object_id: str) -> str:
    """Return the id, which now stands in a path as it is."""
    if not is_object_id(object_id):
        raise Invalid(
            f"An id of {len(object_id)} characters cannot stand in a provider's path; nothing was sent.",
            repair="Ids have 1 to 200 of A-Z a-z 0-9 _ and -.",
            code="invalid_id",
        )
    return object_id


def _answer(response: httpx2.Response) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status=response.status_code, headers=headers, body=response.content)


def _observation(
    exchange: _Exchange,
    *,
    step: Step,
    subject: str,
    judge: Callable[[Answer], Verdict],
    child: str | None = None,
) -> Observation:
    answer = exchange.answer
    if answer is None:
        return Observation(
            step=step,
            seen=_unanswered(step, unsent=exchange.unsent),
            at=exchange.at,
            subject=subject,
            child=child,
            latency_ms=exchange.latency_ms,
            detail=exchange.problem,
        )
    verdict = judge(answer)
    return Observation(
        step=step,
        seen=verdict.seen,
        at=exchange.at,
        subject=subject,
        child=child,
        status=answer.status,
        request_id=_header(answer, "x-request-id"),
        latency_ms=exchange.latency_ms,
        body_sha256=sha256(answer.body).hexdigest(),
        provider_date=_header(answer, "date"),
        detail=verdict.detail,
        provider_created_at=created_at(answer) if verdict.seen is Class.PRESENT else None,
        retry_after=retry_after(answer.status, answer.headers, now=exchange.at),
    )


def _unanswered(step: Step, *, unsent: bool) -> Class:
    if step is not Step.DELETE:
        return Class.ERROR
    return Class.UNSENT if unsent else Class.LOST


def _header(answer: Answer, name: str) -> str | None:
    """Return a header that is fit for a record: printable ASCII, cut to 128 characters."""
    text = answer.headers.get(name, "")[:_LONGEST_HEADER]
    return text if text and text.isascii() and text.isprintable() else None


def _innermost(failure: BaseException) -> str:
    """Name the first cause by its class alone: messages of the network layer may quote addresses."""
    while isinstance(failure.__cause__, Exception):
        failure = failure.__cause__
    return type(failure).__name__
