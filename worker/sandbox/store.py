"""The sandbox's truth: what exists, what was deleted, and which items were left behind.

Thread-safe, so that a test may look while the server answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from worker.model.clock import utc_now
from worker.sandbox.ids import ObjectIds
from worker.sandbox.kinds import CHILDREN, CONTAINERS, ObjectKind


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
        return self.project is None or self.project == project


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxState:
    """A snapshot: ids that exist, by kind, and items whose conversation was deleted."""

    live: Mapping[ObjectKind, tuple[str, ...]]
    children: int
    orphaned_items: tuple[str, ...]


class SandboxStore:
    """Containers by kind and id, their children in the order of arrival, and orphans."""

    def __init__(self, *, seed: int | None = None, now: Callable[[], datetime] = utc_now) -> None:
        self.ids = ObjectIds(seed)
        self._now = now
        self._lock = threading.RLock()
        self._containers: dict[ObjectKind, dict[str, StoredObject]] = {kind: {} for kind in CONTAINERS}
        self._children: dict[str, dict[str, StoredObject]] = {}
        self._orphans: dict[str, StoredObject] = {}

    def create(
        self,
        kind: ObjectKind,
        *,
        fields: Mapping[str, Any] | None = None,
        created_at: int | None = None,
        project: str | None = None,
        children: Sequence[Mapping[str, Any]] = (),
    ) -> StoredObject:
        """Make a container and its children; ``created_at`` is in Unix seconds, now if not given."""
        made = self._make(kind, fields=fields or {}, created_at=created_at, project=project)
        with self._lock:
            self._containers[kind][made.id] = made
            self._children[made.id] = {}
            self.add_children(made, children)
        return made

    def add_children(self, parent: StoredObject, children: Sequence[Mapping[str, Any]]) -> list[StoredObject]:
        """Add items or messages to a container; one that was deleted meanwhile takes none."""
        if not children:
            return []
        made = [
            self._make(CHILDREN[parent.kind], fields=child, created_at=None, project=None)
            for child in children
        ]
        with self._lock:
            self._children.get(parent.id, {}).update((child.id, child) for child in made)
        return made

    def get(self, kind: ObjectKind, object_id: str) -> StoredObject | None:
        """Return the container, whoever may see it, or None."""
        with self._lock:
            return self._containers[kind].get(object_id)

    def exists(self, kind: ObjectKind, object_id: str) -> bool:
        """Say whether the container is there in truth, whatever the answers claimed."""
        return self.get(kind, object_id) is not None

    def every(self, kind: ObjectKind) -> list[StoredObject]:
        """Return all containers of that kind, oldest arrival first."""
        with self._lock:
            return list(self._containers[kind].values())

    def children(self, parent_id: str) -> list[StoredObject]:
        """Return a container's items or messages, oldest arrival first."""
        with self._lock:
            return list(self._children.get(parent_id, {}).values())

    def child(self, parent_id: str, child_id: str) -> StoredObject | None:
        """Return one item or message, or None."""
        with self._lock:
            return self._children.get(parent_id, {}).get(child_id)

    def delete(self, kind: ObjectKind, object_id: str) -> bool:
        """Remove a container; False if there is none. Items stay as orphans, messages go along."""
        with self._lock:
            if self._containers[kind].pop(object_id, None) is None:
                return False
            left_behind = self._children.pop(object_id, {})
            if kind is ObjectKind.CONVERSATION:
                self._orphans.update(left_behind)
            return True

    def delete_child(self, parent_id: str, child_id: str) -> bool:
        """Remove one item or message; False if there is none."""
        with self._lock:
            return self._children.get(parent_id, {}).pop(child_id, None) is not None

    def state(self) -> SandboxState:
        """Return what exists now."""
        with self._lock:
            return SandboxState(
                live={kind: tuple(objects) for kind, objects in self._containers.items()},
                children=sum(len(children) for children in self._children.values()),
                orphaned_items=tuple(self._orphans),
            )

    def _make(
        self, kind: ObjectKind, *, fields: Mapping[str, Any], created_at: int | None, project: str | None
    ) -> StoredObject:
        seconds = int(self._now().timestamp()) if created_at is None else created_at
        return StoredObject(
            kind=kind, id=self.ids.make(kind), created_at=seconds, project=project, fields=dict(fields)
        )
