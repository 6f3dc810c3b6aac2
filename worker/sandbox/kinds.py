"""The provider objects that the sandbox keeps, and where a request points."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ObjectKind(StrEnum):
    """What the sandbox can store. ``item`` belongs to a conversation, ``message`` to a thread."""

    THREAD = "thread"
    CONVERSATION = "conversation"
    RESPONSE = "response"
    FILE = "file"
    ITEM = "item"
    MESSAGE = "message"


CONTAINERS = (ObjectKind.THREAD, ObjectKind.CONVERSATION, ObjectKind.RESPONSE, ObjectKind.FILE)
PARENTS = {ObjectKind.ITEM: ObjectKind.CONVERSATION, ObjectKind.MESSAGE: ObjectKind.THREAD}
CHILDREN = {ObjectKind.CONVERSATION: ObjectKind.ITEM, ObjectKind.THREAD: ObjectKind.MESSAGE}

_COLLECTIONS = {
    "threads": ObjectKind.THREAD,
    "conversations": ObjectKind.CONVERSATION,
    "responses": ObjectKind.RESPONSE,
    "files": ObjectKind.FILE,
}
_CHILD_COLLECTIONS = {(ObjectKind.CONVERSATION, "items"), (ObjectKind.THREAD, "messages")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What one request is about; ``kind`` is None outside the four collections."""

    method: str
    path: str
    kind: ObjectKind | None = None
    object_id: str | None = None

    @property
    def family(self) -> ObjectKind | None:
        """The container's kind, for an item or a message too."""
        return PARENTS.get(self.kind, self.kind) if self.kind else None


def read_target(method: str, path: str) -> Target:
    """Read ``/v1/conversations/conv_1/items/msg_1`` as an item with that id."""
    parts = [part for part in path.split("/") if part][1:]
    kind = _COLLECTIONS.get(parts[0]) if parts else None
    if kind is None:
        return Target(method=method, path=path)
    own_id = parts[1] if len(parts) > 1 else None
    if len(parts) > 2 and (kind, parts[2]) in _CHILD_COLLECTIONS:  # noqa: PLR2004 - collection, id, children
        child_id = parts[3] if len(parts) > 3 else None  # noqa: PLR2004 - and the child's id
        return Target(method=method, path=path, kind=CHILDREN[kind], object_id=child_id)
    return Target(method=method, path=path, kind=kind, object_id=own_id)
