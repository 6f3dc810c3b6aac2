"""Keys: make, check and revoke API keys. Only a SHA-256 of the secret is kept; it is shown once.

Form: `tnr_<id>_<secret>_<crc>`, where crc is the CRC-32 of what stands before it in 8 hex digits, so that
scanners can tell a key from a likeness without asking anybody.
"""

from __future__ import annotations

import hashlib
import hmac
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker import __version__
from worker.audit import bodies
from worker.audit.actors import key_actor, system_actor
from worker.model.clock import Clock
from worker.model.errors import Invalid, TenureError
from worker.model.ids import random_token
from worker.store import keys, log
from worker.store.engine import Database
from worker.store.keys import StoredKey

ALL_SCOPES = (
    "threads:write",
    "threads:read",
    "holds:write",
    "holds:release",
    "policies:read",
    "plans:approve",
    "sweeps:run",
    "audit:read",
    "audit:export",
    "erasures:write",
    "keys:admin",
    "switches:write",
)
ADMIN_SCOPES = tuple(scope for scope in ALL_SCOPES if scope != "holds:release")
EVERY_PROJECT = "*"
_RELEASE = "holds:release"
# Whoever can run or approve deletions must not be able to lift the protection against them.
_NEVER_WITH_RELEASE = frozenset({"sweeps:run", "plans:approve"})
_FIRST_ADMIN = "first admin key"
_PARTS = 4
# Published for secret scanners, in docs/api.md and under /docs/keys; a test holds keys and pattern together.
PATTERN = r"\btnr_[A-Za-z0-9]{12}_[A-Za-z0-9]{32}_[0-9a-f]{8}\b"


# A use is noted at most this often, so that being busy costs no writes.
_NOTE_EVERY = timedelta(minutes=5)


class WiderThanOwn(TenureError):
    """Whoever asks would get a key that may do more than the one that asks."""

    code = "wider_than_own"


class KeyRefused(TenureError):
    """The key is malformed, unknown, revoked or expired; which one is not told."""

    code = "unauthorized"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was just made; ``text`` is shown once and kept nowhere."""

    id: str
    text: str
    scopes: tuple[str, ...]
    projects: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls: ``actor`` is what entries name, ``projects`` None means every project.

    ``key`` is the public id of the key that was shown, and ``used_at`` what stands as its last use.
    """

    actor: str
    scopes: frozenset[str]
    projects: tuple[str, ...] | None
    key: str | None = None
    used_at: datetime | None = None

    def may_see(self, project: str) -> bool:
        """Whether this caller's projects include that one."""
        return self.projects is None or project in self.projects


# Without host and process: who ordered something locally is who approves it locally.
LOCAL = Principal(actor=system_actor("local", __version__), scopes=frozenset(ALL_SCOPES), projects=None)


def create_key(
    database: Database,
    *,
    label: str,
    scopes: Sequence[str],
    projects: Sequence[str],
    actor: str,
    clock: Clock,
    expires_at: datetime | None = None,
) -> NewKey:
    """Make a key; raises Invalid for unknown scopes and for scopes that one key must not join."""
    check_rights(scopes, projects)
    with database.write() as db:
        return add_new_key(
            db,
            label=label,
            scopes=scopes,
            projects=projects,
            actor=actor,
            now=clock.now(),
            expires_at=expires_at,
        )


def first_admin_key(database: Database, *, clock: Clock) -> NewKey | None:
    """Make the first admin key of a new database; None when any key was ever made."""
    with database.write() as db:
        # Two services that start at once on a new database must not both show a first key.
        log.take_head(db)
        if keys.list_keys(db):
            return None
        return add_new_key(
            db,
            label=_FIRST_ADMIN,
            scopes=ADMIN_SCOPES,
            projects=[EVERY_PROJECT],
            actor=system_actor("system", __version__),
            now=clock.now(),
        )


def require_within(who: Principal, scopes: Sequence[str]) -> None:
    """Refuse to hand out scopes that the caller lacks; raises WiderThanOwn.

    Whoever makes a key sees its text and can use it. So a key that could make one with `holds:release` would
    hold that scope itself, beside `sweeps:run`: the separation of duties would be a matter of two requests.
    """
    wider = sorted(set(scopes) & set(ALL_SCOPES) - who.scopes)
    if wider:
        problem = f"This key lacks {', '.join(wider)}, and no key hands out what it lacks."
        repair = (
            "Let a key that has these do it, or run `tenure keys` beside the database, without TENURE_URL."
        )
        raise WiderThanOwn(problem, repair=repair)


def add_new_key(
    db: Connection,
    *,
    label: str,
    scopes: Sequence[str],
    projects: Sequence[str],
    actor: str,
    now: datetime,
    expires_at: datetime | None = None,
) -> NewKey:
    """Insert a key with a secret of its own, and its entry."""
    key_id, secret = random_token(12), random_token(32)
    body = f"tnr_{key_id}_{secret}"
    stored = StoredKey(
        id=key_id,
        label=label,
        secret_sha256=hashlib.sha256(secret.encode()).hexdigest(),
        scopes=tuple(sorted(scopes)),
        projects=tuple(sorted(projects)),
        created_at=now,
        expires_at=expires_at,
    )
    keys.add_key(db, stored)
    entry = bodies.key_created(key=key_id, label=label, scopes=scopes, projects=projects, at=now, actor=actor)
    log.append(db, [entry])
    return NewKey(id=key_id, text=f"{body}_{_crc(body)}", scopes=stored.scopes, projects=stored.projects)


def check_rights(scopes: Sequence[str], projects: Sequence[str]) -> None:
    """Refuse scopes that do not exist, and those that one key must not join; raises Invalid."""
    unknown = sorted(set(scopes) - set(ALL_SCOPES))
    if unknown or not scopes:
        problem = f"Unknown scopes: {', '.join(unknown)}." if unknown else "A key needs at least one scope."
        raise Invalid(problem, repair=f"Known: {', '.join(ALL_SCOPES)}.", pointer="/scopes")
    if not projects:
        problem = "A key needs at least one project."
        raise Invalid(problem, repair="Name projects, or * for all.", pointer="/projects")
    if _RELEASE in scopes and _NEVER_WITH_RELEASE & set(scopes):
        problem = "One key must not hold holds:release together with sweeps:run or plans:approve."
        raise Invalid(
            problem, repair="Make two keys for two people.", pointer="/scopes", code="duties_not_separate"
        )


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def is_well_formed(text: str) -> bool:
    """Whether this has the form of a key and its checksum; says nothing about whether it opens anything."""
    parts = text.split("_")
    return len(parts) == _PARTS and parts[0] == "tnr" and _crc("_".join(parts[:3])) == parts[3]


def authenticate(db: Connection, texts: Sequence[str], *, now: datetime) -> list[Principal | KeyRefused]:
    """Return who holds each key, or KeyRefused in its place: one answer for every reason."""
    ids = {text.split("_")[1] for text in texts if is_well_formed(text)}
    found = keys.get_keys(db, ids) if ids else {}
    return [_holder(text, found, now) or _refused() for text in texts]


def _holder(text: str, known: Mapping[str, StoredKey], now: datetime) -> Principal | None:
    if not is_well_formed(text):
        return None
    parts = text.split("_")
    found = known.get(parts[1])
    given = hashlib.sha256(parts[2].encode()).hexdigest()
    if found is None or not hmac.compare_digest(found.secret_sha256, given):
        return None
    if found.revoked_at is not None or (found.expires_at is not None and found.expires_at <= now):
        return None
    every = EVERY_PROJECT in found.projects
    return Principal(
        actor=key_actor(found.id),
        scopes=frozenset(found.scopes),
        projects=None if every else found.projects,
        key=found.id,
        used_at=found.last_used_at,
    )


def use_is_news(who: Principal, now: datetime) -> bool:
    """Whether this use of a key is to be noted: the noted one is some minutes old, or there is none."""
    return who.key is not None and (who.used_at is None or who.used_at < now - _NOTE_EVERY)


def note_use(database: Database, key_id: str, *, clock: Clock) -> None:
    """Note that a key was used; of many at once one writes."""
    now = clock.now()
    with database.write() as db:
        keys.note_use(db, key_id, now, unless_since=now - _NOTE_EVERY)


def _refused() -> KeyRefused:
    problem = "The API key is not valid."
    return KeyRefused(problem, repair="Send `Authorization: Bearer tnr_…` with a key that stands.")


def note_look(database: Database, what: str, *, rows: int, actor: str, clock: Clock) -> None:
    """Record that somebody looked at the keys: reading is a use of an administrative scope too."""
    read = bodies.access_read(what=what, rows=rows, at=clock.now(), actor=actor)
    with database.write() as db:
        log.append(db, [read])


def revoke_key(database: Database, key_id: str, *, actor: str, clock: Clock) -> bool:
    """Revoke a key at once; False when there is none that stands."""
    now = clock.now()
    with database.write() as db:
        # The head first, as rotating takes it: in the other order each would wait for the other.
        log.take_head(db)
        done = keys.revoke_key(db, key_id, now)
        if done:
            log.append(db, [bodies.key_revoked(key=key_id, at=now, actor=actor)])
    return done
