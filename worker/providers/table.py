"""What is known of each kind at the provider: its paths, its words, and what its deletion leaves behind.

Sources: the OpenAPI document and the SDK of OpenAI (paths, object literals, cascades), its data guide
(the tail), its deprecation page (the end of the Assistants endpoints).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from types import MappingProxyType

from worker.model.errors import TenureError
from worker.model.thread import Kind

# OpenAI's data guide: logs kept against abuse live up to 30 days, and no deletion shortens that.
_TAIL = timedelta(days=30)
_TAIL_WORDS = (
    "OpenAI documents that logs kept against abuse can hold content for up to 30 days, longer where law "
    "or safety demands it, and that a deletion does not shorten this."
)


class KindNotOffered(TenureError):
    """Tenure has no adapter for this kind yet."""

    code = "kind_not_offered"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildFacts:
    """Content that must go before its container. DELETE of a child answers with the container."""

    collection: str
    noun: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFacts:
    """``read_object`` and ``delete_objects`` are the literals of ``object`` in a 200.

    ``deletion_semantics`` says what the provider documents that survives a deletion, ``tail`` for how
    long at most. ``endpoint_end`` is a published date: it only warns, an answer must be read.
    """

    kind: Kind
    collection: str
    read_object: str
    delete_objects: frozenset[str]
    deletion_semantics: str
    tail: timedelta = _TAIL
    listable: bool = False
    child: ChildFacts | None = None
    endpoint_end: date | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def path(self, external_id: str) -> str:
        """Return the path of the object below the base URL."""
        return f"/{self.collection}/{external_id}"

    def children_path(self, external_id: str) -> str:
        """Return the path of its children's list; raises KindNotOffered where the kind has none."""
        if self.child is None:
            raise KindNotOffered(
                f"A {self.kind} has no children that Tenure deletes.",
                repair="Ask only for kinds whose facts name a child.",
            )
        return f"{self.path(external_id)}/{self.child.collection}"


_FACTS = (
    KindFacts(
        kind=Kind.THREAD,
        collection="threads",
        read_object="thread",
        delete_objects=frozenset({"thread.deleted"}),
        headers={"OpenAI-Beta": "assistants=v2"},
        endpoint_end=date(2026, 8, 26),
        deletion_semantics=(
            "OpenAI retired this endpoint on 2026-08-26 and does not say what became of threads that nobody "
            "had deleted. Files and vector stores that a thread names are separate objects and stay. OpenAI "
            "documented that a deleted thread leaves its servers within 30 days. " + _TAIL_WORDS
        ),
    ),
    KindFacts(
        kind=Kind.CONVERSATION,
        collection="conversations",
        read_object="conversation",
        delete_objects=frozenset({"conversation.deleted"}),
        child=ChildFacts(collection="items", noun="item"),
        deletion_semantics=(
            "OpenAI documents that items are not deleted with their conversation, so Tenure deletes them "
            "first. An item that is also in another conversation, or in a stored response, can stay there. "
            + _TAIL_WORDS
        ),
    ),
    KindFacts(
        kind=Kind.RESPONSE,
        collection="responses",
        read_object="response",
        # The OpenAPI document says "response"; OpenAI's own .NET library expects "response.deleted".
        delete_objects=frozenset({"response", "response.deleted"}),
        deletion_semantics=(
            "Items that a response added to a conversation stay in that conversation. OpenAI keeps a stored "
            "response for at least 30 days unless it is deleted. " + _TAIL_WORDS
        ),
    ),
    KindFacts(
        kind=Kind.FILE,
        collection="files",
        read_object="file",
        delete_objects=frozenset({"file"}),
        listable=True,
        deletion_semantics=(
            "OpenAI documents that a deleted file is also removed from all vector stores. What a model wrote "
            "after reading it stays where it was written. " + _TAIL_WORDS
        ),
    ),
)
KINDS: Mapping[Kind, KindFacts] = MappingProxyType({one.kind: one for one in _FACTS})


def facts(kind: Kind) -> KindFacts:
    """Return what is known of a kind; raises KindNotOffered, which names the kinds that are."""
    known = KINDS.get(kind)
    if known is None:
        raise KindNotOffered(
            f"Tenure cannot delete a {kind.value} yet.",
            repair=f"Register one of these kinds: {', '.join(one.value for one in KINDS)}.",
        )
    return known
