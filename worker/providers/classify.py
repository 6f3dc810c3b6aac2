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
from worker.providers.profiles import Profile
from worker.providers.table import facts

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One page of children; ``verdict.seen`` is `present` only for a page that can be relied on."""

    verdict: Verdict
    ids: tuple[str, ...] = ()
    has_more: bool = False
    last: str | None = None


def is_object_id(text: object) -> bool:
    """Whether this can stand in a path as it is: 1 to 200 of A-Z a-z 0-9 _ and -."""
    return isinstance(text, str) and _OBJECT_ID.fullmatch(text) is not None


def classify_read(kind: Kind, external_id: str, answer: Answer, profile: Profile) -> Verdict:
    """Classify the answer to a GET of the object itself."""
    known = facts(kind)
    if answer.status != HTTPStatus.OK:
        return _refusal(answer, profile, noun=known.read_object, object_id=external_id)
    body = _json(answer.body)
    if body is None:
        return Verdict(seen=Class.ERROR, detail="not_json")
    wrong = _wrong_object(body, external_id, frozenset({known.read_object}))
    if wrong is None and body.get("deleted"):
        # A file answers both a read and a DELETE with object "file"; this flag tells them apart.
        wrong = "says_deleted"
    return Verdict(seen=Class.ERROR, detail=wrong) if wrong else Verdict(seen=Class.PRESENT)


def classify_delete(kind: Kind, external_id: str, answer: Answer, profile: Profile) -> Verdict:
    """Classify the answer to a DELETE of the object itself."""
    known = facts(kind)
    if not _claims_success(answer):
        return _refusal(answer, profile, noun=known.read_object, object_id=external_id)
    body = _json(answer.body)
    if body is None:
        return Verdict(seen=Class.MALFORMED, detail=_unread(answer))
    wrong = _wrong_object(body, external_id, known.delete_objects)
    if wrong is None and (_redirects(answer) or body.get("deleted") is not True):
        wrong = "redirect" if _redirects(answer) else "deleted_not_true"
    return Verdict(seen=Class.MALFORMED, detail=wrong) if wrong else Verdict(seen=Class.ACKNOWLEDGED)


def classify_child_delete(
    kind: Kind, external_id: str, child_id: str, answer: Answer, profile: Profile
) -> Verdict:
    """Classify the answer to a DELETE of a child: 200 with the parent's object and id."""
    known = facts(kind)
    if not _claims_success(answer):
        noun = known.child.noun if known.child else known.read_object
        return _refusal(answer, profile, noun=noun, object_id=child_id)
    body = _json(answer.body)
    if body is None or answer.status != HTTPStatus.OK:
        return Verdict(seen=Class.MALFORMED, detail=_unread(answer))
    wrong = _wrong_object(body, external_id, frozenset({known.read_object}))
    return Verdict(seen=Class.MALFORMED, detail=wrong) if wrong else Verdict(seen=Class.ACKNOWLEDGED)


def read_listing(kind: Kind, external_id: str, answer: Answer, profile: Profile) -> Listing:
    """Read one page of children. A page that could hide a child is an `error`, never a short list."""
    known = facts(kind)
    if answer.status != HTTPStatus.OK:
        return Listing(verdict=_refusal(answer, profile, noun=known.read_object, object_id=external_id))
    body = _json(answer.body)
    ids = _child_ids(body) if body is not None else None
    if body is None or ids is None:
        return _unreliable("not_a_list")
    has_more = body.get("has_more")
    if not isinstance(has_more, bool) or (has_more and not ids):
        return _unreliable("has_more_unclear")
    return Listing(
        verdict=Verdict(seen=Class.PRESENT), ids=ids, has_more=has_more, last=ids[-1] if ids else None
    )


def created_at(answer: Answer) -> datetime | None:
    """Return ``created_at`` (seconds since 1970) of a body, or None where it names none."""
    body = _json(answer.body)
    seconds = body.get("created_at") if body is not None else None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC) if math.isfinite(seconds) and seconds > 0 else None
    except (OverflowError, OSError, ValueError):
        return None


def _refusal(answer: Answer, profile: Profile, *, noun: str, object_id: str) -> Verdict:
    """Classify an answer that claims no success."""
    body = _json(answer.body)
    detail = _error_words(body)
    match answer.status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return Verdict(seen=Class.DENIED, detail=detail)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return Verdict(seen=Class.THROTTLED, detail=detail)
        case HTTPStatus.NOT_FOUND if body is not None and profile.object_absent(
            body, noun=noun, object_id=object_id
        ):
            return Verdict(seen=Class.OBJECT_ABSENT, detail=detail)
        case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED | HTTPStatus.GONE:
            return Verdict(seen=Class.ROUTE_ABSENT, detail=detail)
        case _:
            return Verdict(seen=Class.ERROR, detail="redirect" if _redirects(answer) else detail)


def _claims_success(answer: Answer) -> bool:
    """2xx and 3xx: what a DELETE can be taken for, so that only the body decides."""
    return HTTPStatus.OK <= answer.status < HTTPStatus.BAD_REQUEST


def _redirects(answer: Answer) -> bool:
    return HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST


def _unread(answer: Answer) -> str:
    return "redirect" if _redirects(answer) else "not_json"


def _unreliable(detail: str) -> Listing:
    return Listing(verdict=Verdict(seen=Class.ERROR, detail=detail))


def _wrong_object(body: Mapping[str, object], object_id: str, objects: frozenset[str]) -> str | None:
    if body.get("id") != object_id:
        return "other_id"
    named = body.get("object")
    return None if isinstance(named, str) and named in objects else "other_object"


def _child_ids(body: Mapping[str, object]) -> tuple[str, ...] | None:
    data = body.get("data")
    if body.get("object") != "list" or not isinstance(data, list):
        return None
    ids = [one.get("id") if isinstance(one, dict) else None for one in data]
    return tuple(str(one) for one in ids) if all(is_object_id(one) for one in ids) else None


def _error_words(body: Mapping[str, object] | None) -> str | None:
    error = body.get("error") if body is not None else None
    if not isinstance(error, dict):
        return None
    words = [error.get("type"), error.get("code")]
    # Free text could repeat content; a type and a code are identifiers.
    return "/".join(one for one in words if isinstance(one, str) and _CODE.fullmatch(one)) or None


def _json(body: bytes) -> dict[str, object] | None:
    """Return the JSON object in this body, or None for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
