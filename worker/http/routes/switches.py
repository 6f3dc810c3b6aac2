"""The kill switch."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from worker.flows.pause import set_deletes
from worker.http.auth import SwitchesWrite, needs_every_project
from worker.http.fields import Name, Reason, Strict
from worker.http.refusals import unknown_project
from worker.http.services import Given

router = APIRouter(prefix="/v1/switches", tags=["switches"])


class SwitchBody(Strict):
    """``project`` null switches all of them."""

    enabled: bool
    project: Name | None = None
    reason: Reason


class SwitchShape(BaseModel):
    """The switch as it stands now; the ids name threads whose DELETE had left before."""

    object: Literal["switch"] = "switch"
    enabled: bool
    project: str | None
    reason: str
    too_late: list[str]
    uncertain: list[str]


@router.put("/deletes", response_model=SwitchShape)
def put_deletes(body: SwitchBody, who: SwitchesWrite, given: Given) -> SwitchShape:
    """Switch deletes off or on; the answer to "off" means that it is effective."""
    if body.project is None:
        needs_every_project(who, "The switch of all projects")
    elif not who.may_see(body.project):
        raise unknown_project()
    done = set_deletes(
        given.database,
        enabled=body.enabled,
        project=body.project,
        reason=body.reason,
        actor=who.actor,
        clock=given.clock,
        lease=given.lease,
    )
    return SwitchShape(
        enabled=done.enabled,
        project=done.project,
        reason=done.reason,
        too_late=list(done.too_late),
        uncertain=list(done.uncertain),
    )
