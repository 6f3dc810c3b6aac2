"""What a provider tells of an organisation to its admin key: how long it keeps data of its own accord.

The endpoint and its words are those of the SDK's ``admin.organization.data_retention``; it is asked below the
SDK's models, like every other (see `exchange`). Only GET is ever sent with an admin key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from http import HTTPStatus

from worker.model.clock import Clock
from worker.model.thread import Account
from worker.providers.classify import Answer, json_object
from worker.providers.exchange import Line, Request

PATH = "/organization/data_retention"
_OBJECT = "organization.data_retention"
_TYPE = re.compile(r"[a-z0-9_]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSetting:
    """The configured type, such as ``zero_data_retention``; None with the reason why it is not known."""

    type: str | None = None
    why: str = ""


async def read_retention_setting(
    account: Account, admin_key: str, clock: Clock, *, timeout: float
) -> RetentionSetting:
    """GET the organisation's setting: one request; nothing that happens to it is raised."""
    # An admin key belongs to an organisation: naming a project beside it could only get it refused.
    line = Line(replace(account, provider_project=""), admin_key, clock)
    try:
        exchange = await line.send(Request(method="GET", path=PATH), seconds=timeout)
    finally:
        await line.close()
    if exchange.answer is None:
        return RetentionSetting(why=f"there was no answer ({exchange.problem})")
    return _read(exchange.answer)


def _read(answer: Answer) -> RetentionSetting:
    match answer.status:
        case HTTPStatus.OK:
            return _configured(answer)
        case HTTPStatus.UNAUTHORIZED:
            why = "the admin key is refused"
        case HTTPStatus.FORBIDDEN:
            why = "the key has no right to see it"
        case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED | HTTPStatus.GONE:
            why = "no such endpoint answers at this base URL"
        case HTTPStatus.TOO_MANY_REQUESTS:
            why = "the provider asks for a pause"
        case _:
            why = "the answer cannot be read"
    return RetentionSetting(why=f"{why} ({answer.status})")


def _configured(answer: Answer) -> RetentionSetting:
    body = json_object(answer.body) or {}
    told = body.get("type")
    # What is shown to people is held to the form of a word: an answer may hold anything.
    if body.get("object") != _OBJECT or not isinstance(told, str) or not _TYPE.fullmatch(told):
        return RetentionSetting(why="the answer does not name it (200)")
    return RetentionSetting(type=told)
