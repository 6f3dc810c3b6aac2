"""A thread: a registered object at a provider that stores conversation data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from worker.model.errors import Invalid
from worker.model.gateway import provider_id, unwrap
from worker.model.ids import ThreadId


class Kind(StrEnum):
    """Which of the provider's objects a thread is."""

    THREAD = "thread"
    CONVERSATION = "conversation"
    RESPONSE = "response"
    CHAT_COMPLETION = "chat_completion"
    CHATKIT_THREAD = "chatkit_thread"
    AGENT_SESSION = "agent_session"
    FILE = "file"
    VECTOR_STORE = "vector_store"
    CONTAINER = "container"


class ThreadState(StrEnum):
    """Where a thread stands. Only ``LIVE`` threads are decided; un-parking returns to ``LIVE``."""

    LIVE = "live"
    DELETED = "deleted"  # graded confirmed, inferred or sustained: it was seen to be gone
    ABSENT = "absent"  # it was gone, and not by us
    ACKNOWLEDGED = "acknowledged"  # the provider said so, nobody could see it: re-read until settled
    PARKED = "parked"  # a person must look: partial, still_present, unverifiable, account_changed, abandoned
    WITHDRAWN = "withdrawn"  # registered by mistake, never deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One provider account. A rotated key is no change of account."""

    provider: str
    base_url: str
    organization: str = ""
    provider_project: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """What the registry knows of one thread. ``ttl`` is an ISO 8601 duration as printed."""

    id: ThreadId
    kind: Kind
    external_id: str
    project: str
    owner: str
    registered_at: datetime
    tags: Mapping[str, str] = field(default_factory=dict)
    ttl: str | None = None
    created_at: datetime | None = None
    last_activity_at: datetime | None = None
    state: ThreadState = ThreadState.LIVE
    account: Account | None = None


# INTERFACE: each prefix is followed by 1 to 128 of [A-Za-z0-9_-].
PREFIXES: Mapping[Kind, tuple[str, ...]] = {
    Kind.THREAD: ("thread_",),
    Kind.CONVERSATION: ("conv_",),
    Kind.RESPONSE: ("resp_",),
    Kind.CHAT_COMPLETION: ("chatcmpl-",),
    Kind.CHATKIT_THREAD: ("cthr_",),
    Kind.FILE: ("file-", "file_"),
    Kind.VECTOR_STORE: ("vs_",),
    Kind.CONTAINER: ("cntr_",),
}

# Ids that people paste by mistake, and what they are.
FOREIGN_PREFIXES: Mapping[str, str] = {
    "run_": "a run id",
    "msg_": "a message id",
    "asst_": "an assistant id",
    "step_": "a run step id",
    "batch_": "a batch id",
    "cksess_": "a ChatKit session id",
    "cfile_": "a container file id",
    "ftjob-": "a fine-tuning job id",
    "upload_": "an upload id",
    "proj_": "a provider project id",
    "org-": "an organization id",
    "thr_": "an id of Tenure's own",
}

_TAIL = re.compile(r"[A-Za-z0-9_-]{1,128}")


def infer_kind(external_id: str, wanted: Kind | None = None) -> Kind:
    """Tell the kind from the id's prefix, and check it against ``wanted`` when that is given.

    Raises Invalid (``wrong_kind``, ``unknown_kind``, ``invalid_id`` or ``gateway_id``) and says what the
    id is.
    """
    wrapped = unwrap(external_id)
    if wrapped is not None:
        raise _rewritten(provider_id(wrapped))
    if wanted is Kind.AGENT_SESSION:
        if not _TAIL.fullmatch(external_id):
            raise _malformed(external_id)
        return wanted
    for prefix, what in FOREIGN_PREFIXES.items():
        if external_id.startswith(prefix):
            raise Invalid(
                f"This is {what}, not the id of a thread.",
                repair="Register the object that holds the conversation: " + _known() + ".",
                pointer="/external_id",
                code="wrong_kind",
            )
    for kind, prefixes in PREFIXES.items():
        for prefix in prefixes:
            if external_id.startswith(prefix):
                return _checked(kind, external_id, prefix, wanted)
    raise Invalid(
        "The prefix of this id is not one of a known kind.",
        repair=f"Known prefixes: {_known()}; an agent_session needs an explicit kind.",
        pointer="/external_id",
        code="unknown_kind",
    )


def _checked(kind: Kind, external_id: str, prefix: str, wanted: Kind | None) -> Kind:
    if not _TAIL.fullmatch(external_id.removeprefix(prefix)):
        raise _malformed(external_id)
    if wanted is not None and wanted is not kind:
        raise Invalid(
            f"This is the id of a {kind.value}, not of a {wanted.value}.",
            repair="Leave kind out, or give the one that fits the prefix.",
            pointer="/kind",
            code="wrong_kind",
        )
    return kind


def _rewritten(own: str | None) -> Invalid:
    """A gateway answers for such an id with yet another one, so no answer could name what was sent."""
    register = f"Register the provider's own id, here {own}" if own else "Register the provider's own id"
    return Invalid(
        "This id was made up by a gateway (LiteLLM) in place of the provider's own.",
        repair=f"{register}, in a project whose base_url is the provider's.",
        pointer="/external_id",
        code="gateway_id",
    )


def _malformed(external_id: str) -> Invalid:
    return Invalid(
        f"The id has {len(external_id)} characters or some that no provider id has.",
        repair="After the prefix come 1 to 128 of A-Z a-z 0-9 _ and -; a longer id may be a gateway's, which "
        "cannot be registered in place of the provider's own.",
        pointer="/external_id",
        code="invalid_id",
    )


def _known() -> str:
    return ", ".join(prefix for prefixes in PREFIXES.values() for prefix in prefixes)
