"""Register many threads: lines in, lines out, each line on its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from worker.http.auth import ThreadsWrite
from worker.http.bulk_lines import answer_lines
from worker.http.recorder import mark_broken_off
from worker.http.services import Given
from worker.http.spool import spool

router = APIRouter(prefix="/v1/threads", tags=["threads"])

_LINES = {"application/x-ndjson": {"schema": {"type": "string"}}}


class BulkQuery(BaseModel):
    """``dry_run`` says what would become of each line, and keeps nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dry_run: bool = False


@router.post(
    "/bulk",
    response_class=StreamingResponse,
    responses={200: {"content": _LINES}},
    openapi_extra={"requestBody": {"required": True, "content": _LINES}},
)
async def register_bulk(
    request: Request, query: Annotated[BulkQuery, Query()], who: ThreadsWrite, given: Given
) -> StreamingResponse:
    """Register one thread a line (fields as in `POST /v1/threads`), plain or gzip, at most 64 MiB unpacked.

    Each line is answered with `{"line", "status": "created|exists|conflict|invalid", "id", "error"}`; the
    last one is a summary. Nothing is registered before the whole body has come. With an Idempotency-Key
    answers up to 1 MiB come when all is done, and are kept; after a longer one the same again is 409.
    """
    gzipped = request.headers.get("content-encoding", "").lower() == "gzip"
    body = await spool(request.stream(), gzipped=gzipped)
    lines = answer_lines(body, given, who, dry_run=query.dry_run, broke_off=lambda: mark_broken_off(request))
    # The first line is made before the answer begins: a database that is down is still a 503.
    first = await run_in_threadpool(next, lines)

    def all_lines() -> Iterator[bytes]:
        yield first
        yield from lines

    return StreamingResponse(all_lines(), media_type="application/x-ndjson")
