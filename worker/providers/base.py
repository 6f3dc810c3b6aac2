"""The provider as flows see it: each call is one request on the wire, and its answer a class."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One object of a list; ``created_at`` is None where the list names no time."""

    id: str
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """One page of all objects of a kind that the key can see; like `ChildPage` otherwise."""

    observation: Observation
    objects: tuple[Listed, ...] = ()
    has_more: bool = False
    last: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a container's own body names: objects of their own, which its deletion leaves behind.

    ``ids`` means something only where ``observation.seen`` is `present`.
    """

    observation: Observation
    ids: tuple[tuple[Kind, str], ...] = ()


class Provider(Protocol):
    """One provider account with one credential.

    No method raises for what a provider or a network does: that becomes the observation's class. Each call
    is one request. ``timeout`` is seconds for the whole call. Raises KindNotOffered for a kind without an
    adapter and Invalid for an id that no provider makes; in both cases nothing was sent.
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

    async def prepare_delete(self, kind: Kind, external_id: str, *, timeout: float) -> Observation | None:
        """Ask for the end of what runs in the object, after a DELETE was answered 409.

        None, and nothing sent, for a kind in which nothing runs. `none` with detail ``cancel_accepted`` means
        that the provider took the request; it is no sight of the object.
        """
        ...

    async def named_children(self, kind: Kind, external_id: str, *, step: Step, timeout: float) -> Named:
        """GET the object, and return the files and vector stores that it names in ``tool_resources``."""
        ...

    async def list_page(self, kind: Kind, *, after: str | None, timeout: float) -> ListPage:
        """GET one page of at most 100 objects, oldest first; raises NotListable, which says why."""
        ...

    async def create_canary(self, kind: Kind, *, timeout: float) -> tuple[Observation, str | None]:
        """POST the cheapest object of a kind, marked as Tenure's canary, and return its id.

        The id stands beside `present` only; any other class may have made one that nobody knows. Raises
        KindNotOffered for a kind that cannot be had for nothing (``canary`` of its facts is None).
        """
        ...

    async def aclose(self) -> None:
        """Close the connections; call it on the loop that used them."""
        ...
