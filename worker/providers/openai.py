"""The adapter for OpenAI and for servers that speak the same API (see `base.Provider`).

DANGER. `delete` sends what cannot be taken back. What is known of each kind, and how this provider answers,
comes from the profile; `exchange` sends, `classify` and `listings` read.
"""

from __future__ import annotations

from typing import Literal

from worker.model.clock import Clock
from worker.model.errors import Invalid
from worker.model.evidence import Class, Observation, Step
from worker.model.thread import Account, Kind
from worker.providers.base import ChildPage, Listed, ListPage, Named
from worker.providers.classify import (
    Answer,
    Verdict,
    classify_cancel,
    classify_child_delete,
    classify_create,
    classify_delete,
    classify_read,
    is_object_id,
)
from worker.providers.exchange import Line, Request, observed
from worker.providers.keys import KeyMissing
from worker.providers.kind_facts import KindFacts, KindNotOffered, Post
from worker.providers.listings import Listing, named_in, read_collection, read_listing
from worker.providers.profiles import Profile

_PER_PAGE = 100


class OpenAIProvider:
    """One account with one credential (see `base.Provider`); connects on first use, to that loop."""

    def __init__(self, account: Account, api_key: str, profile: Profile, clock: Clock) -> None:
        if not api_key:
            raise KeyMissing("The provider key is empty.", repair="Resolve it with resolve_key first.")
        self._line = Line(account, api_key, clock)
        self._profile = profile

    async def read(self, kind: Kind, external_id: str, *, step: Step, timeout: float) -> Observation:
        """GET the object."""
        return (await self._read(kind, external_id, step, timeout))[0]

    async def named_children(self, kind: Kind, external_id: str, *, step: Step, timeout: float) -> Named:
        """GET the object, and return the files and vector stores that it names."""
        seen, answer = await self._read(kind, external_id, step, timeout)
        present = answer is not None and seen.seen is Class.PRESENT
        return Named(observation=seen, ids=named_in(answer) if answer and present else ())

    async def delete(self, kind: Kind, external_id: str, *, timeout: float) -> Observation:
        """DELETE the object."""
        known = self._profile.facts(kind)
        request = _request("DELETE", known, known.path(_checked(external_id)))
        return observed(
            await self._line.send(request, seconds=timeout),
            lambda answer: classify_delete(kind, external_id, answer, self._profile),
            step=Step.DELETE,
            subject=external_id,
        )

    async def prepare_delete(self, kind: Kind, external_id: str, *, timeout: float) -> Observation | None:
        """POST the cancellation of what runs in the object; None where nothing of this kind runs."""
        known = self._profile.facts(kind)
        if known.cancel is None:
            return None
        path = f"{known.path(_checked(external_id))}/{known.cancel.suffix}"
        request = _request("POST", known, path, content=known.cancel.post)
        return observed(
            await self._line.send(request, seconds=timeout),
            lambda answer: classify_cancel(kind, answer, self._profile),
            step=Step.BEFORE,
            subject=external_id,
        )

    async def list_children(
        self, kind: Kind, external_id: str, *, after: str | None, timeout: float, step: Step = Step.BEFORE
    ) -> ChildPage:
        """GET one page of children, oldest first."""
        known = self._profile.facts(kind)
        request = _request("GET", known, known.children_path(_checked(external_id)), page=True, after=after)
        exchange = await self._line.send(request, seconds=timeout)
        listing = (
            read_listing(kind, external_id, exchange.answer, self._profile) if exchange.answer else _NONE
        )
        seen = observed(exchange, lambda _: listing.verdict, step=step, subject=external_id)
        return ChildPage(observation=seen, ids=listing.ids, has_more=listing.has_more, last=listing.last)

    async def delete_child(
        self, kind: Kind, external_id: str, child_id: str, *, timeout: float
    ) -> Observation:
        """DELETE one child of the object."""
        known = self._profile.facts(kind)
        path = f"{known.children_path(_checked(external_id))}/{_checked(child_id)}"
        return observed(
            await self._line.send(_request("DELETE", known, path), seconds=timeout),
            lambda answer: classify_child_delete(kind, external_id, child_id, answer, self._profile),
            step=Step.DELETE,
            subject=external_id,
            child=child_id,
        )

    async def list_page(self, kind: Kind, *, after: str | None, timeout: float) -> ListPage:
        """GET one page of all objects of a kind, oldest first."""
        known = self._profile.facts(kind)
        known.must_be_listable()
        request = _request("GET", known, known.collection_path(), page=True, after=after)
        exchange = await self._line.send(request, seconds=timeout)
        listing = read_collection(kind, exchange.answer, self._profile) if exchange.answer else _NONE
        return ListPage(
            observation=observed(exchange, lambda _: listing.verdict, step=Step.BEFORE, subject=""),
            objects=tuple(
                Listed(id=one, created_at=at) for one, at in zip(listing.ids, listing.created, strict=True)
            ),
            has_more=listing.has_more,
            last=listing.last,
        )

    async def create_canary(self, kind: Kind, *, timeout: float) -> tuple[Observation, str | None]:
        """POST the cheapest object of a kind, marked as a canary; returns its id beside `present`."""
        known = self._profile.facts(kind)
        if known.canary is None:
            raise KindNotOffered(
                f"A {kind.value} cannot be made for nothing, so there is no canary of it.",
                repair="Let a registered thread of the same kind be the control.",
            )
        request = _request("POST", known, known.collection_path(), content=known.canary)
        exchange = await self._line.send(request, seconds=timeout)
        made: str | None = None
        verdict = Verdict(seen=Class.ERROR)
        if exchange.answer is not None:
            verdict, made = classify_create(known, exchange.answer, self._profile)
        seen = observed(exchange, lambda _: verdict, step=Step.CONTROL, subject=made or "")
        return seen, made

    async def aclose(self) -> None:
        """Close the connections."""
        await self._line.close()

    async def _read(
        self, kind: Kind, external_id: str, step: Step, timeout: float
    ) -> tuple[Observation, Answer | None]:
        known = self._profile.facts(kind)
        request = _request("GET", known, known.path(_checked(external_id)))
        exchange = await self._line.send(request, seconds=timeout)
        seen = observed(
            exchange,
            lambda answer: classify_read(kind, external_id, answer, self._profile),
            step=step,
            subject=external_id,
        )
        return seen, exchange.answer


_NONE = Listing(verdict=Verdict(seen=Class.ERROR))


def _request(
    method: Literal["GET", "DELETE", "POST"],
    known: KindFacts,
    path: str,
    *,
    page: bool = False,
    after: str | None = None,
    content: Post | None = None,
) -> Request:
    paging = {"limit": str(_PER_PAGE), "order": "asc"} if page else {}
    cursor = {"after": after} if after else {}
    return Request(
        method=method,
        path=path,
        headers=known.headers,
        params={**known.query, **paging, **cursor},
        content=content,
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
