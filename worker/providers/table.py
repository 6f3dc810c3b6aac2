"""What is known of each kind at the provider: its paths, its words, and what its deletion leaves behind.

Sources: the OpenAPI document and the SDK of OpenAI (paths, object literals, cascades, agent sessions), its
data guide (the tail), its deprecation page (the end of the Assistants endpoints). One row is one kind as
OpenAI itself offers it; where another provider differs, its profile says so (`profiles/*.yaml`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType

from worker.model.thread import Kind
from worker.providers.kind_facts import (
    Cancel,
    ChildFacts,
    Fate,
    KindFacts,
    KindNotOffered,
    NotListable,
    Post,
)

__all__ = ["KINDS", "ChildFacts", "KindFacts", "KindNotOffered", "NotListable", "facts"]

# OpenAI's data guide: logs kept against abuse live up to 30 days, and no deletion shortens that.
_TAIL_WORDS = (
    "OpenAI documents that logs kept against abuse can hold content for up to 30 days, longer where law "
    "or safety demands it, and that a deletion does not shorten this."
)
_NO_LIST = "the provider has no list of them"
_BROWSER = "the provider wants a browser session for this list; such tokens are never accepted"
_ASSISTANTS = {"OpenAI-Beta": "assistants=v2"}
# By this a person, and a later start of Tenure, can tell a canary that was left.
_MARK = "tenure-canary"

_FACTS = (
    KindFacts(
        kind=Kind.THREAD,
        collection="threads",
        read_object="thread",
        delete_objects=frozenset({"thread.deleted"}),
        nouns=("thread",),
        headers=_ASSISTANTS,
        unlisted=_BROWSER,
        cascade={"messages": Fate.UNKNOWN, "files": Fate.STAYS, "vector_stores": Fate.STAYS},
        canary=Post(body={"metadata": {"tenure": _MARK}}),
        endpoint_end=date(2026, 8, 26),
        deletion_semantics=(
            "OpenAI retired this endpoint on 2026-08-26 and does not say what became of threads that nobody "
            "had deleted. Files and vector stores that a thread names are separate objects and stay, but for "
            "those that its producer chose to go first. OpenAI documented that a deleted thread leaves its "
            "servers within 30 days. " + _TAIL_WORDS
        ),
    ),
    KindFacts(
        kind=Kind.CONVERSATION,
        collection="conversations",
        read_object="conversation",
        delete_objects=frozenset({"conversation.deleted"}),
        nouns=("conversation",),
        unlisted=_NO_LIST,
        child=ChildFacts(collection="items", nouns=("item",)),
        cascade={"items": Fate.STAYS, "responses": Fate.STAYS},
        canary=Post(body={"metadata": {"tenure": _MARK}}),
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
        nouns=("response",),
        unlisted=_NO_LIST,
        cascade={"conversation items": Fate.STAYS},
        deletion_semantics=(
            "Items that a response added to a conversation stay in that conversation. OpenAI keeps a stored "
            "response for at least 30 days unless it is deleted. " + _TAIL_WORDS
        ),
    ),
    KindFacts(
        kind=Kind.CHAT_COMPLETION,
        collection="chat/completions",
        read_object="chat.completion",
        delete_objects=frozenset({"chat.completion.deleted"}),
        nouns=("chat completion", "chat.completion", "completion"),
        deletion_semantics=(
            "Only completions that were made with store: true can be read, listed and deleted. OpenAI does "
            "not say how long it keeps one that nobody deletes. " + _TAIL_WORDS
        ),
    ),
    KindFacts(
        kind=Kind.CHATKIT_THREAD,
        collection="chatkit/threads",
        read_object="chatkit.thread",
        delete_objects=frozenset({"chatkit.thread.deleted"}),
        nouns=("thread", "chatkit thread", "chatkit.thread"),
        headers={"OpenAI-Beta": "chatkit_beta=v1"},
        cascade={"items": Fate.GOES, "attachments": Fate.GOES},
        deletion_semantics=(
            "OpenAI documents that the items and the stored attachments go with the thread; Tenure sees that "
            "the thread is gone. " + _TAIL_WORDS
        ),
    ),
    KindFacts(
        kind=Kind.AGENT_SESSION,
        collection="agents/sessions",
        read_object="agent.session",
        delete_objects=frozenset({"agent.session.deleted"}),
        nouns=("agent session", "agent.session", "session"),
        headers={"OpenAI-Beta": "agents=v1"},
        cancel=Cancel(suffix="events", post=Post(body={"events": [{"type": "agent.session.input.cancel"}]})),
        cascade={"artifacts": Fate.UNKNOWN, "files": Fate.STAYS},
        deletion_semantics=(
            "OpenAI documents (beta) that a deleted session is removed from the public API while its "
            "physical cleanup may continue, and that a running execution has to be cancelled first. "
            + _TAIL_WORDS
        ),
    ),
    KindFacts(
        kind=Kind.FILE,
        collection="files",
        read_object="file",
        delete_objects=frozenset({"file"}),
        nouns=("file",),
        cascade={"entries in vector stores": Fate.GOES},
        canary=Post(
            body={
                "purpose": "user_data",
                "expires_after": {"anchor": "created_at", "seconds": 3600},
            },
            upload=(f"{_MARK}.txt", b"A canary of Tenure: it is deleted as soon as it was read.\n"),
        ),
        deletion_semantics=(
            "OpenAI documents that a deleted file is also removed from all vector stores. What a model wrote "
            "after reading it stays where it was written. " + _TAIL_WORDS
        ),
    ),
    KindFacts(
        kind=Kind.VECTOR_STORE,
        collection="vector_stores",
        read_object="vector_store",
        delete_objects=frozenset({"vector_store.deleted"}),
        nouns=("vector store", "vector_store"),
        headers=_ASSISTANTS,
        part=ChildFacts(
            collection="files",
            nouns=("file", "vector store file", "vector_store.file"),
            delete_objects=frozenset({"vector_store.file.deleted"}),
        ),
        cascade={"files": Fate.STAYS},
        canary=Post(
            body={
                "name": _MARK,
                "metadata": {"tenure": _MARK},
                "expires_after": {"anchor": "last_active_at", "days": 1},
            }
        ),
        deletion_semantics=(
            "Files that were in the store are separate objects and stay, but for those that its producer "
            "chose to go first; what was indexed of them belongs to the store. " + _TAIL_WORDS
        ),
    ),
    KindFacts(
        kind=Kind.CONTAINER,
        collection="containers",
        read_object="container",
        delete_objects=frozenset({"container.deleted"}),
        nouns=("container",),
        cascade={"files": Fate.GOES},
        # The OpenAPI document has a 200 say so of a container that is gone; it never proves that it is.
        gone_statuses=frozenset({"deleted"}),
        deletion_semantics=(
            "OpenAI documents that a container's data goes when it expires or is deleted. Files that were "
            "copied into it from elsewhere stay there. " + _TAIL_WORDS
        ),
    ),
)
KINDS: Mapping[Kind, KindFacts] = MappingProxyType({one.kind: one for one in _FACTS})


def facts(kind: Kind) -> KindFacts:
    """Return what is known of a kind at OpenAI; raises KindNotOffered, which names the kinds that are."""
    known = KINDS.get(kind)
    if known is None:
        raise KindNotOffered(
            f"Tenure cannot delete a {kind.value} yet.",
            repair=f"Register one of these kinds: {', '.join(one.value for one in KINDS)}.",
        )
    return known
