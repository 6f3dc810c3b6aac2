"""Profiles: how a provider says that an object is not there.

DANGER. A false match turns a wrong key, a wrong base URL or a retired endpoint into a certificate of
deletion. Invariant: an answer counts only if it names the very id that was sent, outside of any path.
Whatever does not match is `route_absent`, which is never called deleted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from worker.model.errors import TenureError


class UnknownProfile(TenureError):
    """A project names a profile that does not exist."""

    code = "unknown_profile"


class Matcher(Protocol):
    """Says whether the JSON of a 404 means: there is no object of this kind with this id."""

    def __call__(self, answer: Mapping[str, object], *, noun: str, object_id: str) -> bool:
        """Judge the answer; ``noun`` is the word for the kind, ``object_id`` what was sent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How one family of servers answers."""

    name: str
    object_absent: Matcher


_SAYS_ABSENT = re.compile(r"\bnot found\b|\bno\b.+\bfound\b|\bno such\b", re.IGNORECASE)


def _names(message: str, object_id: str) -> bool:
    """The id stands alone: not part of a longer one, and not in a path that a route error quotes."""
    outside = r"[A-Za-z0-9_\-/]"
    return re.search(rf"(?<!{outside}){re.escape(object_id)}(?!{outside})", message) is not None


def _of_openai(answer: Mapping[str, object], *, noun: str, object_id: str) -> bool:  # noqa: ARG001 - a Matcher
    """OpenAI: an error object of type ``invalid_request_error`` (OpenAPI document, ``Error``)."""
    error = answer.get("error")
    if not isinstance(error, dict) or error.get("type") != "invalid_request_error":
        return False
    message = error.get("message")
    if not isinstance(message, str) or message.lstrip().lower().startswith("invalid url"):
        return False
    return _names(message, object_id) and _SAYS_ABSENT.search(message.replace(object_id, "")) is not None


def _of_any(answer: Mapping[str, object], *, noun: str, object_id: str) -> bool:
    """Servers that speak the same API: any envelope, but the message must begin with kind and id.

    Such as ``Conversation 'conv_1' not found.``, ``No such file: file-1``, ``No thread found with id …``.
    """
    message = _message(answer)
    if message is None:
        return False
    word, id_ = re.escape(noun), rf"(?:with id )?['\"`]?{re.escape(object_id)}['\"`]?(?![A-Za-z0-9_\-/])"
    forms = (
        rf"{word} {id_}(?: was)? not found\b",
        rf"no {word} found (?:for )?{id_}",
        rf"no such {word}(?: object)?:? {id_}",
    )
    return any(re.match(form, message.strip(), re.IGNORECASE) for form in forms)


def _message(answer: Mapping[str, object]) -> str | None:
    for place in (answer.get("error"), answer):
        if isinstance(place, dict):
            for key in ("message", "detail"):
                text = place.get(key)
                if isinstance(text, str):
                    return text
    return None


PROFILES: Mapping[str, Profile] = {
    one.name: one
    for one in (
        Profile(name="openai", object_absent=_of_openai),
        Profile(name="generic", object_absent=_of_any),
    )
}


def profile(name: str) -> Profile:
    """Return a profile by its name; raises UnknownProfile, which lists them."""
    known = PROFILES.get(name)
    if known is None:
        raise UnknownProfile(
            f"There is no profile {name!r}.",
            repair=f"Set profile to one of: {', '.join(PROFILES)}.",
        )
    return known
