"""ETag and If-Match (RFC 9110, RFC 6585): nobody's change of a thread is lost under another's."""

from __future__ import annotations

import re

from worker.http.refusals import NoCondition
from worker.store.threads import StoredThread

# A weak tag never matches: If-Match compares strongly.
_OURS = re.compile(r'"v([1-9][0-9]{0,8})"')


def etag(stored: StoredThread) -> str:
    """Return the tag of a thread's version: what is registered and its state, not what time decides."""
    return f'"v{stored.version}"'


def versions_of(if_match: str | None) -> set[int] | None:
    """Return the versions that a change may rest on, None for `*`; raises NoCondition without any header.

    A tag that is not ours names no version, so it fits none.
    """
    if if_match is None or not if_match.strip():
        problem = "A change needs If-Match with the thread's ETag."
        raise NoCondition(problem, repair="Read the thread first; its ETag says what you change.")
    if if_match.strip() == "*":
        return None
    tags = (_OURS.fullmatch(one.strip()) for one in if_match.split(","))
    return {int(tag[1]) for tag in tags if tag}
