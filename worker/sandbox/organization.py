"""The organisation's own settings, which an admin key may look at and a project's key may not."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from worker.sandbox.answers import error
from worker.sandbox.post import GatePost

ADMIN_PREFIX = "sk-admin-"
"""What the provider's admin keys begin with; the sandbox takes any such key for one."""


def organization_routes() -> list[Route]:
    """Return the routes that need an admin key."""
    return [Route("/v1/organization/data_retention", show_retention, methods=["GET"])]


async def show_retention(request: Request) -> Response:
    """GET /v1/organization/data_retention: the configured type, or 403 for a key without the right."""
    key = request.headers.get("authorization", "").partition(" ")[2]
    if not key.startswith(ADMIN_PREFIX):
        return error(
            403,
            "You have insufficient permissions for this operation. Missing scopes: api.management.read.",
        )
    post: GatePost = request.app.state.post
    return JSONResponse({"object": "organization.data_retention", "type": post.options.data_retention})
