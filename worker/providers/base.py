"""The provider as flows see it: each call is one request on the wire, and its answer a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from worker.model.evidence import Observation, Step
from worker.model.thread import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildPage:
    """One page of a container's children.

    ``observation.seen`` is `present` only for a well-formed 200; otherwise ``ids`` is empty and says
    nothing. ``last`` is the ``after`` of the next page while ``has_more``.
    """

    observation: Observation
    ids: tuple[str, ...] = ()
    has_more: bool = False
    last: str | None = None


class Provider(Protocol):
    """One provider account with one credential.

    No method raises for what a provider or a network does: that becomes the observation's class.
    ``timeout`` is seconds for the whole call. Raises KindNotOffered for a kind without an adapter and
    Invalid for an id that no provider makes; in both cases nothing was sent.
    """

    async def read(self, kind: Kind, external_id: str, *, step: Step, timeout: float) -> Observation:
        """GET the object."""
        ...

    async def delete(self, kind: Kind, external_id: str, *, timeout: float) -> Observation:
        """DELETE the object. `unsent` only with proof that nothing left."""
        ...

    async def list_children(
        self, kind: Kind, external_id: str, *, after: str | None, timeout: float, step: Step = Step.BEFORE
    ) -> ChildPage:
        """GET one page of at most 100 children, oldest first."""
        ...

    async def delete_child(
        self, kind: Kind, external_id: str, child_id: str, *, timeout: float
    ) -> Observation:
        """DELETE one child of the object."""
        ...

    async def aclose(self) -> None:
        """Close the connections; call it on the loop that used them."""
        ...
