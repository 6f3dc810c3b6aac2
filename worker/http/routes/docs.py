"""Documentation that needs nothing from elsewhere: the operations, and a page for each problem."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from worker.flows.key import PATTERN
from worker.http.catalogue import CATALOGUE
from worker.http.docs_page import STYLE, docs_page
from worker.http.services import Given
from worker.model.errors import NotFound

router = APIRouter(include_in_schema=False)

# Nothing is loaded but this service's sheet, nothing is sent, and no other page shows this one in a frame.
_POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}


@router.get("/docs")
def docs(request: Request, given: Given) -> HTMLResponse:
    """Show every operation of the OpenAPI description with its bodies, examples and answers."""
    state = request.app.state
    # Made once: what it shows never changes while the service runs.
    if not hasattr(state, "docs_page"):
        state.docs_page = docs_page(request.app.openapi(), given.version)
    return HTMLResponse(state.docs_page, headers=_POLICY)


@router.get("/docs/style.css")
async def style() -> Response:
    """Give the page's own sheet."""
    return Response(STYLE, media_type="text/css", headers=_POLICY)


@router.get("/docs/keys")
async def key_page() -> PlainTextResponse:
    """Say what a key looks like, for those who look for leaked ones."""
    page = (
        f"An API key of Tenure matches\n\n{PATTERN}\n\n"
        "The last eight characters are the CRC-32 (as in zlib) of everything before the last _, in lower-case"
        " hex.\nA key that was found is revoked by its second part: tenure keys revoke <id>.\n"
    )
    return PlainTextResponse(page, headers=_POLICY)


@router.get("/docs/problems/{code}")
async def problem_page(code: str) -> PlainTextResponse:
    """Say what a problem's code means and what to do."""
    if code not in CATALOGUE:
        raise NotFound("There is no such problem.", repair="/docs lists them.")
    title, repair = CATALOGUE[code]
    return PlainTextResponse(f"{code}\n\n{title}.\n{repair}\n", headers=_POLICY)
