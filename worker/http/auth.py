"""Who calls, and what the key lets them do. The edge checks the key before any body is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from worker.flows.key import KeyRefused, Principal, authenticate
from worker.http.refusals import Forbidden, ProjectBound
from worker.http.services import Services


def bearer_of(authorization: str | None) -> str:
    """Return the text of the bearer key in this header; raises KeyRefused where there is none."""
    scheme, _, text = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not text:
        problem = "This route needs an API key."
        raise KeyRefused(problem, repair="Send `Authorization: Bearer tnr_…`.")
    return text.strip()


def look_up(services: Services, texts: Sequence[str]) -> list[Principal | KeyRefused]:
    """Return who holds each of these keys as they stand now, or its refusal."""
    with services.database.read() as db:
        return authenticate(db, texts, now=services.clock.now())


@dataclass(frozen=True, slots=True)
class Needs:
    """A dependency that gives the caller, who must hold one of these scopes; raises Forbidden."""

    scopes: tuple[str, ...]

    async def __call__(self, request: Request) -> Principal:
        """Return who calls."""
        who: Principal = request.state.principal
        if who.scopes.isdisjoint(self.scopes):
            problem = f"The key lacks the scope {' or '.join(self.scopes)}."
            raise Forbidden(problem, repair="Use a key that has it; `tenure keys list` shows them.")
        return who


def needs(*scopes: str) -> Needs:
    """Return the dependency of a route that asks for one of these scopes."""
    return Needs(scopes)


def needs_every_project(who: Principal, what: str) -> None:
    """Refuse a key that is bound to projects; raises ProjectBound."""
    if who.projects is not None:
        problem = f"{what} reaches every project, and this key is bound to: {', '.join(who.projects)}."
        raise ProjectBound(problem, repair="Use a key whose projects are `*`.")


ThreadsRead = Annotated[Principal, Depends(needs("threads:read"))]
ThreadsWrite = Annotated[Principal, Depends(needs("threads:write"))]
TrailRead = Annotated[Principal, Depends(needs("threads:read", "audit:read"))]
HoldsRead = Annotated[Principal, Depends(needs("holds:write", "holds:release", "audit:read"))]
HoldsWrite = Annotated[Principal, Depends(needs("holds:write"))]
HoldsRelease = Annotated[Principal, Depends(needs("holds:release"))]
ErasuresWrite = Annotated[Principal, Depends(needs("erasures:write"))]
ErasuresRead = Annotated[Principal, Depends(needs("erasures:write", "audit:read"))]
PoliciesRead = Annotated[Principal, Depends(needs("policies:read"))]
PreviewsRead = Annotated[Principal, Depends(needs("policies:read", "plans:approve"))]
SweepsRun = Annotated[Principal, Depends(needs("sweeps:run"))]
SweepsRead = Annotated[Principal, Depends(needs("policies:read", "sweeps:run", "plans:approve"))]
FailuresRead = Annotated[Principal, Depends(needs("threads:read", "sweeps:run"))]
PlansApprove = Annotated[Principal, Depends(needs("plans:approve"))]
SwitchesWrite = Annotated[Principal, Depends(needs("switches:write"))]
KeysAdmin = Annotated[Principal, Depends(needs("keys:admin"))]
AuditRead = Annotated[Principal, Depends(needs("audit:read"))]
