"""The shape of what is known of one kind; the rows are in `table`, a profile may correct them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum

from worker.model.errors import TenureError
from worker.model.thread import Kind


class KindNotOffered(TenureError):
    """Tenure cannot do this for this kind."""

    code = "kind_not_offered"


class NotListable(TenureError):
    """The provider gives no list of this kind to a key."""

    code = "not_listable"


class Fate(StrEnum):
    """What the provider documents of a part when its container is deleted."""

    GOES = "goes"
    STAYS = "stays"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildFacts:
    """What is listed below a container at ``collection``.

    A DELETE of one answers with the container itself where ``delete_objects`` is empty, else with the
    child's id and one of these literals.
    """

    collection: str
    nouns: tuple[str, ...]
    delete_objects: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What a POST carries: JSON, or form fields beside ``upload`` (a file's name and content)."""

    body: Mapping[str, object]
    upload: tuple[str, bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """How a running execution is told to end: a POST to ``suffix`` below the object."""

    suffix: str
    post: Post


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFacts:
    """``read_object`` and ``delete_objects`` are the literals of ``object`` in a 200.

    ``nouns`` are the words that errors use. ``deletion_semantics`` says what the provider documents that
    survives a deletion, ``tail`` for how long at most (None: not documented), ``cascade`` what becomes of
    each part. ``endpoint_end`` is a published date: it only warns, an answer must be read.
    ``canary`` makes the cheapest object of the kind (None: each costs something, or needs a session).
    ``child`` goes before its container, ``part`` only where somebody chose so. ``gone_statuses`` are those
    of a 200 that shows no object any more. ``unlisted`` says why there is no list for a key, or is empty.
    """

    kind: Kind
    collection: str
    read_object: str
    delete_objects: frozenset[str]
    deletion_semantics: str
    nouns: tuple[str, ...]
    prefix: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    tail: timedelta | None = timedelta(days=30)
    unlisted: str = ""
    child: ChildFacts | None = None
    part: ChildFacts | None = None
    cascade: Mapping[str, Fate] = field(default_factory=dict)
    canary: Post | None = None
    cancel: Cancel | None = None
    gone_statuses: frozenset[str] = frozenset()
    endpoint_end: date | None = None

    @property
    def listable(self) -> bool:
        """Whether a key can list all objects of this kind."""
        return not self.unlisted

    @property
    def listed(self) -> ChildFacts | None:
        """What a listing below one object holds, whoever decides on it."""
        return self.child or self.part

    def collection_path(self) -> str:
        """Return the path of the collection below the base URL."""
        return f"{self.prefix}/{self.collection}"

    def path(self, external_id: str) -> str:
        """Return the path of the object below the base URL."""
        return f"{self.collection_path()}/{external_id}"

    def children_path(self, external_id: str) -> str:
        """Return the path of its children's list; raises KindNotOffered where the kind has none."""
        if self.listed is None:
            raise KindNotOffered(
                f"A {self.kind} has no children that Tenure deletes.",
                repair="Ask only for kinds whose facts name a child or a part.",
            )
        return f"{self.path(external_id)}/{self.listed.collection}"

    def must_be_listable(self) -> None:
        """Raise NotListable, with the reason, where a key gets no list."""
        if self.unlisted:
            raise NotListable(
                f"Objects of kind {self.kind.value} cannot be listed: {self.unlisted}.",
                repair="Register each one when it is made.",
            )

    def end_warning(self, today: date) -> str | None:
        """Return what to tell of a published end date that is near (90 days) or past, else None."""
        if self.endpoint_end is None or self.endpoint_end - today > timedelta(days=90):
            return None
        tense = "ended" if self.endpoint_end <= today else "ends"
        return f"By its published date the endpoint of kind {self.kind.value} {tense} on {self.endpoint_end}."
