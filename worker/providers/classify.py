"""What an answer says: pure functions from status, headers and body to one class (DESIGN of evidence).

DANGER. `present` lets a DELETE be sent, `object_absent` and `acknowledged` lead to a certificate.
Invariant: each of them needs a body that was read and that names the id that was sent; anything that
cannot be read falls through to a class that certifies nothing. Nothing here raises.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from worker.model.evidence import Class
from worker.model.thread import Kind
from worker.providers.kind_facts import KindFacts
from worker.providers.profiles import Profile

_OBJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer as it came; ``headers`` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """``detail`` is an error's type and code, or the short name of what was wrong; never content."""

    seen: Class
    detail: str | None = None


def is_object_id(text: object) -> bool:
    """Whether this can stand in a path as it is: 1 to 200 of A-Z a-z 0-9 _ and -."""
    return isinstance(text, str) and _OBJECT_ID.fullmatch(text) is not None


def classify_read(kind: Kind, external_id: str, answer: Answer, profile: Profile) -> Verdict:
    """Classify the answer to a GET of the object itself."""
    known = profile.facts(kind)
    if answer.status != HTTPStatus.OK:
        return refusal(answer, profile, kind=kind, object_id=external_id)
    body = json_object(answer.body)
    if body is None:
        return Verdict(seen=Class.ERROR, detail="not_json")
    wrong = _wrong_object(body, external_id, frozenset({known.read_object}))
    if wrong is None and body.get("deleted"):
        # A file answers both a read and a DELETE with object "file"; this flag tells them apart.
        wrong = "says_deleted"
    status = body.get("status")
    if wrong is None and isinstance(status, str) and status in known.gone_statuses:
        wrong = f"status_{status}"
    return Verdict(seen=Class.ERROR, detail=wrong) if wrong else Verdict(seen=Class.PRESENT)


def classify_delete(kind: Kind, external_id: str, answer: Answer, profile: Profile) -> Verdict:
    """Classify the answer to a DELETE of the object itself."""
    known = profile.facts(kind)
    if not _claims_success(answer):
        return refusal(answer, profile, kind=kind, object_id=external_id)
    return _deletion(answer, external_id, known.delete_objects)


def classify_child_delete(
    kind: Kind, external_id: str, child_id: str, answer: Answer, profile: Profile
) -> Verdict:
    """Classify the answer to a DELETE of a child: 200 with the parent, or with the child's deletion."""
    known = profile.facts(kind)
    listed = known.listed
    if not _claims_success(answer):
        nouns = listed.nouns if listed else ()
        return refusal(answer, profile, kind=kind, object_id=child_id, nouns=nouns)
    if listed is not None and listed.delete_objects:
        return _deletion(answer, child_id, listed.delete_objects)
    body = json_object(answer.body)
    if body is None or answer.status != HTTPStatus.OK:
        return Verdict(seen=Class.MALFORMED, detail=_unread(answer))
    wrong = _wrong_object(body, external_id, frozenset({known.read_object}))
    return Verdict(seen=Class.MALFORMED, detail=wrong) if wrong else Verdict(seen=Class.ACKNOWLEDGED)


def classify_create(known: KindFacts, answer: Answer, profile: Profile) -> tuple[Verdict, str | None]:
    """Classify the answer to a POST that makes an object; beside `present` stands its id."""
    if answer.status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
        return refusal(answer, profile, kind=known.kind, object_id=""), None
    body = json_object(answer.body)
    made = body.get("id") if body is not None else None
    if body is None or not is_object_id(made) or body.get("object") != known.read_object:
        return Verdict(seen=Class.ERROR, detail="not_json" if body is None else "other_object"), None
    return Verdict(seen=Class.PRESENT), str(made)


def classify_cancel(kind: Kind, answer: Answer, profile: Profile) -> Verdict:
    """Classify the answer to a cancellation: `none` where it was accepted, never a sight of the object."""
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return Verdict(seen=Class.NONE, detail="cancel_accepted")
    return refusal(answer, profile, kind=kind, object_id="")


def _deletion(answer: Answer, object_id: str, objects: frozenset[str]) -> Verdict:
    body = json_object(answer.body)
    if body is None:
        return Verdict(seen=Class.MALFORMED, detail=_unread(answer))
    wrong = _wrong_object(body, object_id, objects)
    if wrong is None and (_redirects(answer) or body.get("deleted") is not True):
        wrong = "redirect" if _redirects(answer) else "deleted_not_true"
    return Verdict(seen=Class.MALFORMED, detail=wrong) if wrong else Verdict(seen=Class.ACKNOWLEDGED)


def created_at(answer: Answer) -> datetime | None:
    """Return when a body says that its object was made, or None where it names no time."""
    body = json_object(answer.body)
    return creation_of(body) if body is not None else None


def creation_of(body: Mapping[str, object]) -> datetime | None:
    """Return ``created_at``, or ``created`` as chat completions have it: seconds since 1970."""
    seconds = body.get("created_at", body.get("created"))
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC) if math.isfinite(seconds) and seconds > 0 else None
    except (OverflowError, OSError, ValueError):
        return None


def refusal(
    answer: Answer, profile: Profile, *, kind: Kind, object_id: str, nouns: tuple[str, ...] = ()
) -> Verdict:
    """Classify an answer that claims no success; without an ``object_id`` nothing can be absent."""
    body = json_object(answer.body)
    detail = _error_words(body)
    match answer.status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return Verdict(seen=Class.DENIED, detail=detail)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return Verdict(seen=Class.THROTTLED, detail=detail)
        case status if _asks_wrongly(status) and body is not None and profile.denied(body):
            return Verdict(seen=Class.DENIED, detail=detail)
        case HTTPStatus.NOT_FOUND if body is not None and profile.object_absent(
            body, kind=kind, object_id=object_id, nouns=nouns
        ):
            return Verdict(seen=Class.OBJECT_ABSENT, detail=detail)
        case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED | HTTPStatus.GONE:
            return Verdict(seen=Class.ROUTE_ABSENT, detail=detail)
        case _:
            return Verdict(seen=Class.ERROR, detail="redirect" if _redirects(answer) else detail)


def _asks_wrongly(status: int) -> bool:
    return HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR


def _claims_success(answer: Answer) -> bool:
    """2xx and 3xx: what a DELETE can be taken for, so that only the body decides."""
    return HTTPStatus.OK <= answer.status < HTTPStatus.BAD_REQUEST


def _redirects(answer: Answer) -> bool:
    return HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST


def _unread(answer: Answer) -> str:
    return "redirect" if _redirects(answer) else "not_json"


def _wrong_object(body: Mapping[str, object], object_id: str, objects: frozenset[str]) -> str | None:
    if body.get("id") != object_id:
        return "other_id"
    named = body.get("object")
    return None if isinstance(named, str) and named in objects else "other_object"


def _error_words(body: Mapping[str, object] | None) -> str | None:
    error = body.get("error") if body is not None else None
    if not isinstance(error, dict):
        return None
    words = [error.get("type"), error.get("code")]
    # Free text could repeat content; a type and a code are identifiers.
    return "/".join(one for one in words if isinstance(one, str) and _CODE.fullmatch(one)) or None


def json_object(body: bytes) -> dict[str, object] | None:
    """Return the JSON object in this body, or None for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
