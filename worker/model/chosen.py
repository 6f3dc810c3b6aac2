"""Chosen children: files and vector stores that a producer named to go before their container."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from worker.model.errors import Invalid
from worker.model.evidence import Class
from worker.model.thread import Kind, infer_kind

# Which children a kind may name; those of a conversation go by themselves.
CHOOSABLE = {
    Kind.THREAD: frozenset({Kind.FILE, Kind.VECTOR_STORE}),
    Kind.VECTOR_STORE: frozenset({Kind.FILE}),
}
# A DELETE with one of these answers may have deleted the child.
SENT = frozenset({Class.ACKNOWLEDGED, Class.MALFORMED, Class.LOST, Class.ERROR})


class ChosenState(StrEnum):
    """Where a chosen child stands."""

    CHOSEN = "chosen"  # nobody has looked at it yet
    CONFIRMED = "confirmed"  # read present, DELETE sent, read absent beside a control
    ABSENT = "absent"  # it was gone at first sight, beside a control, and not by us
    KEPT = "kept"  # left alone, for the reason beside it
    LEFT = "left"  # it would not go, or could not be seen to be gone


class Kept(StrEnum):
    """Why a chosen child is left alone."""

    SHARED_REFERENCE = "shared_reference"  # registered itself, or named by another thread that is not gone
    NOT_NAMED = "not_named"  # the container does not name it: it may be somebody else's
    HELD = "held"  # a hold names it


# Where a child stands, and why it is kept.
Told: TypeAlias = tuple[ChosenState, Kept | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenChild:
    """One chosen child. ``tried``: it was read present and its DELETE may have left.

    ``detached``: the DELETE that takes a file out of its vector store may have left.
    """

    id: str
    kind: Kind
    state: ChosenState = ChosenState.CHOSEN
    reason: Kept | None = None
    tried: bool = False
    detached: bool = False

    @property
    def counts(self) -> bool:
        """Whether it is one of those that had to go."""
        return self.state not in {ChosenState.KEPT, ChosenState.ABSENT}


def check_children(container: Kind, children: tuple[str, ...]) -> None:
    """Raise Invalid, with the pointer of the first one, for children that this kind cannot choose."""
    allowed = CHOOSABLE.get(container)
    if children and allowed is None:
        problem = f"A {container.value} cannot choose children."
        raise Invalid(
            problem,
            repair="Leave children out: a conversation's items go by themselves, and only a thread or a "
            "vector_store names others.",
            pointer="/children/0",
            code="invalid_child",
        )
    for number, child in enumerate(children):
        if allowed is None or _kind(child, number) not in allowed:
            names = "file or vector store" if container is Kind.THREAD else "file"
            raise Invalid(
                f"A {container.value} cannot have this object as its child.",
                repair=f"Give the id of a {names} that it names at the provider.",
                pointer=f"/children/{number}",
                code="invalid_child",
            )
        if child in children[:number]:
            problem = "This child is named twice."
            raise Invalid(
                problem, repair="Name it once.", pointer=f"/children/{number}", code="invalid_child"
            )


def _kind(child: str, number: int) -> Kind:
    try:
        return infer_kind(child)
    except Invalid as e:
        raise Invalid(
            "This is not the id of a file or a vector store.",
            repair="Give an id with the prefix file-, file_ or vs_.",
            pointer=f"/children/{number}",
            code="invalid_child",
        ) from e
