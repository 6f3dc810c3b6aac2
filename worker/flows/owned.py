"""Owned: which entries are an owner's, so that shredding reaches all of them and nobody else's.

An entry is the owner's when it is about a thread, at a time when that owner answered for it; and when it is
about a hold or an erasure and names the owner, or nothing but the owner's threads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import Connection

from worker.audit.entry import EntryType
from worker.audit.reading import Body, load
from worker.store import gone, needs, threads
from worker.store.gone import Kept

_HOLDS = frozenset({EntryType.HOLD_PLACED, EntryType.HOLD_RELEASED})
_ORDERS = frozenset({EntryType.ERASURE_ORDERED, EntryType.ERASURE_ANSWERED})
_WINDOW = 50_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """The owner's threads, now or before, and their projects; the bodies that are there, by project."""

    threads: frozenset[str]
    projects: frozenset[str]
    by_project: Mapping[str | None, list[int]]
    is_nobody: bool


def owned(db: Connection, owner: str, *, below: int, progress: Progress | None = None) -> Owned:
    """Return an owner's threads, and of their entries and the owner's below a tree size what is there."""
    registered = {one.thread.id for one in threads.of_owner(db, owner)}
    stated, loose = _naming(db, owner, below=below, progress=progress)
    own = frozenset(registered | stated)
    known = threads.many(db, own)
    names = {name for one in known.values() for name in (one.thread.id, one.thread.external_id)}
    orders = frozenset(needs.orders_about(db, owner, own))
    found = [one for one, body in loose if _is_own(one, body, owner, names, orders)]
    for subject, told in groupby(gone.of_threads(db, own, below=below), lambda each: each[0].subject):
        now = known[subject].thread.owner if subject in known else owner
        found += _while_owned([(one, load(body)) for one, body in told], owner, now)
    by_project: dict[str | None, list[int]] = {}
    for one in sorted(found, key=lambda one: one.index):
        by_project.setdefault(one.project, []).append(one.index)
    return Owned(
        threads=own,
        projects=frozenset(one.thread.project for one in known.values()),
        by_project=by_project,
        is_nobody=not own and not found and not orders,
    )


def _naming(
    db: Connection, owner: str, *, below: int, progress: Progress | None
) -> tuple[set[str], list[tuple[Kept, Body]]]:
    """Look at every body: which threads state the owner somewhere, and what there is of holds and orders."""
    subjects, loose = set[str](), list[tuple[Kept, Body]]()
    for first in range(0, below, _WINDOW):
        end = min(first + _WINDOW, below)
        for one, raw in gone.naming(db, owner, _HOLDS | _ORDERS, first=first, below=end):
            body = load(raw)
            if one.subject is None:
                loose.append((one, body))
            elif owner in _stated(body):
                subjects.add(one.subject)
        if progress is not None:
            progress(end, below)
    return subjects, loose


def _stated(body: Body) -> Sequence[object]:
    """Return the owners that an entry about a thread states, in the order of time."""
    changes = body.get("changes")
    for one in changes if isinstance(changes, list) else ():
        if one["field"] == "owner":
            return one["from"], one["to"]
    return (body["owner"],) if "owner" in body else ()


def _while_owned(told: Sequence[tuple[Kept, Body]], owner: str, now: str) -> Iterator[Kept]:
    """Yield those entries of one thread that were made while the owner answered for it."""
    firsts = (stated[0] for _, body in told if (stated := _stated(body)))
    current: object = next(firsts, now)
    for one, body in told:
        stated = _stated(body)
        if owner in (stated or (current,)):
            yield one
        current = stated[-1] if stated else current


def _is_own(one: Kept, body: Body, owner: str, names: Collection[str], orders: Collection[str]) -> bool:
    if one.type in _ORDERS:
        return body.get("erasure") in orders
    if one.type not in _HOLDS:
        return False
    owners, ids = _texts(body, "owners"), _texts(body, "ids")
    if owners:
        return owner in owners
    # A list that was cut may name others too.
    return bool(ids) and "ids_count" not in body and all(name in names for name in ids)


def _texts(body: Body, key: str) -> list[object]:
    found = body.get(key)
    return found if isinstance(found, list) else []
