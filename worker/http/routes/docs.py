"""Documentation that needs nothing from elsewhere: the operations, and a page for each problem."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, PlainTextResponse

from worker.flows.key import PATTERN
from worker.http.catalogue import CATALOGUE
from worker.model.errors import NotFound

router = APIRouter(include_in_schema=False)

_POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{font:0.95rem monospace}dt{margin-top:1rem}dd{margin-left:1.5rem}"
)


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """List every operation of the OpenAPI schema."""
    schema: Mapping[str, Any] = request.app.openapi()
    title = escape(f"{schema['info']['title']} {schema['info']['version']}")
    lines = "\n".join(_operations(schema))
    problems = ", ".join(f'<a href="/docs/problems/{code}">{code}</a>' for code in sorted(CATALOGUE))
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>"
        '<p>The whole schema: <a href="/openapi.json">/openapi.json</a>.'
        " Everything under <code>/v1</code> needs <code>Authorization: Bearer tnr_…</code>.</p>"
        f"<dl>\n{lines}\n</dl><h2>Problems</h2><p>{problems}</p></body></html>"
    )
    return HTMLResponse(page, headers=_POLICY)


def _operations(schema: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            about = escape(str(operation.get("description", "")))
            names = ", ".join(escape(one["name"]) for one in operation.get("parameters", []))
            parameters = f"<br>Parameters: <code>{names}</code>" if names else ""
            yield f"<dt><code>{method.upper()} {escape(path)}</code></dt><dd>{about}{parameters}</dd>"


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
