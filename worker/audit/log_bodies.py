"""The bodies of entries about the log itself: its keys, checkpoints, exports, and what left it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from worker.audit.entry import Entry, EntryType, Json
from worker.audit.fields import said
from worker.model.clock import rfc3339


def key_rotated(
    *,
    origin: str,
    vkey: str,
    previous: str,
    since: int,
    both_sign: int,
    reason: str,
    at: datetime,
    actor: str,
) -> Entry:
    """Record the key that signs the log from a tree size on, and how long the one before signs with it."""
    fields: dict[str, Json] = {
        "both_sign": both_sign,
        "origin": origin,
        "previous": previous,
        "reason": said(reason),
        "since": since,
        "vkey": vkey,
    }
    return _entry(EntryType.KEY_ROTATED, fields, at, actor)


def log_sealed(*, origin: str, size: int, root: bytes, at: datetime, actor: str) -> Entry:
    """Record the checkpoint that was signed; it is the leaf after that tree."""
    fields: dict[str, Json] = {"origin": origin, "root": root.hex(), "size": size}
    return _entry(EntryType.LOG_SEALED, fields, at, actor)


def export_made(
    project: str, *, window: tuple[datetime, datetime], size: int, root: bytes, at: datetime, actor: str
) -> Entry:
    """Record that a bundle was written up to a tree size."""
    fields: dict[str, Json] = {
        "from": rfc3339(window[0]),
        "root": root.hex(),
        "size": size,
        "to": rfc3339(window[1]),
    }
    return _entry(EntryType.EXPORT_MADE, fields, at, actor, project=project)


def log_pruned(
    *, begin: int, end: int, root: bytes, bundle_sha256: str, reason: str, at: datetime, actor: str
) -> Entry:
    """Record that the bodies of the leaves [begin, end) are kept no more; every proof about them holds.

    ``root`` is that of the first ``end`` leaves, ``bundle_sha256`` the digest of the export made before.
    """
    fields: dict[str, Json] = {
        "bundle_sha256": bundle_sha256,
        "from": begin,
        "reason": said(reason),
        "root": root.hex(),
        "to": end,
    }
    return _entry(EntryType.LOG_PRUNED, fields, at, actor)


def log_epoch(
    *, origin: str, previous: str, size: int, root: bytes, gap: str, reason: str, at: datetime, actor: str
) -> Entry:
    """Record that the log goes on under another origin, and the last checkpoint that is known of the old.

    ``gap`` says what may be missing between the two.
    """
    fields: dict[str, Json] = {
        "gap": said(gap),
        "origin": origin,
        "previous": previous,
        "reason": said(reason),
        "root": root.hex(),
        "size": size,
    }
    return _entry(EntryType.LOG_EPOCH, fields, at, actor)


def body_shredded(*, count: int, reason: str, at: datetime, actor: str, project: str | None = None) -> Entry:
    """Record that so many bodies can be read no more; whose they were is not told."""
    fields: dict[str, Json] = {"count": count, "reason": said(reason)}
    return _entry(EntryType.BODY_SHREDDED, fields, at, actor, project=project)


def access_read(*, what: str, rows: int, at: datetime, actor: str, project: str | None = None) -> Entry:
    """Record that somebody read of the log or the registry: which route, and how many rows."""
    return _entry(EntryType.ACCESS_READ, {"rows": rows, "what": said(what)}, at, actor, project=project)


def _entry(
    type_: EntryType, fields: Mapping[str, Json], at: datetime, actor: str, *, project: str | None = None
) -> Entry:
    return Entry(type=type_, at=at, actor=actor, project=project, body=fields)
