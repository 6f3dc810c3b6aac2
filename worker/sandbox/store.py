"""The sandbox's truth: what exists, what was deleted, and which items were left behind.

Thread-safe, so that a test may look while the server answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from worker.model.clock import utc_now
from worker.sandbox.ids import ObjectIds
from worker.sandbox.kinds import CHILDREN, CONTAINERS, ObjectKind

_REMEMBERED = 10_000
ELSEWHERE = "proj_sandbox_elsewhere"
"""The project of a wrong key: it sees nothing that was made without it, not even what all others see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One provider object. ``created_at`` is in Unix seconds, ``fields`` the rest of its JSON.

    One made with a ``project`` is visible to that project only, one made without to every caller.
    """

    kind: ObjectKind
    id: str
    created_at: int
    project: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def is_visible_to(self, project: str | None) -> bool:
        """Say whether a request with that project header sees this object."""
        return self.project == project or (self.project is None and project != ELSEWHERE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxState:
    """A snapshot: ids that exist, by kind, and items whose conversation was deleted.

    ``reappearing`` are ids that are gone for now and will be back.
    """

    live: Mapping[ObjectKind, tuple[str, ...]]
    children: int
    orphaned_items: tuple[str, ...]
    reappearing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Away:
    """A deleted object that can come back; under the fault ``reappears`` at ``due`` or on demand."""

    stored: StoredObject
    children: Mapping[str, StoredObject]
    parent_id: str | None = None
    due: datetime | None = None


class SandboxStore:
    """Containers by kind and id, their children in the order of arrival, and orphans."""

    def __init__(
        self,
        *,
        seed: int | None = None,
        now: Callable[[], datetime] = utc_now,
        reappears_after: timedelta | None = None,
    ) -> None:
        self.ids = ObjectIds(seed)
        self._now = now
        self._reappears_after = reappears_after
        self._lock = threading.RLock()
        self._containers: dict[ObjectKind, dict[str, StoredObject]] = {kind: {} for kind in CONTAINERS}
        self._children: dict[str, dict[str, StoredObject]] = {}
        self._orphans: dict[str, StoredObject] = {}
        self._away: dict[tuple[str | None, str], _Away] = {}
        self._restorable: dict[str, _Away] = {}

    def create(
        self,
        kind: ObjectKind,
        *,
        fields: Mapping[str, Any] | None = None,
        created_at: int | None = None,
        project: str | None = None,
        children: Sequence[Mapping[str, Any] | StoredObject] = (),
    ) -> StoredObject:
        """Make a container and its children; ``created_at`` is in Unix seconds, now if not given."""
        made = self._make(kind, fields=fields or {}, created_at=created_at, project=project)
        with self._lock:
            self._containers[kind][made.id] = made
            self._children[made.id] = {}
            self.add_children(made, children)
        return made

    def add_children(
        self, parent: StoredObject, children: Sequence[Mapping[str, Any] | StoredObject]
    ) -> list[StoredObject]:
        """Add items or messages to a container; one that was deleted meanwhile takes none.

        A child that is already stored keeps its id: then two containers hold the same one.
        """
        made = [
            child
            if isinstance(child, StoredObject)
            else self._make(CHILDREN[parent.kind], fields=child, created_at=None, project=None)
            for child in children
        ]
        with self._lock:
            self._children.get(parent.id, {}).update((child.id, child) for child in made)
        return made

    def attach(self, store: StoredObject, file: StoredObject) -> StoredObject:
        """Attach a file to a vector store; it keeps its id there."""
        fields = {"vector_store_id": store.id, "status": "completed", "last_error": None}
        seen = StoredObject(
            kind=ObjectKind.VECTOR_STORE_FILE,
            id=file.id,
            created_at=int(self._now().timestamp()),
            fields={**fields, "usage_bytes": file.fields.get("bytes", 0)},
        )
        return self.add_children(store, [seen])[0]

    def update(self, stored: StoredObject, **changed: object) -> StoredObject:
        """Change fields of a container; one that was deleted meanwhile stays so."""
        with self._lock:
            updated = replace(stored, fields={**stored.fields, **changed})
            if stored.id in self._containers[stored.kind]:
                self._containers[stored.kind][stored.id] = updated
            return updated

    def get(self, kind: ObjectKind, object_id: str) -> StoredObject | None:
        """Return the container, whoever may see it, or None."""
        with self._current():
            return self._containers[kind].get(object_id)

    def exists(self, kind: ObjectKind, object_id: str) -> bool:
        """Say whether the container is there in truth, whatever the answers claimed."""
        return self.get(kind, object_id) is not None

    def every(self, kind: ObjectKind) -> list[StoredObject]:
        """Return all containers of that kind, oldest arrival first."""
        with self._current():
            return list(self._containers[kind].values())

    def children(self, parent_id: str) -> list[StoredObject]:
        """Return a container's items or messages, oldest arrival first."""
        with self._current():
            return list(self._children.get(parent_id, {}).values())

    def child(self, parent_id: str, child_id: str) -> StoredObject | None:
        """Return one item or message, or None."""
        with self._current():
            return self._children.get(parent_id, {}).get(child_id)

    def holders(self, child_id: str) -> list[str]:
        """Return the ids of all containers that hold this item, message or file."""
        with self._current():
            return [parent for parent, children in self._children.items() if child_id in children]

    def delete(self, kind: ObjectKind, object_id: str, *, reappears: bool = False) -> bool:
        """Remove a container; False if there is none. Items stay as orphans, other children go along.

        A file leaves every vector store; the files of a vector store stay.
        """
        with self._current():
            removed = self._containers[kind].pop(object_id, None)
            if removed is None:
                return False
            left_behind = self._children.pop(object_id, {})
            if kind is ObjectKind.CONVERSATION:
                self._orphans.update(left_behind)
            if kind is ObjectKind.FILE:
                for store_id in self._containers[ObjectKind.VECTOR_STORE]:
                    self._children[store_id].pop(object_id, None)
            self._remember(_Away(stored=removed, children=left_behind))
            if reappears:
                self._send_away(removed, left_behind, None)
            return True

    def delete_child(self, parent_id: str, child_id: str, *, reappears: bool = False) -> bool:
        """Remove one item or message from one container; False if it is not there."""
        with self._current():
            removed = self._children.get(parent_id, {}).pop(child_id, None)
            if removed is not None and reappears:
                self._send_away(removed, {}, parent_id)
            return removed is not None

    def reappear(self) -> tuple[str, ...]:
        """Bring back at once what was deleted under the fault ``reappears``; returns the ids."""
        with self._lock:
            back, self._away = self._away, {}
            for one in back.values():
                self._bring_back(one)
            return tuple(one.stored.id for one in back.values())

    def restore(self, kind: ObjectKind, object_id: str) -> None:
        """Bring back one deleted container as it was, one of the last 10,000; raises KeyError."""
        with self._current():
            if object_id not in self._containers[kind]:
                self._away.pop((None, object_id), None)
                self._bring_back(self._restorable[object_id])

    def state(self) -> SandboxState:
        """Return what exists now."""
        with self._current():
            held = {child for children in self._children.values() for child in children}
            return SandboxState(
                live={kind: tuple(objects) for kind, objects in self._containers.items()},
                children=sum(len(children) for children in self._children.values()),
                orphaned_items=tuple(orphan for orphan in self._orphans if orphan not in held),
                reappearing=tuple(one.stored.id for one in self._away.values()),
            )

    def _make(
        self, kind: ObjectKind, *, fields: Mapping[str, Any], created_at: int | None, project: str | None
    ) -> StoredObject:
        seconds = int(self._now().timestamp()) if created_at is None else created_at
        return StoredObject(
            kind=kind, id=self.ids.make(kind), created_at=seconds, project=project, fields=dict(fields)
        )

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Hold the lock, which may be held twice, with everything back that is due."""
        with self._lock:
            if self._away:
                now = self._now()
                due = [key for key, one in self._away.items() if one.due is not None and one.due <= now]
                for key in due:
                    self._bring_back(self._away.pop(key))
            yield

    def _remember(self, deleted: _Away) -> None:
        self._restorable[deleted.stored.id] = deleted
        if len(self._restorable) > _REMEMBERED:
            del self._restorable[next(iter(self._restorable))]

    def _send_away(
        self, removed: StoredObject, children: Mapping[str, StoredObject], parent_id: str | None
    ) -> None:
        due = self._now() + self._reappears_after if self._reappears_after is not None else None
        key = (parent_id, removed.id)
        self._away[key] = _Away(stored=removed, children=children, parent_id=parent_id, due=due)

    def _bring_back(self, away: _Away) -> None:
        if away.parent_id is not None:
            self._children.get(away.parent_id, {})[away.stored.id] = away.stored
            return
        self._restorable.pop(away.stored.id, None)
        self._containers[away.stored.kind][away.stored.id] = away.stored
        self._children[away.stored.id] = dict(away.children)
        for child in away.children:
            self._orphans.pop(child, None)
