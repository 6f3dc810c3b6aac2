"""The two layers of a leaf: a pseudonymous envelope, kept for ever, and a salted body, which may go.

The envelope's exact bytes are the leaf. It holds the body's SHA-256, so a body can be pruned or shredded
and every proof still holds. Both are JSON in the profile in which sorted orjson equals RFC 8785.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import orjson

from worker.audit.actors import is_actor
from worker.audit.entry import BodyRefused, Entry, Json, instant
from worker.audit.merkle import leaf_hash
from worker.audit.reading import MAX_BODY
from worker.audit.schemas import fits, flaw_in
from worker.audit.shapes import MAX_STRING

ENVELOPE_VERSION = 1
# An envelope never comes near: what it is put together of is of bounded length.
MAX_ENVELOPE = 2 * 1024
MAX_DEPTH = 8
SALT_BYTES = 16
RESERVED = frozenset({"actor", "owner_commitment", "project", "request_id", "salt", "subject", "type"})

_NULL = "null"
_MAX_INT = 2**53
_KEY = re.compile(r"[a-z0-9_.]{1,64}")
_ENTRY_ID = re.compile(r"[0-9a-f]{32}")


class Leaf(NamedTuple):
    """The exact bytes of both layers, and the RFC 6962 leaf hash of the envelope.

    A tuple, being made for every entry while others wait.
    """

    envelope: bytes
    body: bytes
    hash: bytes


def make_leaf(entry: Entry, *, entry_id: str, salt: bytes, pseudonym_key: bytes) -> Leaf:
    """Write an entry as a leaf. ``entry_id`` is a UUIDv7 in hex, ``salt`` 16 random bytes.

    Raises BodyRefused for anything outside the profile (floats, foreign keys, sizes), for a field that the
    type's schema does not know or that has another form, and for an actor that is none of the three.
    """
    if not _ENTRY_ID.fullmatch(entry_id) or len(salt) != SALT_BYTES:
        raise BodyRefused("An entry needs a UUIDv7 of 32 hex digits and a salt of 16 bytes.")
    body = _body_bytes(entry, salt)
    project, subject = entry.project, entry.subject
    # Sorted JSON as it always comes out: hex digits, an instant and our own word need no escape.
    envelope = (
        f'{{"body":"{hashlib.sha256(body).hexdigest()}"'
        f',"id":"{entry_id}"'
        f',"project":{_NULL if project is None else _pseudonym(pseudonym_key, "project", project)}'
        f',"subject":{_NULL if subject is None else _pseudonym(pseudonym_key, "subject", subject)}'
        f',"t":"{instant(entry.at)}"'
        f',"type":"{entry.type}"'
        f',"v":{ENVELOPE_VERSION}}}'
    ).encode("ascii")
    return Leaf(envelope, body, leaf_hash(envelope))


def project_pseudonym(key: bytes, name: str) -> str:
    """Return the 32 hex digits by which envelopes name a project."""
    return _pseudonym(key, "project", name).strip('"')


def subject_pseudonym(key: bytes, thread_id: str) -> str:
    """Return the 32 hex digits by which envelopes name a thread."""
    return _pseudonym(key, "subject", thread_id).strip('"')


def owner_commitment(salt: bytes, owner: str) -> str:
    """Return SHA-256 hex of salt and owner: it can be opened by who knows both, and guessed by nobody."""
    return hashlib.sha256(salt + b"owner:" + owner.encode()).hexdigest()


def canonical(value: Mapping[str, Json]) -> bytes:
    """Write JSON whose bytes equal RFC 8785; raises BodyRefused outside the profile."""
    try:
        return orjson.dumps(_plain(value, 0), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as refused:
        raise BodyRefused(f"A text is not valid Unicode: {refused}.") from refused


# Kept for a while: a deletion leaves five entries about one thread, and all of a project's name that.
@lru_cache(maxsize=4096)
def _pseudonym(key: bytes, what: str, name: str) -> str:
    """Return a pseudonym as it stands in an envelope, in quotation marks."""
    return f'"{hmac.digest(key, f"{what}:{name}".encode(), "sha256").hex()[:32]}"'


def _body_bytes(entry: Entry, salt: bytes) -> bytes:
    fields = _fields(entry, salt)
    body = _written(fields)
    # The schema's quick answer leaves sizes open: of integers the writer refuses what is too large, and in
    # so few bytes is no text that is too long. Whatever is not plainly right goes the plain way, which says
    # what is wrong with it.
    if not (body and len(body) <= MAX_STRING and fits(entry.type, entry.body) and is_actor(entry.actor)):
        _check(entry)
        body = canonical(fields)
    if len(body) > MAX_BODY:
        raise BodyRefused(f"The body of {entry.type} has {len(body)} bytes; {MAX_BODY} is the limit.")
    return body


def _fields(entry: Entry, salt: bytes) -> dict[str, Json]:
    """Return what the entry's own body holds, and what every body does."""
    fields: dict[str, Json] = {
        **entry.body,
        "actor": entry.actor,
        "project": entry.project,
        "salt": salt.hex(),
        "subject": entry.subject,
        "type": str(entry.type),
    }
    if entry.request_id is not None:
        fields["request_id"] = entry.request_id
    owner = entry.body.get("owner")
    if isinstance(owner, str):
        try:
            fields["owner_commitment"] = owner_commitment(salt, owner)
        except UnicodeEncodeError as refused:
            raise BodyRefused("The owner is not valid Unicode.") from refused
    return fields


def _written(fields: Mapping[str, Json]) -> bytes | None:
    """Write fields that are likely to be right; None for what has to be looked at one by one.

    That is bad Unicode, an integer of 2^53 or more, and a mapping that is no dict, which stands for one.
    """
    try:
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER)
    except orjson.JSONEncodeError:
        return None


def _check(entry: Entry) -> None:
    """Raise BodyRefused with what is wrong, if anything is."""
    if not RESERVED.isdisjoint(entry.body):
        taken = sorted(RESERVED & entry.body.keys())
        raise BodyRefused(f"The body names {taken}, which the entry itself writes.")
    if not is_actor(entry.actor):
        problem = f"{entry.actor[:80]!r} names no actor."
        raise BodyRefused(problem, repair="Name a key, a policy and commit, or a system and version.")
    flaw = flaw_in(entry.type, entry.body)
    if flaw is not None:
        problem = f"The body of {entry.type} {flaw}."
        raise BodyRefused(problem, repair="Its schema is in worker/audit/schemas.py.")


def _plain(value: Json, depth: int) -> object:
    """Return plain dicts and lists, and refuse what two languages could write differently."""
    if depth > MAX_DEPTH:
        raise BodyRefused(f"The body nests deeper than {MAX_DEPTH}.")
    if value is None or isinstance(value, bool):
        return value
    if type(value) is str and len(value) <= MAX_STRING:
        return value  # what most values are, and it is plain already
    if isinstance(value, str):
        if len(value) > MAX_STRING:
            raise BodyRefused(f"A text has {len(value)} characters; {MAX_STRING} is the limit.")
        return str(value)
    if isinstance(value, int):
        if abs(value) > _MAX_INT:
            raise BodyRefused("An integer is beyond 2^53, where JSON readers differ.")
        return int(value)
    if isinstance(value, Mapping):
        return {_key(key): _plain(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, depth + 1) for one in value]
    raise BodyRefused(f"A {type(value).__name__} has no place in a body.", repair="Use text or an integer.")


@lru_cache(maxsize=1024, typed=True)
def _key(key: object) -> str:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise BodyRefused(f"The key {key!r} is not of a-z 0-9 _ and a full stop.")
    return str(key)
