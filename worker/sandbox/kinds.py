"""The provider objects that the sandbox keeps, their words at the provider, and where a request points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ObjectKind(StrEnum):
    """What the sandbox can store: the nine kinds of a thread, and what lies inside them.

    ``item`` belongs to a conversation, ``message`` to a thread, ``chatkit_item`` to a ChatKit thread,
    ``completion_message`` to a stored completion; a ``vector_store_file`` is a file as one store sees it.
    """

    THREAD = "thread"
    CONVERSATION = "conversation"
    RESPONSE = "response"
    CHAT_COMPLETION = "chat_completion"
    CHATKIT_THREAD = "chatkit_thread"
    AGENT_SESSION = "agent_session"
    FILE = "file"
    VECTOR_STORE = "vector_store"
    CONTAINER = "container"
    ITEM = "item"
    MESSAGE = "message"
    CHATKIT_ITEM = "chatkit_item"
    COMPLETION_MESSAGE = "completion_message"
    VECTOR_STORE_FILE = "vector_store_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFacts:
    """``literal`` and ``deleted`` are the words of ``object`` in a read and in the answer to a DELETE.

    ``path`` is the collection's; a child's stands behind its container's id. An id is ``prefix`` and
    ``length`` letters and digits, or hexadecimal digits where ``hexadecimal``. ``absent`` is what a 404
    says, as far as it is known; where it is not, it follows a kind for which it is.
    """

    path: str
    literal: str
    deleted: str
    prefix: str
    length: int
    absent: str
    noun: str
    hexadecimal: bool = True


# Paths, literals and ids: OpenAI's OpenAPI document and SDK; 404s: as relayed in public reports.
FACTS: Mapping[ObjectKind, ObjectFacts] = {
    ObjectKind.THREAD: ObjectFacts(
        path="threads",
        literal="thread",
        deleted="thread.deleted",
        prefix="thread_",
        length=24,
        hexadecimal=False,
        absent="No thread found with id '{id}'.",
        noun="Thread",
    ),
    ObjectKind.CONVERSATION: ObjectFacts(
        path="conversations",
        literal="conversation",
        deleted="conversation.deleted",
        prefix="conv_",
        length=48,
        absent="Conversation with id '{id}' not found.",
        noun="Conversation",
    ),
    ObjectKind.RESPONSE: ObjectFacts(
        path="responses",
        literal="response",
        deleted="response",
        prefix="resp_",
        length=48,
        absent="Response with id '{id}' not found.",
        noun="Response",
    ),
    ObjectKind.CHAT_COMPLETION: ObjectFacts(
        path="chat/completions",
        literal="chat.completion",
        deleted="chat.completion.deleted",
        prefix="chatcmpl-",
        length=29,
        hexadecimal=False,
        absent="Chat completion with id '{id}' not found.",
        noun="Chat completion",
    ),
    ObjectKind.CHATKIT_THREAD: ObjectFacts(
        path="chatkit/threads",
        literal="chatkit.thread",
        deleted="chatkit.thread.deleted",
        prefix="cthr_",
        length=48,
        absent="No thread found with id '{id}'.",
        noun="Thread",
    ),
    # The prefix of an agent session is documented nowhere.
    ObjectKind.AGENT_SESSION: ObjectFacts(
        path="agents/sessions",
        literal="agent.session",
        deleted="agent.session.deleted",
        prefix="sess_",
        length=48,
        absent="Session with id '{id}' not found.",
        noun="Session",
    ),
    ObjectKind.FILE: ObjectFacts(
        path="files",
        literal="file",
        deleted="file",
        prefix="file-",
        length=24,
        hexadecimal=False,
        absent="No such File object: {id}",
        noun="File",
    ),
    ObjectKind.VECTOR_STORE: ObjectFacts(
        path="vector_stores",
        literal="vector_store",
        deleted="vector_store.deleted",
        prefix="vs_",
        length=32,
        absent="No vector store found with id '{id}'.",
        noun="Vector store",
    ),
    ObjectKind.CONTAINER: ObjectFacts(
        path="containers",
        literal="container",
        deleted="container.deleted",
        prefix="cntr_",
        length=48,
        absent="Container with id '{id}' not found.",
        noun="Container",
    ),
    ObjectKind.ITEM: ObjectFacts(
        path="items",
        literal="",
        deleted="conversation.item",
        prefix="msg_",
        length=48,
        absent="Item with id '{id}' not found.",
        noun="Item",
    ),
    ObjectKind.MESSAGE: ObjectFacts(
        path="messages",
        literal="thread.message",
        deleted="thread.message.deleted",
        prefix="msg_",
        length=48,
        absent="No message found with id '{id}'.",
        noun="Message",
    ),
    ObjectKind.CHATKIT_ITEM: ObjectFacts(
        path="items",
        literal="chatkit.thread_item",
        deleted="chatkit.thread_item.deleted",
        prefix="cthi_",
        length=48,
        absent="No thread item found with id '{id}'.",
        noun="Thread item",
    ),
    ObjectKind.COMPLETION_MESSAGE: ObjectFacts(
        path="messages",
        literal="",
        deleted="chat.completion.message.deleted",
        prefix="chatcmpl-",
        length=29,
        hexadecimal=False,
        absent="Message with id '{id}' not found.",
        noun="Message",
    ),
    ObjectKind.VECTOR_STORE_FILE: ObjectFacts(
        path="files",
        literal="vector_store.file",
        deleted="vector_store.file.deleted",
        prefix="file-",
        length=24,
        hexadecimal=False,
        absent="No file found with id '{id}' in this vector store.",
        noun="File",
    ),
}
CHILDREN: Mapping[ObjectKind, ObjectKind] = {
    ObjectKind.CONVERSATION: ObjectKind.ITEM,
    ObjectKind.THREAD: ObjectKind.MESSAGE,
    ObjectKind.CHATKIT_THREAD: ObjectKind.CHATKIT_ITEM,
    ObjectKind.CHAT_COMPLETION: ObjectKind.COMPLETION_MESSAGE,
    ObjectKind.VECTOR_STORE: ObjectKind.VECTOR_STORE_FILE,
}
PARENTS: Mapping[ObjectKind, ObjectKind] = {child: parent for parent, child in CHILDREN.items()}
CONTAINERS = tuple(kind for kind in ObjectKind if kind not in PARENTS)

_BY_PATH = {tuple(FACTS[kind].path.split("/")): kind for kind in CONTAINERS}
_PROJECT = ("api", "projects")
_OPENAI_BELOW_PROJECT = ("openai", "v1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What one request is about; ``kind`` is None outside the collections.

    ``parent_id`` is the container's id where the request is about what lies inside.
    """

    method: str
    path: str
    kind: ObjectKind | None = None
    object_id: str | None = None
    parent_id: str | None = None

    @property
    def family(self) -> ObjectKind | None:
        """The container's kind, for an item or a message too."""
        return PARENTS.get(self.kind, self.kind) if self.kind else None

    @property
    def is_addressed(self) -> bool:
        """Whether the request names one object, and is not about a whole collection."""
        return (self.object_id or self.parent_id) is not None


def is_foundry(path: str) -> bool:
    """Say whether this is an address below a Foundry project's endpoint."""
    return tuple(path.split("/")[1:3]) == _PROJECT


def speaks_foundry(path: str) -> bool:
    """Say whether errors there are written as Azure does; the part for OpenAI's SDK writes OpenAI's."""
    return is_foundry(path) and tuple(path.split("/")[4:6]) != _OPENAI_BELOW_PROJECT


def read_target(method: str, path: str) -> Target:
    """Read ``/v1/conversations/conv_1/items/msg_1`` as an item with that id, and its container."""
    rest = _below_base(tuple(part for part in path.split("/") if part))
    for words in (1, 2):
        if kind := _BY_PATH.get(rest[:words]):
            own_id, collection, child_id, *_ = (*rest[words:], None, None, None)
            child = CHILDREN.get(kind)
            if child is not None and collection == FACTS[child].path:
                return Target(method=method, path=path, kind=child, object_id=child_id, parent_id=own_id)
            return Target(method=method, path=path, kind=kind, object_id=own_id)
    return Target(method=method, path=path)


def _below_base(parts: tuple[str, ...]) -> tuple[str, ...]:
    if parts[:2] != _PROJECT:
        return parts[1:]
    below = parts[3:]
    return below[2:] if below[:2] == _OPENAI_BELOW_PROJECT else below
