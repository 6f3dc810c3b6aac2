"""One exchange with a provider, through the official SDK: one request, and what came of it.

DANGER. Invariants: one call is one request (see `transport`); whatever fails after a DELETE may have left
is `lost`, never `unsent`; nothing but the arguments decides where a request goes and with which key. The
SDK is used below its models, with raw answers: its models accept ``deleted: false``, a foreign object and
an HTML page alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal, assert_never

import httpx2
from openai import APIStatusError, AsyncOpenAI, Omit

from worker import __version__
from worker.model.clock import Clock
from worker.model.evidence import Class, Observation, Step
from worker.model.thread import Account
from worker.providers.classify import Answer, Verdict, created_at
from worker.providers.kind_facts import Post
from worker.providers.retry_after import retry_after
from worker.providers.transport import limits, make_http_client, never_connected
from worker.telemetry import traces
from worker.telemetry.meters import count

_LONGEST_HEADER = 128
_FIRST_ERROR = 400


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
        # It would ask a thread for this between a slot and its request, for a header that is not sent.
        self._platform = "Unknown"

    @property
    def default_headers(self) -> dict[str, str | Omit]:
        return dict(self._headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: ``path`` is below the base URL, ``params`` its query, ``content`` what a POST carries."""

    method: Literal["GET", "DELETE", "POST"]
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    content: Post | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what came of it; without an answer, ``unsent`` says whether it surely never left."""

    at: datetime
    latency_ms: int
    answer: Answer | None = None
    unsent: bool = False
    problem: str | None = None


class Line:
    """The connection to one account with one credential; connects on first use, to that loop."""

    def __init__(self, account: Account, api_key: str, clock: Clock) -> None:
        self._client = _Client(account, api_key, make_http_client())
        self._clock = clock
        target = httpx2.URL(account.base_url)
        self._target: traces.Facts = {"server.address": target.host, "server.port": target.port}

    async def send(self, request: Request, *, seconds: float) -> Exchange:
        """Send one request; nothing that happens to it is raised.

        Its span is not told to the provider, and does not tell the path, which holds an id.
        """
        facts = {"http.request.method": request.method, **self._target}
        with traces.span(request.method, kind="client", facts=facts) as told:
            done = await self._send(request, seconds=seconds)
            told.note(_told(done))
        return done

    async def _send(self, request: Request, *, seconds: float) -> Exchange:
        began = self._clock.monotonic()
        answer, problem, unsent = None, None, False
        try:
            # The client's own limits are per read: a server that trickles would never reach them.
            async with asyncio.timeout(seconds):
                answer = _answer(await self._call(request, seconds))
        except APIStatusError as refused:
            answer = _answer(refused.response)
        except Exception as failure:  # noqa: BLE001 - after sending, even an unforeseen failure is an observation
            problem, unsent = _innermost(failure), never_connected(failure)
        latency = self._clock.monotonic() - began
        count(lambda to: to.provider_seconds.labels(method=request.method).observe(latency))
        return Exchange(
            at=self._clock.now(),
            latency_ms=round(latency * 1000),
            answer=answer,
            unsent=unsent,
            problem=problem,
        )

    async def _call(self, request: Request, seconds: float) -> httpx2.Response:
        options: Any = {
            "headers": dict(request.headers),
            "params": dict(request.params),
            "timeout": limits(seconds),
            "max_retries": 0,
        }
        match request.method:
            case "GET":
                return await self._client.get(request.path, cast_to=httpx2.Response, options=options)
            case "DELETE":
                return await self._client.delete(request.path, cast_to=httpx2.Response, options=options)
            case "POST":
                return await self._post(request, options)
            case other:
                assert_never(other)

    async def _post(self, request: Request, options: Any) -> httpx2.Response:  # noqa: ANN401 - the SDK's own
        body = dict(request.content.body) if request.content else {}
        upload = request.content.upload if request.content else None
        if upload is not None:
            options["headers"]["Content-Type"] = "multipart/form-data"
        return await self._client.post(
            request.path,
            cast_to=httpx2.Response,
            body=body,
            files={"file": upload} if upload is not None else None,
            options=options,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _told(done: Exchange) -> traces.Facts:
    """Return what a span tells of an answer, by OpenTelemetry's names; 4xx and 5xx are errors to a client."""
    answer = done.answer
    if answer is None:
        return {"error.type": done.problem}
    return {
        "http.response.status_code": answer.status,
        "tenure.provider_request_id": _header(answer, "x-request-id"),
        "error.type": str(answer.status) if answer.status >= _FIRST_ERROR else None,
    }


def observed(
    exchange: Exchange,
    judge: Callable[[Answer], Verdict],
    *,
    step: Step,
    subject: str,
    child: str | None = None,
) -> Observation:
    """Return what is kept of an exchange; ``judge`` is asked only where there was an answer."""
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


def _answer(response: httpx2.Response) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status=response.status_code, headers=headers, body=response.content)


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
