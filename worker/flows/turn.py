"""Turn: one credential's turn on a worker: left canaries, a batch of deletions, and what is read again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import TypeVar

from worker.flows.canary import delete_left
from worker.flows.drain import drain
from worker.flows.rest import is_left_alone
from worker.flows.reverify import reverify
from worker.flows.tools import Tools
from worker.model.errors import TenureError
from worker.telemetry import raise_alert

T = TypeVar("T")


async def turn(tools: Tools, credential: str) -> Counter[str]:
    """Take the turn; returns the states items ended in and `reverified`, empty when nothing was ready."""
    if await asyncio.to_thread(is_left_alone, tools, credential):
        # The message that began this turn is older than the rest.
        return Counter()
    await _unless_impossible(tools, credential, delete_left(tools, credential))
    told = await drain(tools, credential)
    if tools.stopping() or await asyncio.to_thread(is_left_alone, tools, credential):
        return told
    again = await _unless_impossible(tools, credential, reverify(tools, credential))
    return told + Counter({"reverified": again.total() if again is not None else 0})


async def _unless_impossible(tools: Tools, credential: str, part: Coroutine[object, object, T]) -> T | None:
    """Do a part of the turn that can wait; where a key, permit or lease is missing, alert and come again.

    Safe: both parts keep in the database what is left to do, and neither may stop the deletions between them.
    """
    try:
        return await part
    except TenureError as e:
        if tools.stopping():
            return None
        raise_alert("turn.cut_short", credential=credential, code=e.code, problem=e.problem, repair=e.repair)
        return None
