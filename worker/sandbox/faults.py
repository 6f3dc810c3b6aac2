"""Faults: the ways in which a provider, a gateway or a network fails that matter to a deletion.

A fault is written ``name[:kind][@method][*count]``: ``lost-reply:conversation*1`` is the first
DELETE of a conversation only, ``error-500@get`` every read. Kinds are those of `ObjectKind`; a
container's kind covers its items or messages too where the fault concerns every request, and the
container alone where it concerns DELETE. The table of names is `FAULTS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from worker.model.errors import Invalid
from worker.sandbox.kinds import ObjectKind, Target

_NO_FAULT = "{!r} is not a fault of the sandbox."
_METHODS = ("GET", "POST", "DELETE")
_SPELLING = re.compile(
    r"(?P<name>[a-z0-9-]+)(?::(?P<kind>[a-z_]+))?(?:@(?P<method>[A-Za-z]+))?(?:\*(?P<count>[0-9]+))?"
)


class Fault(StrEnum):
    """The names of the faults."""

    OBJECT_404 = "object-404"
    EVERYTHING_404 = "everything-404"
    ROUTE_404 = "route-404"
    ENDPOINT_RETIRED = "endpoint-retired"
    WRONG_KEY_404 = "wrong-key-404"
    WRONG_KEY_401 = "wrong-key-401"
    REFUSED_KEY = "refused-key"
    FORBIDDEN = "forbidden"
    READ_ONLY_KEY = "read-only-key"
    THROTTLED = "throttled"
    THROTTLED_SILENT = "throttled-silent"
    ERROR_500 = "error-500"
    ERROR_AFTER = "error-after"
    LOST_REQUEST = "lost-request"
    LOST_REPLY = "lost-reply"
    TIMEOUT = "timeout"
    TIMEOUT_AFTER = "timeout-after"
    REDIRECT = "redirect"
    REDIRECT_307 = "redirect-307"
    HTML_200 = "html-200"
    LYING_200 = "lying-200"
    DELETED_FALSE = "deleted-false"
    WRONG_ID = "wrong-id"
    REAPPEARS = "reappears"
    SLOW = "slow"
    SLOW_BODY = "slow-body"
    TRUNCATED_JSON = "truncated-json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultFacts:
    """``methods`` are those that the fault concerns unless one is written; empty for all.

    ``addressed``: it strikes only requests that name an object, so making and listing go on.
    """

    summary: str
    methods: tuple[str, ...] = ()
    addressed: bool = False

    @property
    def delete_only(self) -> bool:
        """Whether the fault concerns DELETE alone unless a method is written."""
        return self.methods == _DELETE


_DELETE = ("DELETE",)
FAULTS: dict[Fault, FaultFacts] = {
    Fault.OBJECT_404: FaultFacts(
        summary="404 that names the object, as if it never was; making and listing go on", addressed=True
    ),
    Fault.EVERYTHING_404: FaultFacts(
        summary="404 to every request, making and listing too, in the words of an absent object"
    ),
    Fault.ROUTE_404: FaultFacts(
        summary="404 {'detail': 'Not Found'} to every request, as from a gateway without the route"
    ),
    Fault.ENDPOINT_RETIRED: FaultFacts(
        summary="404 'Invalid URL' to every request, create too; nothing is done"
    ),
    Fault.WRONG_KEY_404: FaultFacts(
        summary="the key of another project: 404 for all that is there; new objects can be made and read"
    ),
    Fault.WRONG_KEY_401: FaultFacts(summary="401 invalid_api_key to every request; same as refused-key"),
    Fault.REFUSED_KEY: FaultFacts(summary="401 invalid_api_key to every request"),
    Fault.FORBIDDEN: FaultFacts(summary="403 missing scopes to every request"),
    Fault.READ_ONLY_KEY: FaultFacts(
        summary="403 missing scopes to every DELETE and POST; reads go on", methods=("POST", "DELETE")
    ),
    Fault.THROTTLED: FaultFacts(summary="429 rate_limit_exceeded with Retry-After to every request"),
    Fault.THROTTLED_SILENT: FaultFacts(summary="429 without Retry-After or any rate header"),
    Fault.ERROR_500: FaultFacts(summary="500 to every request; nothing is done"),
    Fault.ERROR_AFTER: FaultFacts(summary="does the DELETE, then answers 500", methods=_DELETE),
    Fault.LOST_REQUEST: FaultFacts(
        summary="closes the connection of every request without an answer; nothing is done"
    ),
    Fault.LOST_REPLY: FaultFacts(
        summary="does the DELETE, then closes the connection without an answer", methods=_DELETE
    ),
    Fault.TIMEOUT: FaultFacts(
        summary="never answers: waits until the client goes, 2 minutes at most; nothing is done"
    ),
    Fault.TIMEOUT_AFTER: FaultFacts(summary="does the DELETE, then never answers", methods=_DELETE),
    Fault.REDIRECT: FaultFacts(
        summary="302 to every request; who follows it finds a 200 that looks like a deletion"
    ),
    Fault.REDIRECT_307: FaultFacts(summary="307, which keeps the method, to the same false deletion"),
    Fault.HTML_200: FaultFacts(summary="200 with an HTML page to every request; nothing is done"),
    Fault.LYING_200: FaultFacts(
        summary="DELETE is answered like a success and the object stays", methods=_DELETE
    ),
    Fault.DELETED_FALSE: FaultFacts(
        summary="DELETE is answered 200 with deleted: false and the object stays", methods=_DELETE
    ),
    Fault.WRONG_ID: FaultFacts(
        summary="200 with another object's id to reads and DELETE; nothing is deleted",
        methods=("GET", "DELETE"),
        addressed=True,
    ),
    Fault.REAPPEARS: FaultFacts(
        summary="DELETE works, and the object is back after 30 s or after POST /sandbox/reappear",
        methods=_DELETE,
    ),
    Fault.SLOW: FaultFacts(summary="waits before every request, then does and answers it as usual"),
    Fault.SLOW_BODY: FaultFacts(summary="does the request, then sends the body in ten pieces, slowly"),
    Fault.TRUNCATED_JSON: FaultFacts(summary="does the request, then answers with half the JSON"),
}
_ONLY_DELETE_CAN = frozenset({Fault.LYING_200, Fault.DELETED_FALSE, Fault.REAPPEARS})


class UnknownFault(Invalid):
    """A fault was written that the sandbox does not know."""

    code = "unknown_fault"


class UnknownFaultName(UnknownFault):
    """No fault has this name; the message names all that there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """One fault and the requests it strikes. None means any; ``count`` limits how often.

    ``object_id`` and ``skip`` (let that many matching requests pass first) have no spelling: they
    are for tests that run the sandbox in their own process.
    """

    fault: Fault
    kind: ObjectKind | None = None
    method: str | None = None
    count: int | None = None
    object_id: str | None = None
    skip: int = 0

    def strikes(self, target: Target) -> bool:
        """Say whether that request is one of those concerned; counts are not looked at."""
        if target.method not in self._methods():
            return False
        if FAULTS[self.fault].addressed and not target.is_addressed:
            return False
        if self.object_id is not None and target.object_id != self.object_id:
            return False
        if self.kind is None:
            return target.kind is not None
        return target.kind is self.kind or (not self._delete_only() and target.family is self.kind)

    def missing(self, target: Target) -> tuple[ObjectKind, str] | None:
        """Return what a 404 is about: the object itself, or the container that the rule is for."""
        if target.kind is None or target.family is None:
            return None
        if target.parent_id and (target.object_id is None or self.kind is target.family):
            return target.family, target.parent_id
        return (target.kind, target.object_id) if target.object_id else None

    def _delete_only(self) -> bool:
        return FAULTS[self.fault].delete_only and self.method is None

    def _methods(self) -> tuple[str, ...]:
        if self.method is not None:
            return (self.method,)
        return FAULTS[self.fault].methods or ("GET", "HEAD", "POST", "DELETE")

    def __str__(self) -> str:
        """Write the fault as it is parsed."""
        kind = f":{self.kind}" if self.kind else ""
        method = f"@{self.method.lower()}" if self.method else ""
        return f"{self.fault}{kind}{method}" + (f"*{self.count}" if self.count is not None else "")


def parse_fault(text: str) -> FaultRule:
    """Read ``name[:kind][@method][*count]``; raises UnknownFault, which names what is known."""
    match = _SPELLING.fullmatch(text.strip())
    if match is None or match["name"] not in {fault.value for fault in Fault}:
        repair = f"Known faults: {', '.join(Fault)}; write name[:kind][@method][*count]."
        raise UnknownFaultName(_NO_FAULT.format(text), repair=repair, pointer="/faults")
    fault = Fault(match["name"])
    if match["kind"] and match["kind"] not in {kind.value for kind in ObjectKind}:
        raise _unknown(text, f"Known kinds: {', '.join(ObjectKind)}.")
    method = match["method"].upper() if match["method"] else None
    if method is not None and method not in _METHODS:
        raise _unknown(text, f"Known methods: {', '.join(_METHODS).lower()}.")
    if method not in {None, "DELETE"} and fault in _ONLY_DELETE_CAN:
        raise _unknown(text, f"{fault} concerns DELETE only; leave @{match['method']} out.")
    kind = ObjectKind(match["kind"]) if match["kind"] else None
    count = int(match["count"]) if match["count"] else None
    return FaultRule(fault=fault, kind=kind, method=method, count=count)


def parse_faults(texts: Iterable[str]) -> tuple[FaultRule, ...]:
    """Read several faults; the first one that strikes a request decides, ``slow`` comes on top."""
    return tuple(parse_fault(text) for text in texts)


def _unknown(text: str, repair: str) -> UnknownFault:
    return UnknownFault(_NO_FAULT.format(text), repair=repair, pointer="/faults")
