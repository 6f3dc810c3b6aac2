"""Turn: one credential's turn on a worker: left canaries, a batch of deletions, and what is read again."""

from __future__ import annotations

from collections import Counter

from worker.flows.canary import delete_left
from worker.flows.drain import drain
from worker.flows.reverify import reverify
from worker.flows.tools import Tools


async def turn(tools: Tools, credential: str) -> Counter[str]:
    """Take the turn; returns the states items ended in and `reverified`, empty when nothing was ready."""
    await delete_left(tools, credential)
    told = await drain(tools, credential)
    again = await reverify(tools, credential)
    return told + Counter({"reverified": again.total()})
