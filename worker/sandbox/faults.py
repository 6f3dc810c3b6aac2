"""Faults: the ways in which a provider fails that matter to a deletion.

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

_METHODS = ("GET", "POST", "DELETE")
_SPELLING = re.compile(
    r"(?P<name>[a-z0-9-]+)(?::(?P<kind>[a-z]+))?(?:@(?P<method>[A-Za-z]+))?(?:\*(?P<count>[0-9]+))?"
)


class Fault(StrEnum):
    """The names of the faults."""

    ENDPOINT_RETIRED = "endpoint-retired"
    LOST_REPLY = "lost-reply"
    LOST_REQUEST = "lost-request"
    LYING_200 = "lying-200"
    DELETED_FALSE = "deleted-false"
    ERROR_500 = "error-500"
    ERROR_AFTER = "error-after"
    REFUSED_KEY = "refused-key"
    FORBIDDEN = "forbidden"
    THROTTLED = "throttled"
    REDIRECT = "redirect"
    HTML_200 = "html-200"
    SLOW = "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultFacts:
    """``delete_only``: unless a method is written, the fault concerns DELETE alone."""

    summary: str
    delete_only: bool = False


FAULTS: dict[Fault, FaultFacts] = {
    Fault.ENDPOINT_RETIRED: FaultFacts(
        summary="404 'Invalid URL' to every request, create too; nothing is done"
    ),
    Fault.LOST_REPLY: FaultFacts(
        summary="does the DELETE, then closes the connection without an answer", delete_only=True
    ),
    Fault.LOST_REQUEST: FaultFacts(
        summary="closes the connection of every request without an answer; nothing is done"
    ),
    Fault.LYING_200: FaultFacts(
        summary="DELETE is answered like a success and the object stays", delete_only=True
    ),
    Fault.DELETED_FALSE: FaultFacts(
        summary="DELETE is answered 200 with deleted: false and the object stays", delete_only=True
    ),
    Fault.ERROR_500: FaultFacts(summary="500 to every request; nothing is done"),
    Fault.ERROR_AFTER: FaultFacts(summary="does the DELETE, then answers 500", delete_only=True),
    Fault.REFUSED_KEY: FaultFacts(summary="401 invalid_api_key to every request"),
    Fault.FORBIDDEN: FaultFacts(summary="403 missing scopes to every request"),
    Fault.THROTTLED: FaultFacts(summary="429 rate_limit_exceeded with Retry-After to every request"),
    Fault.REDIRECT: FaultFacts(
        summary="302 to every request; who follows it finds a 200 that looks like a deletion"
    ),
    Fault.HTML_200: FaultFacts(summary="200 with an HTML page to every request; nothing is done"),
    Fault.SLOW: FaultFacts(summary="waits before every request, then does and answers it as usual"),
}
_ONLY_DELETE_CAN = frozenset({Fault.LYING_200, Fault.DELETED_FALSE})


class UnknownFault(Invalid):
    """A fault was written that the sandbox does not know."""

    code = "unknown_fault"


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
        if self.object_id is not None and target.object_id != self.object_id:
            return False
        if self.kind is None:
            return target.kind is not None
        return target.kind is self.kind or (not self._delete_only() and target.family is self.kind)

    def _delete_only(self) -> bool:
        return FAULTS[self.fault].delete_only and self.method is None

    def _methods(self) -> tuple[str, ...]:
        if self.method is not None:
            return (self.method,)
        return ("DELETE",) if FAULTS[self.fault].delete_only else ("GET", "HEAD", "POST", "DELETE")

    def __str__(self) -> str:
        """Write the fault as it is parsed."""
        kind = f":{self.kind}" if self.kind else ""
        method = f"@{self.method.lower()}" if self.method else ""
        return f"{self.fault}{kind}{method}" + (f"*{self.count}" if self.count is not None else "")


def parse_fault(text: str) -> FaultRule:
    """Read ``name[:kind][@method][*count]``; raises UnknownFault, which names what is known."""
    match = _SPELLING.fullmatch(text.strip())
    if match is None or match["name"] not in {fault.value for fault in Fault}:
        raise _unknown(text, f"Known faults: {', '.join(Fault)}; write name[:kind][@method][*count].")
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
    return UnknownFault(f"{text!r} is not a fault of the sandbox.", repair=repair, pointer="/faults")
