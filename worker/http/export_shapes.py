"""What exports look like over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from worker.flows.ask_export import Wanted
from worker.flows.attest import BEGINNING
from worker.http.fields import Instant, Name, Strict
from worker.model.clock import rfc3339
from worker.model.errors import Invalid
from worker.store.exports import ExportState, StoredExport

_MOST_ANCHORS = 16
_LONGEST_NOTE = 8192
_LARGEST_SIZE = 2**53


def _text(text: str) -> str:
    if not text.replace("\n", " ").isprintable():
        msg = "must be the text of a signed checkpoint"
        raise ValueError(msg)
    return text


AnchorName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Note = Annotated[str, Field(min_length=1, max_length=_LONGEST_NOTE), AfterValidator(_text)]


class ExportBody(Strict):
    """What the bundle is to hold; with owner or erasure the period may be left out."""

    project: Name
    begin: Annotated[Instant | None, Field(alias="from")] = None
    end: Annotated[Instant | None, Field(alias="to")] = None
    owner: Name | None = None
    erasure: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,160}$")] | None = None
    begin_at: Annotated[int, Field(ge=0, le=_LARGEST_SIZE)] = 0
    with_policies: bool = False
    anchors: Annotated[Mapping[AnchorName, Note], Field(max_length=_MOST_ANCHORS)] = Field(
        default_factory=dict
    )

    def wanted(self, now: datetime) -> Wanted:
        """Return the request with its period; raises Invalid where that is missing."""
        if self.owner is None and self.erasure is None and (self.begin is None or self.end is None):
            problem = "`from` and `to` are missing."
            raise Invalid(problem, repair="Give both, or an owner or an erasure.", pointer="/from")
        return Wanted(
            project=self.project,
            begin=self.begin or BEGINNING,
            end=self.end or now,
            owner=self.owner,
            erasure=self.erasure,
            begin_at=self.begin_at,
            with_policies=self.with_policies,
            anchors=self.anchors,
        )


class ProgressShape(BaseModel):
    """How many of the log's entries are written; ``total`` null is not known yet."""

    done: int
    total: int | None


class MadeShape(BaseModel):
    """The finished file, and the checkpoint that it leads to."""

    bytes: int
    sha256: str
    size: int
    root: str
    entries: int
    grades: dict[str, int]


class ExportProblemShape(BaseModel):
    """Why there is no file."""

    code: str
    detail: str


class ExportShape(BaseModel):
    """One export; ``file`` is where to fetch it while ``state`` is `ready`."""

    object: Literal["export"] = "export"
    id: str
    project: str
    state: Literal["queued", "making", "ready", "failed", "expired"]
    asked: dict[str, Any]
    asked_by: str
    asked_at: str
    progress: ProgressShape
    made: MadeShape | None
    problem: ExportProblemShape | None
    ended_at: str | None
    expires_at: str | None
    file: str | None


def file_name(found: StoredExport) -> str:
    """Return the name that a fetched file gets: plain ASCII whatever the project is called."""
    return f"tenure-{found.id}.zip"


def state_of(found: StoredExport, now: datetime) -> ExportState:
    """Return the state as it is now: a file whose time is up is expired, also before it is removed."""
    over = found.state is ExportState.READY and found.expires_at is not None and found.expires_at <= now
    return ExportState.EXPIRED if over else found.state


def export_shape(found: StoredExport, now: datetime) -> ExportShape:
    """Write one export."""
    state = state_of(found, now)
    return ExportShape(
        id=found.id,
        project=found.project,
        state=state.value,
        asked=dict(found.asked),
        asked_by=found.asked_by,
        asked_at=rfc3339(found.asked_at),
        progress=ProgressShape(done=found.done, total=found.total),
        made=MadeShape.model_validate(found.made) if found.made else None,
        problem=ExportProblemShape.model_validate(found.problem) if found.problem else None,
        ended_at=rfc3339(found.ended_at) if found.ended_at else None,
        expires_at=rfc3339(found.expires_at) if found.expires_at else None,
        file=f"/v1/audit/exports/{found.id}/file" if state is ExportState.READY else None,
    )
