"""Clients: one for each credential, and a new one once the key it was made with is another.

A token in a file is replaced every hour, a key is rotated without a change of account. The key is read before
each batch, and a batch keeps the client that it began with to its end: a control must come from the same
client as the read that it supports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.model.clock import Clock
from worker.policy.document import KeyRef, OwnProfile, Project
from worker.providers.base import Provider
from worker.telemetry import log


@dataclass(frozen=True, slots=True, kw_only=True)
class _Client:
    """``closes_at`` is set once it is replaced, in monotonic seconds."""

    provider: Provider
    key: str = field(repr=False)
    closes_at: float = 0.0


class Clients:
    """The clients of one process; all of it is used on one loop, on which the connections live.

    ``key_of`` raises KeyMissing or KeyNotAllowed. ``longest_use`` is how many seconds a batch may use a
    client for: one that was replaced is closed by the next caller after that. Nobody keeps its sockets open
    until then, for the transport drops what is idle after seconds.
    """

    def __init__(
        self,
        *,
        make: Callable[[Project, str], Provider],
        key_of: Callable[[KeyRef], str],
        longest_use: float,
        clock: Clock,
    ) -> None:
        self._make = make
        self._key_of = key_of
        self._longest_use = longest_use
        self._clock = clock
        self._current: dict[tuple[str, str | OwnProfile], _Client] = {}
        self._replaced: list[_Client] = []
        self._closing: set[asyncio.Task[None]] = set()

    def client_for(self, project: Project) -> Provider:
        """Return the client of the project's credential, with the key as it is now.

        Raises what ``key_of`` raises; the client at hand is kept then, and used once its key is back.
        """
        # Read each time: it costs microseconds, and a file's times cannot tell of a change within one tick.
        key = self._key_of(project.api_key)
        self._close_due()
        name = (project.credential, project.profile)
        current = self._current.get(name)
        if current is not None and current.key == key:
            return current.provider
        made = _Client(provider=self._make(project, key), key=key)
        self._current[name] = made
        if current is not None:
            self._replace(current)
            log().info("credential.key_changed", credential=project.credential, project=project.name)
        return made.provider

    async def aclose(self) -> None:
        """Close them all; call it on the loop that used them."""
        left = [*self._current.values(), *self._replaced]
        self._current, self._replaced = {}, []
        await asyncio.gather(*self._closing, return_exceptions=True)
        for one in left:
            await one.provider.aclose()

    def _replace(self, client: _Client) -> None:
        closes_at = self._clock.monotonic() + self._longest_use
        self._replaced.append(_Client(provider=client.provider, key=client.key, closes_at=closes_at))

    def _close_due(self) -> None:
        now = self._clock.monotonic()
        due = [one for one in self._replaced if one.closes_at <= now]
        self._replaced = [one for one in self._replaced if one.closes_at > now]
        for one in due:
            task = asyncio.get_running_loop().create_task(one.provider.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
