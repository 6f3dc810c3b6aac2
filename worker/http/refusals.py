"""What only the HTTP edge refuses."""

from __future__ import annotations

from collections.abc import Mapping

from worker.model.errors import Invalid, TenureError


class Forbidden(TenureError):
    """The key is good, but lacks a scope."""

    code = "forbidden"


class ProjectBound(TenureError):
    """The key is bound to projects, and this reaches beyond them."""

    code = "project_bound"


class Ambiguous(TenureError):
    """Several visible threads have this external id."""

    code = "ambiguous_id"


class NoCondition(TenureError):
    """A change needs the ETag that it rests on, so that nobody's change is lost."""

    code = "if_match_required"


class AlreadyRevoked(TenureError):
    """The key was revoked before."""

    code = "already_revoked"


class WrongMediaType(TenureError):
    """The body has a type or an encoding that this route does not read."""

    code = "unsupported_media_type"


class Throttled(TenureError):
    """Too many requests came from one key, or too many refused keys from one address."""

    code = "too_many_requests"

    def __init__(self, problem: str, *, repair: str, headers: Mapping[str, str]) -> None:
        super().__init__(problem, repair=repair)
        self.headers = headers


class HeadersTooLarge(TenureError):
    """The target and the headers are longer than any that are used."""

    code = "headers_too_large"


class Unreadable(TenureError):
    """The body is damaged: no whole gzip, or cut off."""

    code = "malformed_gzip"


class MalformedIdempotencyKey(TenureError):
    """There is an Idempotency-Key, and it is none that could be told from others."""

    code = "malformed_idempotency_key"


class ExportNotReady(TenureError):
    """There is no file to fetch: not yet, or never."""

    code = "export_not_ready"


class ExportExpired(TenureError):
    """The file was there, and is gone."""

    code = "export_expired"


def unknown_project() -> Invalid:
    """Refuse a project that this key does not see with the words for one that nobody knows."""
    return Invalid(
        "No such project is known.",
        repair="Name a Project document of the policies folder.",
        pointer="/project",
        code="unknown_project",
    )
