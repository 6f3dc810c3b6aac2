"""Stepping in between Tenure and the provider, at a point that a scenario names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from worker.model.evidence import Observation, Step
from worker.model.thread import Kind
from worker.providers.base import Provider


class Passing:
    """A provider that passes everything on: what a scenario steps into."""

    def __init__(self, inner: Provider) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def provider(self) -> Provider:
        """This, as what it stands for."""
        return cast("Provider", self)


class AfterDelete(Passing):
    """Does something when a container's DELETE has been answered, before anything else is sent."""

    def __init__(self, inner: Provider, then: Callable[[], None]) -> None:
        super().__init__(inner)
        self.then = then

    async def delete(self, kind: Kind, external_id: str, *, timeout: float) -> Observation:
        answer = await self.inner.delete(kind, external_id, timeout=timeout)
        self.then()
        return answer


class BeforeChild(Passing):
    """Does something once, before the first DELETE of a child is sent."""

    def __init__(self, inner: Provider, then: Callable[[], object]) -> None:
        super().__init__(inner)
        self.then: Callable[[], object] | None = then

    async def delete_child(
        self, kind: Kind, external_id: str, child_id: str, *, timeout: float
    ) -> Observation:
        if self.then is not None:
            self.then()
            self.then = None
        return await self.inner.delete_child(kind, external_id, child_id, timeout=timeout)


class BeforeRead(Passing):
    """Does something once, when the first read (of that step, where one is named) is about to leave."""

    def __init__(self, inner: Provider, then: Callable[[], object], of: Step | None = None) -> None:
        super().__init__(inner)
        self.then: Callable[[], object] | None = then
        self.of = of

    async def read(self, kind: Kind, external_id: str, *, step: Step, timeout: float) -> Observation:
        if self.then is not None and self.of in {None, step}:
            then, self.then = self.then, None
            then()
        return await self.inner.read(kind, external_id, step=step, timeout=timeout)
